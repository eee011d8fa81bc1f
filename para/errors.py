"""Errors that a user can act on: what was wrong, what exists instead, how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 40
"""Names that a message lists of those that exist."""


class ParaError(Exception):
    """Base class of every error that PARA raises on purpose.

    Scripts print its message without a traceback and exit with status 2.
    """


class UnknownNameError(ParaError):
    """A name that is not registered: a split, model, backbone, robot, configuration key, ..."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"Unknown {kind} {one_line(name)!r}. {did_you_mean(name, self.known)}")


class ConfigError(ParaError):
    """A configuration that cannot work: a bad value, or two values that contradict each other."""


class DataError(ParaError):
    """A demonstration set that is missing, incomplete, damaged or of another format version."""


class CheckpointError(ParaError):
    """A checkpoint that is missing, damaged, unsafe to load or made by another architecture."""


class RenderError(ParaError):
    """No rendering backend produces a frame on this machine."""


class ResultError(ParaError):
    """A result file that is missing, damaged or of another schema."""


def one_line(value: object, most: int = 100) -> str:
    """Text for the middle of a sentence: no line breaks, and at most `most` characters.

    What is longer keeps both ends: sentences begin with what is wrong, paths end in it.
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    if len(text) <= most:
        return text
    tail = (most - 3) // 2
    return f"{text[: most - 3 - tail]}...{text[-tail:]}"


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """Return 'Did you mean ...? Available: ...' for a name that was not found among `known`."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=most, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    listed = ", ".join(known[:MOST_LISTED]) or "none"
    more = f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
    return f"{hint}Available: {listed}{more}."
