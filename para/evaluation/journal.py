"""Finished chunks of an evaluation that is not complete yet, on disk, one JSON line each.

A line is written and synced when its chunk is done, so a process that is killed loses only the
chunks in flight. The first line holds the key of the evaluation; a journal of another key (another
checkpoint, other code) is of no use and is started anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from para.files import atomic_write

Episodes = list[dict[str, Any]]


class Journal:
    """Chunks by (test, number of the chunk).

    Args:
        path: The file; it need not exist.
        key: What the outcomes depend on; see `para.evaluation.runner`.
    """

    def __init__(self, path: Path, key: str):
        self.path, self.key = path, key
        self.chunks: dict[tuple[str, int], Episodes] = {}
        lines = (
            path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
        )
        if lines and _parse(lines[0]) == {"key": key}:
            for line in lines[1:]:
                chunk = _parse(line)
                if chunk is None:
                    break  # cut short by a crash: all lines before it are good
                self.chunks[chunk["test"], chunk["chunk"]] = chunk["episodes"]

    def add(self, test: str, chunk: int, episodes: Episodes) -> None:
        """Write a finished chunk; it is on disk when this returns."""
        if not self._is_open:
            self._start()
        self.chunks[test, chunk] = episodes
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(_line(test, chunk, episodes))
            file.flush()
            os.fsync(file.fileno())

    def delete(self) -> None:
        """Remove the file: the result is complete."""
        self.path.unlink(missing_ok=True)

    _is_open = False

    def _start(self) -> None:
        """Write the file as it should be, without what a crash has left at its end."""
        with atomic_write(self.path) as aside:
            lines = [_line(test, chunk, e) for (test, chunk), e in self.chunks.items()]
            aside.write_text(json.dumps({"key": self.key}) + "\n" + "".join(lines), "utf-8")
        self._is_open = True


def _line(test: str, chunk: int, episodes: Episodes) -> str:
    return json.dumps({"test": test, "chunk": chunk, "episodes": episodes}, allow_nan=False) + "\n"


def _parse(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
