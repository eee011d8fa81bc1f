"""One policy for all tasks of the table: it trains on the demos of each, and each has its tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from envs.base import TASKS, TaskConfig
from envs.splits import SPLITS, Regions, RegionsConfig
from para.fields import require

LAYOUT = "independent"
"""The layout that every task of the suite has."""
SUITE = "all_tasks"
"""Stands where a run's place has the name of its task."""


@dataclass
class MultiTaskConfig(RegionsConfig):
    """The same regions for every task; `task` says whose tests are meant, and trains nothing."""

    every_task: ClassVar[bool] = True

    kind: str = "multi_task"

    def rules(self, key: str, run: Any) -> None:
        """Its runs have one layout."""
        super().rules(key, run)
        require(
            run.layout == LAYOUT,
            f"{key}={self.name} trains one policy for all tasks in layout={LAYOUT}: leave "
            f"layout={run.layout} away.",
        )


@SPLITS.register("multi_task", MultiTaskConfig)
class MultiTask(Regions):
    """As `Regions`, for one task after the other."""


def suite(robot: str) -> list[TaskConfig]:
    """The tasks that one policy is trained for: all that a robot can do in `LAYOUT`, by name."""
    tasks = [TASKS.load(name) for name in TASKS.options()]
    return [
        cfg
        for cfg in tasks
        if robot in TASKS[cfg.kind].robots and LAYOUT in TASKS[cfg.kind].layouts
    ]
