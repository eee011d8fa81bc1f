"""Finished chunks of an evaluation that is not complete yet, on disk, one JSON line each.

A line is written and synced when its chunk is done, so a process that is killed loses only the
chunks in flight. Every line has the key of the evaluation and a checksum: one of another key
(another checkpoint, other code) is of no use, one that was cut short or altered is left out with a
warning, and its chunk is run again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from para.errors import ResultError
from para.evaluation.schema import EpisodeRecord, check_outcome
from para.files import atomic_write, read_json_lines, sealed_line
from para.records import Count, Record, Text

_logger = logging.getLogger(__name__)

Episodes = list[dict[str, Any]]


class _Line(Record):
    """A finished chunk."""

    key: Text
    test: Literal["ood", "sanity"]
    chunk: Count
    episodes: list[EpisodeRecord]


class Journal:
    """Chunks by (test, number of the chunk).

    Args:
        path: The file; it need not exist.
        key: What the outcomes depend on; see `para.evaluation.runner`.
        stages: Of the task, success last; episodes that ended otherwise are damaged.

    Raises:
        ResultError: Something else than a file lies at `path`.
    """

    def __init__(self, path: Path, key: str, stages: Sequence[str]):
        self.path, self.key = path, key
        self.chunks: dict[tuple[str, int], Episodes] = {}
        try:
            lines, damage = read_json_lines(path, sealed=True)
        except ValueError as error:
            raise ResultError(
                f"{path} {error}. Finished episodes are kept there: move it away, then run the "
                "same command again."
            ) from error
        if not lines and not damage and path.exists():
            damage = ["it is empty"]
        for line in lines:
            try:
                checked = _Line.check(line)
                if checked.key != key:
                    continue
                for number, episode in enumerate(checked.episodes):
                    check_outcome(episode, stages, f"episodes.{number}: ")
                    if episode.test != checked.test:
                        raise ValueError(f"episodes.{number}: test is {episode.test}")
            except ValueError as error:
                damage.append(str(error))
            else:
                self.chunks[line["test"], line["chunk"]] = line["episodes"]
        if damage:
            _logger.warning(
                "%s is damaged in %d places (%s): these finished chunks will be run again.",
                *(path, len(damage), damage[0]),
            )

    def add(self, test: str, chunk: int, episodes: Episodes) -> None:
        """Write a finished chunk; it is on disk when this returns."""
        if not self._is_open:
            self._start()
        self.chunks[test, chunk] = episodes
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(self._line(test, chunk, episodes))
            file.flush()
            os.fsync(file.fileno())

    def delete(self) -> None:
        """Remove the file: the result is complete."""
        self.path.unlink(missing_ok=True)

    _is_open = False

    def _start(self) -> None:
        """Write the file as it should be, without what is damaged or of another key."""
        with atomic_write(self.path) as aside:
            lines = [self._line(test, chunk, e) for (test, chunk), e in self.chunks.items()]
            aside.write_text("".join(lines), "utf-8")
        self._is_open = True

    def _line(self, test: str, chunk: int, episodes: Episodes) -> str:
        return sealed_line({"key": self.key, "test": test, "chunk": chunk, "episodes": episodes})
