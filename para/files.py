"""Writing files so that a reader never sees half of one, whatever kills the writer."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from para.errors import CheckpointError, ParaError


class NoSpaceError(ParaError):
    """The disk that should hold the output is (nearly) full."""


def aside_of(path: Path) -> Path:
    """A new temporary path beside `path`, with its suffix, for what will be renamed to `path`."""
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")


def is_aside_of(name: str, path: Path) -> bool:
    """Is `name` what a killed process may have left behind while it wrote `path`?"""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    return re.fullmatch(rf"\.{stem}\.[0-9a-f]{{8}}{suffix}", name) is not None


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced to disk and renamed to `path`.

    The temporary name keeps the suffix of `path`. If the body raises, the temporary file is removed
    and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        if error.errno == 28:
            raise NoSpaceError(
                f"No space left while writing {path}. Free some or choose another folder, then "
                "run the same command again: what is complete is kept."
            ) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def atomic_write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused (ValueError)."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8")


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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises CheckpointError where it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist.") from error
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object.")
    return value
