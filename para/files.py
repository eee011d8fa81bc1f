"""Files: written so that nobody sees half of one, read so that nothing in them is believed unseen.

All JSON is read here. What PARA writes itself carries a checksum of its content (`seal`), so that
a changed digit is found; what a value must be like besides is said by `para.records`.
"""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from para.asides import aside_of, sweep
from para.errors import CheckpointError, ParaError

MOST_BYTES = 32 * 2**20
"""Of a JSON file that is read; a result of 1,000 episodes has 1."""
MOST_DEPTH = 100
"""Levels of a JSON value."""
CHECKSUM = "checksum"
"""Key of the checksum in the JSON files that PARA writes."""


class NoSpaceError(ParaError):
    """The disk that should hold the output is (nearly) full."""


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced to disk and renamed to `path`.

    The temporary name keeps the suffix of `path`. If the body raises, the temporary file is removed
    and `path` stays as it was. What a killed process left of an earlier try is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, [path.name])
    aside = aside_of(path)
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NoSpaceError(
                f"No space left while writing {path}. Free some or choose another folder, then "
                "run the same command again: what is complete is kept."
            ) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def atomic_write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused (ValueError).

    A file that must not be changed is written from `seal(value)`.
    """
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8")


def require_writable(folder: Path | str) -> None:
    """Make `folder` if it does not exist; an OSError that names it if no file can be made there."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def require_free_space(folder: Path | str, needed_bytes: float) -> None:
    """Raise `NoSpaceError` unless the disk of `folder` has at least `needed_bytes` free."""
    existing = Path(folder).absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise NoSpaceError(
            f"{folder} needs about {needed_bytes / 1e6:,.0f} MB but its disk has "
            f"{free / 1e6:,.0f} MB free. Free some space or choose another folder."
        )


# --------------------------------------------------------------------------------------- reading


def not_a_file(path: Path | str) -> str:
    """Why `path` cannot be read as a file ("is a folder", ...); "" for one that can be tried.

    Nothing is opened: a named pipe without a writer would be waited for, for ever.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            return f"is a link to {os.readlink(path)}, where there is nothing"
        return "does not exist"
    except (OSError, ValueError) as error:  # a loop of links, no permission, a zero byte
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    for is_kind, name in _OTHER_KINDS:
        if is_kind(mode):
            return f"is a {name}, not a file"
    return ""


_OTHER_KINDS = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def read_text(path: Path | str, errors: str = "strict") -> str:
    """The text of a file of at most MOST_BYTES.

    Args:
        path: The file.
        errors: What becomes of bytes that are no UTF-8, as in `bytes.decode`.

    Raises:
        ValueError: It is no file, too large, or no text; what is wrong with it, as a phrase.
    """
    if reason := not_a_file(path):
        raise ValueError(reason)
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES // 2**20} MiB, the most that is read")
    try:
        return content.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"is damaged: it is not text (byte {error.start})") from error


def parse_json(text: str) -> Any:
    """The value of a JSON text: finite numbers, integers of 64 bits, at most MOST_DEPTH levels.

    Raises:
        ValueError: It is something else; the reason is said in a few words.
    """
    looked_at = {"parse_float": _finite, "parse_int": _integer} if _MAYBE_LARGE.search(text) else {}
    try:
        value = json.loads(text, parse_constant=_no_constant, **looked_at)
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {MOST_DEPTH} levels") from error
    if "\\ud" in text.lower():  # half a surrogate pair is a string that cannot be written
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("it holds text that is no Unicode") from error
    level, depth = [[value]], 0
    while level := [
        child
        for parent in level
        for child in (parent.values() if type(parent) is dict else parent)
        if type(child) in _CONTAINERS
    ]:
        depth += 1
        if depth > MOST_DEPTH:
            raise ValueError(f"it is nested deeper than {MOST_DEPTH} levels")
    return value


_CONTAINERS = (dict, list)
_MAYBE_LARGE = re.compile(r"\d{19}|[eE]\+?\d{3}")
"""What a text has, if not only in words, where a number may be larger than is read."""


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number that JSON knows")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is too large for a number")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise ValueError(f"{digits[:40]} is too large for an integer")
    return int(digits)


def read_json(
    path: Path | str,
    error: type[ParaError] = CheckpointError,
    way_on: str = "",
    sealed: Callable[[dict[str, Any]], bool] = lambda value: False,
) -> dict[str, Any]:
    """A JSON object from a file, its checksum verified (where it has one) and taken out.

    Args:
        path: The file.
        error: What is raised.
        way_on: Sentence at the end of its message: how to go on.
        sealed: Must a file with this content have a checksum?

    Raises:
        ParaError: An `error` that names the file and what is wrong with it.
    """
    try:
        value = _object(read_text(path), "is damaged: ")
        return _unsealed(value, sealed(value), "is damaged: ")
    except ValueError as reason:
        raise error(f"{path} {reason}. {way_on}".rstrip()) from reason


@contextmanager
def without_collections() -> Iterator[None]:
    """Do not look for garbage while much is read that stays: that took a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _object(text: str, before: str = "") -> dict[str, Any]:
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{before}{error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{before}it holds no JSON object")
    return value


def damaged(
    path: Path | str, reason: object, error: type[ParaError], way_on: str = ""
) -> ParaError:
    """The error for a file whose content is not what it should be; see `read_json`."""
    return error(f"{path} is damaged: {reason}. {way_on}".rstrip())


def read_json_lines(path: Path | str, sealed: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """The JSON objects of a file of one per line, and what is wrong with the other lines.

    Args:
        path: The file; none at all is the same as an empty one.
        sealed: A line without a checksum is wrong.

    Returns:
        Objects without their checksums, and reasons such as "line 3 was altered after ...".

    Raises:
        ValueError: It is no file, or too large; what is wrong with it, as a phrase.
    """
    if not os.path.lexists(path):
        return [], []
    values, problems = [], []
    for number, line in enumerate(read_text(path, errors="replace").split("\n"), start=1):
        if not line:
            continue
        try:
            values.append(_unsealed(_object(line), sealed))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    return values, problems


# --------------------------------------------------------------------------------------- checksums


def seal(value: dict[str, Any]) -> dict[str, Any]:
    """Plain data with the checksum of its content under CHECKSUM, its last key.

    Raises:
        ValueError: A number in it is NaN or infinite.
    """
    plain = json.loads(json.dumps(value, allow_nan=False))  # as it will be read: keys are text
    return {**value, CHECKSUM: _checksum(plain)}


def sealed_line(value: dict[str, Any]) -> str:
    """One line for `read_json_lines`."""
    return json.dumps(seal(value), allow_nan=False) + "\n"


def _unsealed(value: dict[str, Any], required: bool, before: str = "") -> dict[str, Any]:
    content = {key: part for key, part in value.items() if key != CHECKSUM}
    if CHECKSUM not in value and not required:
        return content
    if CHECKSUM not in value:
        raise ValueError(f"{before}it has no {CHECKSUM}")
    if value[CHECKSUM] != _checksum(content):
        raise ValueError(f"{before}it was altered after it was written (its {CHECKSUM} differs)")
    return content


def _checksum(plain: dict[str, Any]) -> str:
    """BLAKE2b of what a JSON text holds, whatever the order of keys and the white space."""
    text = json.dumps(plain, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
