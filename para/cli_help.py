"""What --help prints: examples, groups with their options, keys with what they mean."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Sequence
from dataclasses import fields, is_dataclass

from omegaconf import OmegaConf

from para.compose import Composer
from para.places import typed

FLAGS = """\
Flags of Hydra:
  -m, --multirun               run key=a,b,c, choice(), range() and, for groups, glob() one after
                               another; hydra/launcher=joblib or submitit_local side by side
  --cfg job|hydra|all          show all values and stop; --resolve fills in ${...}, --package KEY
                               shows a part
  --config-name NAME           start from another YAML file; --config-dir DIR adds a folder of them,
                               --config-path DIR is searched before configs/
  --info [all|config|defaults|defaults-tree|plugins|searchpath]
                               how the configuration came about
  --shell-completion           for bash, zsh or fish: eval "$({script} -sc install=bash)"
  --hydra-help                 Hydra's own settings (hydra.KEY=..., hydra/GROUP=...)

Relative paths start where you are.
"""


def help_text(compose: Composer, summary: str, examples: Sequence[str]) -> str:
    """Everything that --help prints.

    Args:
        compose: An outline of the script's configuration is enough.
        summary: What the script does.
        examples: Arguments of real calls.
    """
    config_class = compose.view.config_class
    script = typed(config_class.script)
    lines = [f"{script} [group=option | key=value]... [-m] [--cfg job] [--help]", ""]
    lines += [inspect.cleandoc(summary), "", "Examples:"]
    lines += [f"  {script} {example}".rstrip() for example in examples]
    groups = compose.groups()
    lines += ["", "Groups (files of configs/; * is the default):"]
    for group, default in groups.items():
        options = (o + ("*" if o == default else "") for o in compose.options(group))
        lines.append(f"  {group:<15} {', '.join(options)}")
    if experiments := _fitting(compose, "experiment"):
        lines.append(f"  {'+experiment':<15} {', '.join(experiments)}")
    lines += ["", "Keys:", *_keys(compose, groups)]
    return "\n".join(lines) + "\n\n" + FLAGS.replace("{script}", script)


def _fitting(compose: Composer, group: str) -> list[str]:
    """Options of a group that this script can add: its keys are keys of the script."""
    fitting = []
    for option in compose.options(group):
        try:
            compose([f"+{group}={option}"])
        except Exception:
            continue
        fitting.append(option)
    return fitting


def _keys(compose: Composer, groups: dict[str, str | None]) -> list[str]:
    config_class = compose.view.config_class
    cfg = compose([])
    documentation = _documentation(config_class)
    lines = []
    for field in fields(config_class):
        if field.name in groups and field.name != "profile":
            note = f"{field.name}.*: every key of the chosen {field.name}"
            lines.append(f"  {field.name + '.KEY=...':<28} {note}")
        elif is_dataclass(field.default_factory):
            note = "  ".join(inner.name for inner in fields(field.default_factory))
            lines.append(f"  {field.name + '.KEY=...':<28} {note}")
        elif field.name != "profile":
            value = OmegaConf.select(cfg, field.name)
            value = "null" if value is None else value
            note = documentation.get(field.name, "")
            lines.append(f"  {f'{field.name}={value}':<28} {note}".rstrip())
    return lines


def _documentation(config_class: type) -> dict[str, str]:
    """First line of the string below each field of a dataclass and of its parents."""
    result: dict[str, str] = {}
    for cls in reversed(config_class.__mro__):
        if not is_dataclass(cls):
            continue
        body = ast.parse(inspect.getsource(cls)).body[0].body
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                result[field.target.id] = inspect.cleandoc(text.value.value).splitlines()[0]
    return result
