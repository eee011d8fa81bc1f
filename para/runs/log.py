"""The numbers that a run wrote down: log.jsonl, one row per line, each with a checksum."""

from __future__ import annotations

import logging
from pathlib import Path

from para.errors import CheckpointError
from para.files import read_json_lines
from para.records import Count, Record
from para.runs.contents import LOG

_logger = logging.getLogger(__name__)

Row = dict[str, float]


class _Row(Record):
    """Numbers by name, of which `step` is one."""

    __pydantic_extra__: dict[str, float]

    step: Count


def read_log(folder: Path) -> list[Row]:
    """Rows of log.jsonl; what a kill cut short, or what was altered, is left out with a warning.

    Rows of before there were checksums are read too.

    Raises:
        CheckpointError: Something else than a file lies in its place.
    """
    path = folder / LOG
    try:
        rows, damage = read_json_lines(path, sealed=False)
    except ValueError as error:
        raise CheckpointError(
            f"{path} {error}. It is the log of a run: move it away, then run the same command "
            "again."
        ) from error
    good = []
    for row in rows:
        try:
            _Row.check(row)
            if good and row["step"] <= good[-1]["step"]:
                raise ValueError(f"step {row['step']} comes after step {good[-1]['step']}")
        except ValueError as error:
            damage.append(f"row {len(good) + 1}: {error}")
        else:
            good.append(row)
    if damage:
        _logger.warning(
            "%s: %d rows are damaged and left out (%s).", *(path, len(damage), damage[0])
        )
    return good
