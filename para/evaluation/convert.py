"""Result files of schema 1 as schema 2: the one place that knows what the old ones looked like.

Schema 1 was written when there was one task, and named its objects everywhere.
"""

from __future__ import annotations

import copy
from typing import Any

from envs.base import TASKS
from envs.table import MAIN_TASK
from envs.table.legacy import OBJECTS, convert_condition


def from_schema_1(result: dict[str, Any]) -> dict[str, Any]:
    """A result of schema 1 as one of schema 2; the same episodes and numbers.

    Objects get names, the setting is spelled out, and how many waypoints were executed stands with
    the evaluation instead of the model. What is missing stays missing: validation tells.
    """
    result = copy.deepcopy(result)
    config = result.get("config", {})
    evaluation, training = config.get("evaluation", {}), config.get("training", {})
    model = training.get("model", {})
    result["schema"] = 2
    result["environment"] = {
        "task": MAIN_TASK,
        "robot": result.get("robot", config.get("robot", "panda")),
        "layout": result.get("layout", config.get("layout", "together")),
        "stages": [stage.name for stage in TASKS[MAIN_TASK].stages],
    }
    result.setdefault("profile", config.get("profile", "laptop"))
    for name in ("execute", "subcell"):
        if name in model:
            evaluation.setdefault(name, model.pop(name))
    for episode in result["episodes"]:
        condition = episode["condition"]
        episode["condition"] = convert_condition(condition)
        positions = {name: episode.pop(f"{name}_position", None) for name in OBJECTS}
        if all(positions.values()):
            episode["objects"] = positions
    return result
