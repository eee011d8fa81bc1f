"""Demo files of version 1: one task without a name, whose objects had arrays of their own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from envs.table import MAIN_TASK
from envs.table.legacy import OBJECTS, convert_condition


def convert(
    attributes: dict[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Attributes and arrays of an episode as version 2 has them: the same numbers.

    Args:
        attributes: Of /data/demo_0, `condition` as JSON of {object: [x, y], ...}.
        arrays: Per frame and images; poses of objects as obs/<name>_pose.
    """
    names = {f"obs/{name}_pose": f"obs/objects/{name}" for name in OBJECTS}
    condition = convert_condition(json.loads(attributes["condition"]))
    return (
        attributes
        | {
            "condition": json.dumps(condition),
            "task": json.dumps({"name": MAIN_TASK, "kind": MAIN_TASK}),
        },
        {names.get(name, name): array for name, array in arrays.items()},
    )
