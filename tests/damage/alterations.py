"""What can happen to a file, systematically: to its place, to its bytes, to every key in it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from para.files import CHECKSUM, MOST_BYTES, seal

FLIPS = 12
"""Random bits that are flipped, one per damaged file."""
RAW = {
    "null": "null",
    "text": '"x"',
    "number": "7",
    "negative": "-5",
    "fraction": "0.5",
    "list": "[]",
    "object": "{}",
    "true": "true",
    "NaN": "NaN",
    "infinity": "-Infinity",
    "1e999": "1e999",
    "long integer": "9" * 400,
    "no Unicode": '"\\ud800"',
    "deep": "[" * 150 + "]" * 150,
}
"""Values that are put in place of others, as JSON text (or what only looks like it)."""
_UNSEALABLE = ("NaN", "infinity", "1e999", "long integer")
_PLACE = "\N{SNOWMAN} here"


@dataclass(frozen=True)
class Alteration:
    """One way to damage a file.

    Attributes:
        name: What is done.
        forged: The checksum was made to fit, so that only validation can tell.
        apply: Does it to the file at a path.
    """

    name: str
    forged: bool
    apply: Callable[[Path], None]


def of_place() -> Iterator[Alteration]:
    """Something else than a file of ours lies there."""
    things: dict[str, Callable[[Path], Any]] = {
        "missing": lambda path: None,
        "folder": os.mkdir,
        "named pipe": os.mkfifo,
        "socket": _socket,
        "dangling link": lambda path: path.symlink_to("gone"),
        "link to itself": lambda path: path.symlink_to(path.name),
        "endless device": lambda path: path.symlink_to("/dev/zero"),
        "empty device": lambda path: path.symlink_to("/dev/null"),
        "empty file": lambda path: path.touch(),
        "oversized file": lambda path: path.write_bytes(b" " * (MOST_BYTES + 1)),
        "zeros": lambda path: path.write_bytes(bytes(1000)),
        "a picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
        "endless brackets": lambda path: path.write_text("[" * 100_000),
        "endless objects": lambda path: path.write_text('{"a":' * 100_000),
    }
    for name, make in things.items():
        yield Alteration(name, False, lambda path, make=make: (path.unlink(), make(path)))


def _socket(path: Path) -> None:
    """A socket may only have a short path."""
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def of_bytes(content: bytes, rng: np.random.Generator) -> Iterator[Alteration]:
    """The file was cut short, or bits in it are others."""
    for percent in (1, 10, 25, 50, 75, 90, 99):
        length = len(content) * percent // 100
        yield _write(f"cut at {percent} %", content[:length])
    yield _write("last two bytes cut", content[:-2])
    yield _write("first byte cut", content[1:])
    yield _write("twice", content * 2)
    for place in rng.integers(0, len(content), FLIPS):
        altered = bytearray(content)
        altered[place] ^= 1 << int(rng.integers(8))
        yield _write(f"bit of byte {place} flipped", bytes(altered))


def _write(name: str, content: bytes, forged: bool = False) -> Alteration:
    return Alteration(name, forged, lambda path: path.write_bytes(content))


def of_values(content: dict[str, Any], sealed: bool) -> Iterator[tuple[str, bool, str]]:
    """Every key of a JSON object (of lists the first item): missing, or with another value.

    Args:
        content: The object, with its checksum if it has one.
        sealed: Yield each alteration also with a checksum that fits.

    Yields:
        What was done, does the checksum fit, the JSON text.
    """
    for keys in _paths(content):
        where = ".".join(map(str, keys))
        old = _at(content, keys)
        for forged in (False, True) if sealed and keys != (CHECKSUM,) else (False,):
            yield f"{where} missing", forged, _altered(content, keys, None, forged)
            for name, raw in RAW.items():
                if _is_nonsense(name, old) and not (forged and name in _UNSEALABLE):
                    yield f"{where} {name}", forged, _altered(content, keys, raw, forged)


def of_json(content: bytes, sealed: bool) -> Iterator[Alteration]:
    """`of_values` for a file of one JSON object."""
    for name, forged, text in of_values(json.loads(content), sealed):
        yield _write(name, text.encode(), forged)


def of_lines(content: bytes, sealed: bool) -> Iterator[Alteration]:
    """`of_values` for the second line of a file of JSON lines."""
    lines = content.decode().splitlines()
    for name, forged, text in of_values(json.loads(lines[1]), sealed):
        altered = [lines[0], text, *lines[2:], ""]
        yield _write(f"line 2: {name}", "\n".join(altered).encode(), forged)


def _paths(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if keys:
        yield keys
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _paths(child, (*keys, key))
    elif isinstance(value, list) and value:
        yield from _paths(value[0], (*keys, 0))


def _at(value: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        value = value[key]
    return value


def _altered(
    content: dict[str, Any], keys: tuple[str | int, ...], raw: str | None, forged: bool
) -> str:
    """JSON text with the value at `keys` replaced by `raw`, or without it."""
    copied = json.loads(json.dumps(content))
    *above, last = keys
    parent = _at(copied, tuple(above))
    if raw is None:
        del parent[last]
    else:
        parent[last] = json.loads(raw) if forged else _PLACE
    if forged:
        copied.pop(CHECKSUM, None)
        copied = seal(copied)
    text = json.dumps(copied, ensure_ascii=True)
    return text.replace(json.dumps(_PLACE), raw or "")


def _is_nonsense(name: str, old: Any) -> bool:
    """Is a value of RAW none that could stand in place of `old` in a file of ours?"""
    if isinstance(old, bool):
        return name != "true"
    if isinstance(old, int | float):
        return name not in ("number", "fraction" if isinstance(old, float) else "")
    if isinstance(old, str):
        return name != "text"
    if old is None:
        return name not in ("null", "number", "fraction", "text", "object", "list", "true")
    return name != ("object" if isinstance(old, dict) else "list")
