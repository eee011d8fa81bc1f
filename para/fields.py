"""Fields of configuration dataclasses that know their bounds, and the check of a whole one.

    batch_size: int = number(32, least=1)
    \"\"\"Samples per optimiser step.\"\"\"
    precision: str = choice("bf16", ("bf16", "fp16", "fp32"))

`check` walks a configuration: all floats finite, all numbers in their bounds, all words among
their choices, and then the `rules` of every dataclass in it, for what one field alone cannot say:

    def rules(self, key: str, run: Any) -> None:
        \"\"\"`key` is where this dataclass stands ("model"), `run` the whole configuration.\"\"\"
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, field, fields, is_dataclass
from typing import Any

from para.errors import ConfigError, UnknownNameError, one_line

Choices = Iterable[str] | Callable[[], Iterable[str]]

_NAME = re.compile(r"\w{1,80}", re.ASCII)

LOCAL = "local"
"""Mark of fields that change nothing of what is trained: where files lie, how often one logs."""
READING = "reading"
"""Mark of fields that say how a model's features are read, not what the model is."""


MOST = 10**9
"""Of whole numbers with no other bound: more is a slip of the pen, and overflows somewhere."""
SEEDS = 2**32 - 1
"""Largest seed that all random generators take."""


def number(
    default: Any = NO_DEFAULT,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    mark: str | None = None,
) -> Any:
    """A field for a number, or a list of numbers, within bounds (least, most: inclusive).

    Every float must be finite, and a whole number is at most MOST where nothing else is said.

    Args:
        default: As in `dataclasses.field`; a list is copied.
        least: Smallest allowed value.
        most: Largest allowed value.
        above: The value must be larger.
        below: The value must be smaller.
        mark: LOCAL or READING.
    """
    bounds = {"least": least, "most": most, "above": above, "below": below}
    return _field(default, {"bounds": bounds, "mark": mark})


def choice(default: Any, options: Choices, *, mark: str | None = None) -> Any:
    """A field for one word of a few, or a list of them; `options` may be a function."""
    return _field(default, {"choices": options, "mark": mark})


def folder(default: Any, *, mark: str | None = None) -> Any:
    """A field for the path of a folder."""
    return _field(default, {"folder": True, "mark": mark})


def word(default: Any = NO_DEFAULT, *, mark: str | None = None) -> Any:
    """A field for what becomes part of a path: letters, digits and _."""
    return _field(default, {"word": True, "mark": mark})


def marked(mark: str, default: Any = NO_DEFAULT) -> Any:
    """A field with a mark (LOCAL or READING) and no bounds."""
    return _field(default, {"mark": mark})


def _field(default: Any, metadata: dict[str, Any]) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def check(cfg: Any) -> None:
    """Check every rule that a type cannot express; called before any long work.

    Raises:
        UnknownNameError: A field that takes one of a few words has another one.
        ConfigError: A value out of bounds, or values that contradict each other.
    """
    nodes = list(_nodes(cfg, ""))
    for key, node in nodes:
        for item in fields(node):
            check_field(f"{key}.{item.name}" if key else item.name, item, getattr(node, item.name))
    root, *parts = nodes
    for key, node in [root, *reversed(parts)]:  # the whole first, then parts before what holds them
        if hasattr(node, "rules"):
            node.rules(key, cfg)


def keys_marked(cfg: Any, mark: str) -> list[str]:
    """Dotted keys of `cfg` whose fields have this mark; a key stands for all below it."""
    return [
        f"{key}.{item.name}" if key else item.name
        for key, node in _nodes(cfg, "")
        for item in fields(node)
        if item.metadata.get("mark") == mark
    ]


def _nodes(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every dataclass in a configuration with its dotted key, parents first."""
    if is_dataclass(value):
        yield key, value
        children: Iterable[tuple[str, Any]] = (
            (item.name, getattr(value, item.name)) for item in fields(value)
        )
    elif isinstance(value, dict):
        children = value.items()
    else:
        return
    for name, child in children:
        yield from _nodes(child, f"{key}.{name}" if key else str(name))


def check_field(key: str, item: Field[Any], value: Any) -> None:
    """Check the value of one field, which stands at a dotted key; see `check`."""
    if isinstance(value, list) and any(isinstance(single, list | dict) for single in value):
        raise ConfigError(f"{key}={one_line(value)} must be a list of single values.")
    for single in value if isinstance(value, list) else [value]:
        if isinstance(value, list):
            require(
                not isinstance(single, list | dict),
                f"{key}={one_line(value)} must be a plain list, as in [a,b].",
            )
        if isinstance(single, float):
            require(math.isfinite(single), f"{key}={single} must be a finite number.")
        if isinstance(single, int) and item.metadata.get("bounds", {}).get("most") is None:
            require(abs(single) <= MOST, f"{key}={one_line(single)} must be at most {MOST}.")
        if single is None:
            continue
        if "folder" in item.metadata:
            _check_folder(key, single)
        if "word" in item.metadata:
            require(
                _NAME.fullmatch(single) is not None,
                f"{key}={one_line(single)} must be a name: at most 80 letters, digits and _.",
            )
        if "choices" in item.metadata:
            options = item.metadata["choices"]
            known = list(options() if callable(options) else options)
            if single not in known:
                raise UnknownNameError(f"value of {key}:", str(single), known)
        if "bounds" in item.metadata:
            _check_bounds(f"{key}={value}", single, **item.metadata["bounds"], optional=_null(item))


def _check_folder(key: str, path: str) -> None:
    require(bool(path.strip()), f"{key}= names no folder; the current one is {key}=. .")
    require(
        len(path) <= 1000 and all(len(part.encode()) <= 255 for part in path.split("/")),
        f"{key}={one_line(path)} is longer than the path of a folder can be.",
    )
    require("\0" not in path, f"{key}={one_line(path)} must not contain a zero byte.")
    place = os.path.abspath(path)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    require(
        os.path.isdir(place),
        f"{key}={one_line(path)} is not a folder and cannot become one: {place} is there already.",
    )


def _check_bounds(
    what: str,
    value: float,
    least: float | None,
    most: float | None,
    above: float | None,
    below: float | None,
    optional: str,
) -> None:
    require(least is None or value >= least, f"{what} must be at least {least}{optional}.")
    require(most is None or value <= most, f"{what} must be at most {most}{optional}.")
    bound = "positive" if above == 0 else f"above {above}"
    require(above is None or value > above, f"{what} must be {bound}{optional}.")
    require(below is None or value < below, f"{what} must be below {below}{optional}.")


def _null(item: Field[Any]) -> str:
    return ", or null" if "None" in str(item.type) else ""
