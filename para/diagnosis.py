"""What is wrong with a command line: the first key, group option or value that cannot work.

Hydra does the composing; this looks for the sentence to say. It is asked twice: before Hydra, with
schemas left out (fast, and names most mistakes), and after Hydra has refused something.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from para.compose import Composer, as_config_error, instance, parse
from para.errors import ConfigError, ParaError, UnknownNameError, one_line
from para.fields import check_field

MOST_JOBS = 1000
"""Runs of one sweep; more are taken for a slip of the pen."""
_LOOKED_AT = 20
"""Runs of a failed sweep that are looked at one by one."""
_PLUG_INS = {
    "hydra/launcher": {
        "joblib": "launchers",
        "submitit_local": "launchers",
        "submitit_slurm": "launchers",
    }
}
"""Options of Hydra's own groups that an optional dependency brings: group -> option -> extra."""


def diagnose(compose: Composer, overrides: Sequence[str], multirun: bool = False) -> None:
    """Raise the error that says what is wrong with overrides; return if nothing is found.

    Raises:
        UnknownNameError: A key or a group option that does not exist; names the nearest ones.
        ConfigError: A value of the wrong type, a sweep that cannot run, text that is no override.
    """
    parsed = [parse(text) for text in overrides]
    sweeps = [override for override in parsed if override.is_sweep_override()]
    if sweeps and not multirun:
        raise ConfigError(
            f"{one_line(sweeps[0].input_line)} names several values. Add -m to run them one after "
            "another, or write key=[a,b] for one list."
        )
    if not sweeps:
        _look_at(compose, parsed)
        return
    choices = _choices(compose, parsed)
    for job in itertools.islice(itertools.product(*choices), _LOOKED_AT):
        _look_at(compose, [parse(text) for text in job])


def _choices(compose: Composer, parsed: Sequence[Override]) -> list[list[str]]:
    """For each override what a sweep makes of it: one text, or several."""
    basic = not any(override.key_or_group == "hydra/sweeper" for override in parsed)
    jobs, choices = 1, []
    for override in parsed:
        text = one_line(override.input_line)
        if not override.is_sweep_override():
            choices.append([str(override.input_line)])
            continue
        if override.is_hydra_override():
            raise ConfigError(f"{text}: Hydra's own settings are the same for all runs of a sweep.")
        if isinstance(override.value(), IntervalSweep):
            if not basic:
                continue
            raise ConfigError(
                f"{text}: interval() needs a sweeper plug-in (hydra/sweeper=...). The basic one "
                "takes a,b,c, choice(), range(a,b,step) and, for groups, glob()."
            )
        jobs *= _length(override, text)
        if basic and jobs > MOST_JOBS:
            raise ConfigError(f"{text}: this is a sweep of {jobs} runs; at most {MOST_JOBS}.")
        values = _values(compose, override, text)
        choices.append([f"{override.get_key_element()}={value}" for value in values])
    return choices


def _length(override: Override, text: str) -> int:
    """Number of values of a sweep, without making them."""
    sweep = override.value()
    if not isinstance(sweep, RangeSweep):
        return 1 if isinstance(sweep, Glob) else len(getattr(sweep, "list", ()))
    start, stop, step = (float(x or 0) for x in (sweep.start, sweep.stop, sweep.step))
    if not step or not all(map(math.isfinite, (start, stop, step))):
        raise ConfigError(f"{text}: a range has a finite start, stop and step, and moves.")
    return max(0, math.ceil((stop - start) / step))


def _values(compose: Composer, override: Override, text: str) -> list[str]:
    """The values of a sweep, as they are written in overrides."""
    sweep = override.value()
    if isinstance(sweep, Glob):
        options = compose.options(override.key_or_group)
        if not options:
            raise ConfigError(f"{text}: glob() is for groups, and this key is none.")
        if not sweep.filter(options):
            raise ConfigError(f"{text} matches none of: {', '.join(options)}.")
        return sweep.filter(options)
    values = list(override.sweep_string_iterator())
    if not values:
        raise ConfigError(f"{text} has no values: nothing would run.")
    return values


# --- one run -------------------------------------------------------------------------------------


def _look_at(compose: Composer, overrides: Sequence[Override]) -> None:
    groups = compose.groups()
    keys = [field.name for field in fields(compose.view.config_class)]
    chosen, values = [], []
    for override in overrides:
        key = override.key_or_group
        if key.startswith(("hydra.", "hydra/")):
            _look_at_hydra(compose, override)
            chosen.append(str(override.input_line))
        elif isinstance(override.value(), dict) or not compose.options(key):
            values.append(override)
        else:
            _look_at_group(compose, override, groups, keys)
            chosen.append(str(override.input_line))
    try:
        cfg = compose(chosen)
    except Exception as error:
        raise as_config_error(error) from error
    for override in values:
        _look_at_value(cfg, override, compose.view.outline)
    if not compose.view.outline:
        try:
            instance(compose.view.config_class, cfg)
        except OmegaConfBaseException as error:
            raise as_config_error(error) from error


def _look_at_hydra(compose: Composer, override: Override) -> None:
    group, option = override.key_or_group, override.value()
    if group.startswith("hydra/") and isinstance(option, str):
        known = compose.options(group)
        extra = _PLUG_INS.get(group, {}).get(option)
        if extra and option not in known:
            raise ConfigError(f"{group}={option} is an extra: pip install 'para-robot[{extra}]'.")
        if option not in known:
            raise UnknownNameError(group, one_line(option), known)


def _look_at_group(
    compose: Composer, override: Override, groups: dict[str, str | None], keys: list[str]
) -> None:
    """Is this group there to choose from, and is there such an option?"""
    group, text = override.key_or_group, one_line(override.input_line)
    options = compose.options(group)
    value = override.value()
    named = value if isinstance(value, list) else [value]
    if override.is_delete():
        if group not in groups:
            raise UnknownNameError("key", group, {*groups, *keys})
        return
    if group not in groups and not override.is_add() and not group.startswith("profile/"):
        example = f"+{group}={value if value in options else options[0]}"
        if not _composes(compose, example):
            raise UnknownNameError("key", group, {*groups, *keys})
        raise ConfigError(f"{text}: nothing is chosen from {group} yet; add it with {example}.")
    if group in groups and (override.is_add() or override.is_force_add()):
        raise ConfigError(f"{text}: {group} is chosen already; write {text.lstrip('+')}.")
    for option in named:
        # null takes the choice back, which only some groups can do without
        if option is None and _composes(compose, f"{group}=null", group.replace("/", ".")):
            continue
        if str(option) not in options:
            raise UnknownNameError(group, one_line(option), options)


def _composes(compose: Composer, override: str, needs: str | None = None) -> bool:
    """Does one override compose, and leave the key that it `needs` set?"""
    try:
        cfg = compose([override])
        return needs not in OmegaConf.missing_keys(cfg)
    except Exception:
        return False


def _look_at_value(cfg: DictConfig, override: Override, outline: bool) -> None:
    """Set a dotted key that must exist to a value of its type, in `cfg`."""
    key, value, text = override.key_or_group, override.value(), one_line(override.input_line)
    node: Any = cfg
    *parents, leaf = key.split(".")
    level = ""
    for part in [*parents, leaf]:
        known = [str(name) for name in node] if isinstance(node, DictConfig) else []
        typed = isinstance(node, DictConfig) and OmegaConf.get_type(node) is not dict
        if part not in known:
            adds = override.is_add() or override.is_force_add()
            if not typed and (outline or (adds and part == leaf and isinstance(node, DictConfig))):
                return
            raise UnknownNameError("key", one_line(key), _nearby(cfg, key, level, known))
        level += part + "."
        if part is not leaf:
            node = node._get_node(part)
    before = node._get_node(leaf)
    if override.is_delete():
        if typed:
            raise ConfigError(f"{text}: this key cannot be removed; set it to a value instead.")
        return
    if override.is_add() and not isinstance(value, dict | list) and before._value() is not None:
        raise ConfigError(f"{text}: this key exists already; write {text[1:]}, without +.")
    if isinstance(before, DictConfig) and not isinstance(value, dict) and value is not None:
        inside = ", ".join(f"{key}.{name}" for name in before) or f"{key}.NAME"
        raise ConfigError(f"{text}: {key} holds several keys; set one of them: {inside}.")
    shown = one_line(
        OmegaConf.to_container(before) if _is_tree(before) else _value(cfg, key, before)
    )
    try:
        OmegaConf.update(cfg, key, value, force_add=override.is_add() or override.is_force_add())
        set_ = OmegaConf.to_container(OmegaConf.create({leaf: OmegaConf.select(cfg, key)}))[leaf]
        for item in fields(OmegaConf.get_type(node)) if typed else ():
            if item.name == leaf:
                check_field(key, item, set_)
    except ParaError:
        raise
    except Exception as error:
        message = "this key cannot take that value"
        if isinstance(error, OmegaConfBaseException):
            message = str(as_config_error(error)).rstrip(".").removeprefix(f"{key}: ")
        raise ConfigError(f"{text}: {message} (without it: {one_line(shown)}).") from error


def _value(cfg: DictConfig, key: str, node: Any) -> Any:
    """What a key says; of an interpolation what it comes to, or its text where that fails."""
    try:
        return OmegaConf.select(cfg, key) if node._is_interpolation() else node
    except OmegaConfBaseException:
        return node


def _is_tree(node: Any) -> bool:
    return OmegaConf.is_config(node) and not (node._is_none() or node._is_missing())


def _nearby(cfg: DictConfig, key: str, level: str, known: Sequence[str]) -> list[str]:
    """The keys of the level where `key` went wrong, and keys of that last name elsewhere."""
    leaf = key.rsplit(".", 1)[-1]
    elsewhere = (other for other in _flat_keys(cfg) if other.rsplit(".", 1)[-1] == leaf)
    return sorted({*(level + name for name in known), *elsewhere})


def _flat_keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in cfg:
        node = cfg._get_node(key)
        if isinstance(node, DictConfig) and _is_tree(node) and not node._is_interpolation():
            yield from _flat_keys(node, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
