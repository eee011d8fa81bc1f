"""The numbers that a run wrote down: log.jsonl, one row per line."""

from __future__ import annotations

import json
from pathlib import Path

from para.runs.contents import LOG

Row = dict[str, float]


def read_log(folder: Path) -> list[Row]:
    """Rows of log.jsonl; a last line that a kill cut short is left out."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
