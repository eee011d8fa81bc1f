"""The command line of every script: Hydra composes, typos fail at once, --help shows examples.

    @para_main("train", TrainConfig, examples=["model=para", "model=regression split=nf", ...])
    def main(cfg: TrainConfig) -> None: ...

Arguments are Hydra overrides: `group=option` (a file of configs/group/) or `key=value`; a value on
the command line wins over the profile, which wins over the defaults in para/config.py. Scripts run
in the root of the repository, wherever they are called from, so that relative paths mean the same
thing for all of them. Nothing is written by Hydra itself: no outputs folder, no log files.

Import this module before torch: it sets how idle OpenMP threads wait.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

# Idle OpenMP threads that spin starve the other processes on a small machine (345 -> 8 samples/s).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from para.common import CommonConfig
from para.errors import ConfigError, ParaError, UnknownNameError, did_you_mean
from para.fields import check
from para.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
"""The repository: configs/ lies here, and relative paths start here."""

Config = TypeVar("Config", bound=CommonConfig)


def para_main(
    config_class: type[Config], examples: Sequence[str]
) -> Callable[[Callable[[Config], None]], Callable[..., None]]:
    """Turn `main(cfg)` into a script that reads its configuration from the command line.

    Args:
        config_class: Its keys; `config_class.script` names the script and its YAML file.
        examples: Arguments of real calls, for --help.

    The script prints the message of a `ParaError` and exits with status 2; Ctrl-C exits with 130.
    """
    name = config_class.script

    def decorate(main: Callable[[Config], None]) -> Callable[..., None]:
        def run(argv: Sequence[str] | None = None) -> None:
            logging.basicConfig(format="%(message)s", stream=sys.stderr)
            for package in ("para", "envs", "baselines"):
                logging.getLogger(package).setLevel(logging.INFO)
            os.chdir(ROOT)
            try:
                arguments = _parser(name, config_class, main, examples).parse_intermixed_args(argv)
                for overrides in _jobs(arguments.overrides, arguments.multirun):
                    cfg = load_config(config_class, overrides)
                    if arguments.cfg:
                        sys.stdout.write(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
                        continue
                    check(cfg)
                    main(cfg)
            except ParaError as error:
                _leave(f"error: {error}", 2)
            except KeyboardInterrupt as interrupt:
                message = str(interrupt) or "The same command goes on where it stopped."
                _leave(f"Interrupted. {message}", 130)

        run.__doc__, run.__name__ = main.__doc__, main.__name__
        return run

    return decorate


def load_config(config_class: type[Config], overrides: Iterable[str] = ()) -> Config:
    """Compose configs/<script>.yaml with command-line overrides, as instances of the dataclasses.

    Args:
        config_class: The script's keys.
        overrides: `group=option` and `key=value` strings.

    Raises:
        UnknownNameError: A key or a group option that does not exist; names the nearest ones.
        ConfigError: A value of the wrong type, or text that is not an override at all.
    """
    name = config_class.script
    _register(name, config_class)
    with _hydra():
        groups = _groups(name)
        chosen, values = [], []
        for override in map(_parse, overrides):
            key, value = override.key_or_group, override.value()
            if key in groups or (key not in _keys_of(config_class) and _options(key)):
                _check_option(key, str(value), config_class, groups)
                chosen.append(override.input_line)
            else:
                known = _options(key)
                # evaluation names a trained policy, which may add a recipe: para_two_stage
                extends = key == "model" and str(value).startswith(tuple(f"{m}_" for m in known))
                if isinstance(value, str) and known and value not in known and not extends:
                    raise UnknownNameError(key, value, known)
                values.append((key, value))
        try:
            cfg = compose(name, chosen)
            for key, value in values:
                _set(cfg, key, value)
            missing = sorted(OmegaConf.missing_keys(cfg))
            if missing:
                raise ConfigError(f"configs/{name}.yaml leaves {', '.join(missing)} open.")
            return OmegaConf.to_object(cfg)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(_first_line(error)) from error


def _register(name: str, config_class: type[CommonConfig]) -> None:
    store = ConfigStore.instance()
    store.store(name, config_class, group="schema", package="_global_")
    for registry in Registry.groups.values():
        for kind in registry:
            store.store(f"{kind}_schema", registry.config(kind), group=registry.group)


def _hydra() -> initialize_config_dir:
    GlobalHydra.instance().clear()
    return initialize_config_dir(str(ROOT / "configs"), version_base="1.3")


def _groups(name: str) -> dict[str, str | None]:
    """Groups that configs/<name>.yaml chooses from, and what each is by default (None: nothing)."""
    choices = compose(name, return_hydra_config=True).hydra.runtime.choices
    return {
        group: option
        for group, option in choices.items()
        if (group != "schema" and group.split("/")[0] not in ("hydra", "profile"))
        or group == "profile"
    }


def _options(group: str) -> list[str]:
    repository = GlobalHydra.instance().config_loader().repository
    options = repository.get_group_options(group, ObjectType.CONFIG)
    return sorted(option for option in options if not option.endswith("_schema"))


def _jobs(texts: Sequence[str], multirun: bool) -> Iterator[list[str]]:
    """One list of overrides per run: the product of all `key=a,b,c`."""
    choices = []
    for text in texts:
        override = _parse(text)
        if not override.is_sweep_override():
            choices.append([text])
        elif multirun:
            key = override.key_or_group
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            raise ConfigError(
                f"{text} names several values. Add -m to run them one after another, or write "
                "key=[a,b] for one list."
            )
    yield from (list(job) for job in itertools.product(*choices))


def _parse(text: str) -> Override:
    try:
        (override,) = OverridesParser.create().parse_overrides([text])
    except HydraException as error:
        raise ConfigError(f"Cannot read {text!r}: write key=value, as in seed=1.") from error
    if override.is_add() or override.is_force_add() or override.is_delete():
        raise ConfigError(f"{text}: all keys exist already; write key=value without + or ~.")
    return override


def _check_option(group: str, option: str, config_class: type, groups: dict[str, str]) -> None:
    if group not in groups:
        known = [*groups, *_keys_of(config_class)]
        raise UnknownNameError("key", group, known)
    if option not in _options(group):
        raise UnknownNameError(group, option, _options(group))


def _set(cfg: DictConfig, key: str, value: Any) -> None:
    """Set a dotted key that must exist to a value of its type."""
    node: Any = cfg
    *parents, leaf = key.split(".")
    level = ""
    for part in [*parents, leaf]:
        known = list(node) if isinstance(node, DictConfig) else []
        if part not in known:
            raise UnknownNameError("key", key, _nearby(cfg, key, [level + k for k in known]))
        level += part + "."
        node = OmegaConf.select(node, part) if part is not leaf else node
    before = OmegaConf.select(cfg, key)
    if isinstance(before, DictConfig) and not isinstance(value, dict):
        keys = ", ".join(f"{key}.{k}" for k in before)
        raise ConfigError(f"{key}={value}: {key} holds several keys; set one of them: {keys}.")
    try:
        OmegaConf.update(cfg, key, value)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}={value}: {_first_line(error)} (without it: {before}).") from error


def _nearby(cfg: DictConfig, key: str, level: list[str]) -> list[str]:
    """The keys of the level where `key` went wrong, and keys of that last name elsewhere."""
    leaf = key.rsplit(".", 1)[-1]
    return sorted({*level, *(k for k in _flat_keys(cfg) if k.rsplit(".", 1)[-1] == leaf)})


def _flat_keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in cfg:
        node = None if OmegaConf.is_missing(cfg, key) else cfg._get_node(key)
        if isinstance(node, DictConfig):
            yield from _flat_keys(node, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _keys_of(config_class: type) -> list[str]:
    return [field.name for field in fields(config_class)]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


def _leave(message: str, status: int) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.exit(status)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        unknown = message.rsplit(" ", 1)[-1]
        hint = f" {did_you_mean(unknown, flags)}" if unknown.startswith("-") else ""
        _leave(f"error: {message}.{hint}", 2)


def _parser(
    name: str, config_class: type, main: Callable[..., None], examples: Sequence[str]
) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"python scripts/{name}.py",
        add_help=False,
        allow_abbrev=False,
        usage=argparse.SUPPRESS,
    )
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--cfg", choices=["job"])
    parser.add_argument("-m", "--multirun", action="store_true")

    class Help(argparse.Action):
        def __call__(self, *_: Any) -> None:
            sys.stdout.write(_help(name, config_class, main.__doc__ or "", examples))
            sys.exit(0)

    parser.add_argument("-h", "--help", nargs=0, action=Help)
    return parser


def _help(name: str, config_class: type, summary: str, examples: Sequence[str]) -> str:
    script = f"python scripts/{name}.py"
    lines = [f"{script} [group=option | key=value]... [--cfg job] [-m] [--help]", ""]
    lines += [inspect.cleandoc(summary), "", "Examples:"]
    lines += [f"  {script} {example}".rstrip() for example in examples]
    _register(name, config_class)
    with _hydra():
        groups = _groups(name)
        lines += ["", "Groups (files of configs/; * is the default):"]
        for group, default in groups.items():
            options = (o + ("*" if o == default else "") for o in _options(group))
            lines.append(f"  {group:<15} {', '.join(options)}")
        cfg = compose(name)
        documentation = _documentation(config_class)
        lines += ["", "Keys:"]
        for field in fields(config_class):
            if field.name in groups and field.name != "profile":
                note = f"{field.name}.*: every key of the chosen {field.name}"
                lines.append(f"  {field.name + '.KEY=...':<28} {note}")
            elif is_dataclass(field.default_factory):
                note = "  ".join(_keys_of(field.default_factory))
                lines.append(f"  {field.name + '.KEY=...':<28} {note}")
            elif field.name != "profile":
                value = OmegaConf.select(cfg, field.name)
                value = "null" if value is None else value
                note = documentation.get(field.name, "")
                lines.append(f"  {f'{field.name}={value}':<28} {note}".rstrip())
    lines += [
        "",
        "--cfg job shows all values and stops; -m runs key=a,b,c one after another.",
        "Relative paths start at the root of the repository.",
    ]
    return "\n".join(lines) + "\n"


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
