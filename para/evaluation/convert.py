"""Result files of schema 1 as schema 2: the one place that knows what the old ones looked like.

Schema 1 was written when there was one task, a bowl put on a plate, and named both everywhere.
"""

from __future__ import annotations

import copy
from typing import Any

_TASK = "bowl_on_plate"
_OBJECTS = ("bowl", "plate")
_STAGES = ["MISS", "GRASP", "PLACE"]


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
        "task": _TASK,
        "robot": result.get("robot", config.get("robot", "panda")),
        "layout": result.get("layout", config.get("layout", "together")),
        "stages": _STAGES,
    }
    result.setdefault("profile", config.get("profile", "laptop"))
    for name in ("execute", "subcell"):
        if name in model:
            evaluation.setdefault(name, model.pop(name))
    for episode in result["episodes"]:
        condition = episode["condition"]
        episode["condition"] = convert_condition(condition)
        positions = {name: episode.pop(f"{name}_position", None) for name in _OBJECTS}
        if all(positions.values()):
            episode["objects"] = positions
    return result


def convert_condition(condition: dict[str, Any]) -> dict[str, Any]:
    """A start condition that names bowl and plate as one that carries objects by name."""
    rest = {name: value for name, value in condition.items() if name not in _OBJECTS}
    objects = {name: [*condition[name], 0.0] for name in _OBJECTS if name in condition}
    return {"task": _TASK, "objects": objects, **rest}
