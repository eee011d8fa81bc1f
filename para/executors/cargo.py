"""Files that tasks read and leave, for workers that see none of the driver's.

A driver says which files those are (`Cargo`); workers ask `here` where one of the driver's files
lies. On the same machine, and wherever a worker sees the driver's folders (a shared file system),
that is just where the driver has it, and nothing is copied. Elsewhere the driver's tree is mirrored
below a scratch folder: what a task reads is brought there before, and what it left goes back.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from para.asides import aside_of, sweep
from para.files import atomic_write

_mirror: Path | None = None


def here(path: Path | str) -> Path:
    """Where a file of the driver's lies on this machine."""
    return mirrored(Path(path), _mirror)


def mirrored(path: Path, mirror: Path | None) -> Path:
    """`path` of the driver below the folder that mirrors its tree; None: itself."""
    return path if mirror is None or not path.is_absolute() else mirror / path.relative_to("/")


def settle(mirror: Path | None, folder: Path, setup: Callable[[], Any]) -> Any:
    """Call `setup` in a process whose tree of the driver's files lies in `mirror`.

    Args:
        mirror: See `mirrored`.
        folder: Where the driver stands: relative paths are relative to it.
        setup: Builds the worker.
    """
    global _mirror
    _mirror = mirror
    place = mirrored(folder, mirror)
    if mirror is not None:
        place.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        os.chdir(place)
    return setup()


def _nothing(task: Any) -> Sequence[Path]:
    return ()


@dataclass(frozen=True)
class Cargo:
    """The files of a piece of work.

    Attributes:
        folders: All of them lie below these; made where they do not exist.
        reads: Files and folders that a task reads. What does not exist is left out.
        writes: Files and folders that a task leaves; a name may be a pattern (`Path.glob`).
    """

    folders: Sequence[Path]
    reads: Callable[[Any], Iterable[Path]] = _nothing
    writes: Callable[[Any], Iterable[Path]] = _nothing


# --- whether a worker sees the driver's folders ---------------------------------------------------


_MARK = "seen"


@contextmanager
def marked(folders: Sequence[Path]) -> Iterator[dict[Path, str]]:
    """Leave a mark in each folder for as long as this lasts: who finds them sees the same files."""
    for folder in folders:
        sweep(folder, [_MARK])  # those of killed drivers
    marks = {aside_of(folder.absolute() / _MARK): uuid.uuid4().hex for folder in folders}
    try:
        for path, word in marks.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(word)
        yield marks
    finally:
        for path in marks:
            path.unlink(missing_ok=True)


def sees(marks: dict[Path, str]) -> bool:
    """Does this machine see every one of the folders that were marked?"""
    try:
        return all(path.read_text() == word for path, word in marks.items())
    except OSError:
        return False


# --- travelling -----------------------------------------------------------------------------------

Bundle = tuple[Path, bytes]
"""A file or folder of the driver's: its path there, and its content as an archive."""


def version_of(path: Path) -> tuple[Any, ...]:
    """Changes whenever what is at `path`, a file or a folder, does."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(str(one), one.stat()) for one in inside if one.is_file()]
    return (path, *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def pack(path: Path, mirror: Path | None = None) -> list[Bundle]:
    """What is at a path of the driver's, or at those that match a pattern; links are left out.

    Args:
        path: At the driver.
        mirror: Where its tree is mirrored here.
    """
    place = mirrored(path, mirror)
    found = []
    for one in sorted(place.parent.glob(place.name)) if place.parent.is_dir() else ():
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar, suppress(FileNotFoundError):
            tar.add(one, arcname="content", filter=_plain)
        found.append((path.parent / one.name, archive.getvalue()))
    return found


def unpack(bundle: Bundle, mirror: Path | None = None) -> None:
    """Put a file or folder where it belongs, as a whole: nobody sees half of it.

    Raises:
        NoSpaceError: The disk is full. What was there before stays.
    """
    path, content = mirrored(bundle[0], mirror), io.BytesIO(bundle[1])
    with tarfile.open(fileobj=content) as tar:
        first = tar.next()
        if first is None:
            return
        if first.isfile():
            with atomic_write(path) as aside:
                source = tar.extractfile(first)
                assert source is not None  # a plain file has content
                with open(aside, "wb") as file:
                    shutil.copyfileobj(source, file)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, [path.name])
        aside, before = aside_of(path), aside_of(path)
        try:
            tar.extractall(aside, filter="data")
            with suppress(FileNotFoundError):
                path.rename(before)
            (aside / "content").rename(path)
        finally:
            for left in (aside, before):
                shutil.rmtree(left, ignore_errors=True)


def remove(path: Path, mirror: Path) -> None:
    """Remove what a task left at a path of the driver's, or at those that match a pattern."""
    place = mirrored(path, mirror)
    for one in place.parent.glob(place.name) if place.parent.is_dir() else ():
        shutil.rmtree(one) if one.is_dir() else one.unlink(missing_ok=True)


def _plain(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return item if item.isfile() or item.isdir() else None
