"""What files held when there was one task: its objects had keys of their own, and no yaw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envs.table import MAIN_TASK

OBJECTS = ("bowl", "plate")


def convert_condition(data: Mapping[str, Any]) -> dict[str, Any]:
    """A start condition of demo files of version 1 and result files of schema 1, as of today.

    Objects (x, y) [m] under their own keys become `objects`, (x, y, 0); other keys stay. One that
    has `objects` already stays as it is.
    """
    if "objects" in data:
        return dict(data)
    others = {key: value for key, value in data.items() if key not in OBJECTS}
    objects = {name: [*data[name], 0.0] for name in OBJECTS if name in data}
    return {"task": MAIN_TASK, "objects": objects, **others}
