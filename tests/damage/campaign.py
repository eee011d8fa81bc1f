"""Damaging files and watching what their readers make of them."""

from __future__ import annotations

import logging
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from para.errors import ParaError
from para.refusals import refusal
from tests.damage.alterations import Alteration
from tests.damage.kinds import Kind

OUTCOMES = {
    "refused": "one clear sentence that names the file",
    "repaired": "read without what is damaged, and said so",
    "unchanged": "read as it was: the damage changed nothing that is read",
    "sound": "another sound value was read: the checksum was made to fit, or there is none",
    "unclear": "an error of ours that does not name the file, or is no sentence",
    "traceback": "any other error, or still reading after PATIENCE seconds",
    "swallowed": "something is missing, and nothing was said",
    "accepted": "something else was read, and nothing was said",
}
BAD = ("unclear", "traceback", "swallowed", "accepted")
PATIENCE = 20


@dataclass(frozen=True)
class Case:
    """What became of one damaged file.

    Attributes:
        kind: Of the file.
        alteration: What was done to it.
        forged: Its checksum fits all the same.
        outcome: One of OUTCOMES.
        words: The error or the warning.
    """

    kind: str
    alteration: str
    forged: bool
    outcome: str
    words: str


class Campaign:
    """An intact file of one kind, to be damaged again and again.

    Args:
        kind: Of the file.
        folder: An empty folder.
        seed: Of random bits.
    """

    def __init__(self, kind: Kind, folder: Path, seed: int = 0):
        self.kind, self.intact, self.damaged = kind, folder / "intact", folder / "damaged"
        self.intact.mkdir(parents=True)
        self.file = kind.make(self.intact)
        with _words() as words:
            self.expected = self._read(self.intact)
        assert not words, words
        rng = np.random.default_rng(seed)
        self.alterations = kind.alterations(self.file.read_bytes(), rng)

    def run(self, alteration: Alteration) -> Case:
        """Damage a copy of the intact file, and read it."""
        shutil.copytree(self.intact, self.damaged)
        path = self.damaged / self.file.relative_to(self.intact)
        try:
            alteration.apply(path)
            with _words() as words, _impatient():
                outcome = self._outcome(alteration, path, words)
        finally:
            shutil.rmtree(self.damaged)
        said = " ".join(words).replace(str(self.damaged), "...")
        return Case(self.kind.name, alteration.name, alteration.forged, outcome, said)

    def _outcome(self, alteration: Alteration, path: Path, words: list[str]) -> str:
        try:
            value = self._read(self.damaged)
        except Exception as error:
            sentence = str(error) if isinstance(error, ParaError) else refusal(error)
            words.append(sentence or f"{type(error).__name__}: {error}")
            if sentence is None:
                return "traceback"
            named = path.name in sentence or str(path.parent) in sentence
            return "refused" if named and len(sentence) < 1000 else "unclear"
        if any(path.name in word for word in words):
            return "repaired"
        if value == self.expected:
            return "unchanged"
        if self.kind.may_be(alteration):
            return "sound"
        return "swallowed" if _is_part(value, self.expected) else "accepted"

    def _read(self, folder: Path) -> Any:
        return self.kind.read(folder)


def _is_part(value: Any, whole: Any) -> bool:
    if isinstance(value, dict) and isinstance(whole, dict):
        return value.keys() < whole.keys()
    return isinstance(value, list) and isinstance(whole, list) and len(value) < len(whole)


@contextmanager
def _words() -> Iterator[list[str]]:
    """All warnings of PARA, while it lasts."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("para")
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


@contextmanager
def _impatient() -> Iterator[None]:
    """TimeoutError after PATIENCE seconds: a pipe is waited for in vain."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"still reading after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def counts(cases: list[Case]) -> dict[str, int]:
    """Number of cases by outcome, all of OUTCOMES."""
    found = Counter(case.outcome for case in cases)
    return {outcome: found[outcome] for outcome in OUTCOMES}
