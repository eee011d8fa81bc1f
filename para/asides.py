"""Names of what is being written, and the removal of what killed processes left half written."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

CLOCKS_S = 60.0
"""Clocks of a file system and of processes may differ by as much [s]."""
_SCRATCH = Path("para")


def aside_of(path: Path) -> Path:
    """A new temporary path beside `path`, with its suffix, for what will be renamed to `path`.

    The name says which process of which machine writes it, so that what a killed one left can be
    told from what is being written, and removed (`sweep`).
    """
    return path.with_name(f".{path.stem}.{_token()}{path.suffix}")


def is_aside_of(name: str, path: Path) -> bool:
    """Is `name` what a killed process may have left behind while it wrote `path`?"""
    return _writer(name, path) is not None


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed processes left in `folder` while they wrote files (or folders) `names`."""
    known = [Path(name) for name in names]
    for path in folder.iterdir() if folder.is_dir() else ():
        writers = (_writer(path.name, name) for name in known)
        if any(writer is not None and _is_dead(writer, path) for writer in writers):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def sweep_scratch() -> None:
    """Remove the scratch folders of killed processes."""
    sweep(Path(tempfile.gettempdir()), [_SCRATCH.name])


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in the system's place for temporary files, gone afterwards; killed ones go, too."""
    sweep_scratch()
    folder = Path(tempfile.gettempdir()) / aside_of(_SCRATCH)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _machine() -> str:
    """Where a process number means something: a machine, or a container on one."""
    namespace = Path("/proc/self/ns/pid")
    inode = namespace.stat().st_ino if namespace.exists() else 0
    return hashlib.sha256(f"{platform.node()} {inode}".encode()).hexdigest()[:4]


def _token() -> str:
    return f"{_machine()}{os.getpid():07x}{uuid.uuid4().hex[:5]}"


def _writer(name: str, path: Path) -> tuple[str, int] | None:
    """Machine and process that write `path` under this name; None if it is no such name."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    found = re.fullmatch(rf"\.{stem}\.([0-9a-f]{{4}})([0-9a-f]{{7}})[0-9a-f]{{5}}{suffix}", name)
    return (found[1], int(found[2], 16)) if found else None


def _is_dead(writer: tuple[str, int], path: Path) -> bool:
    """Has the process that wrote `path` ended? Not if it is of another machine: nobody knows."""
    machine, number = writer
    if machine != _machine():
        return False
    try:
        process = psutil.Process(number)
        if process.status() == psutil.STATUS_ZOMBIE:  # killed, and its parent has not looked yet
            return True
        begun = process.create_time()
        state = path.stat()
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True
    except psutil.AccessDenied:
        return False
    # a number is given again: who began after the file was last touched has never written it
    return begun > max(state.st_mtime, state.st_ctime) + CLOCKS_S
