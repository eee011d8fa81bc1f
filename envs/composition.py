"""Unseen combinations: of what instructions name together, some pairs are never trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envs.base import TASKS, Task
from envs.splits import SPLITS, Regions, RegionsConfig
from para.fields import number, require


@dataclass
class CompositionConfig(RegionsConfig):
    """Demos of some of the task's namings, tests of the others."""

    kind: str = "composition"
    held_out: list[int] = number([0], least=0)
    """Which of `Task.namings`, by index, are never trained."""

    def unfit(self, task: Task | type[Task]) -> str:
        """See `SplitConfig`: each object that a held-out naming names is trained in another."""
        if unknown := super().unfit(task):
            return unknown
        if not task.namings:
            named = ", ".join(name for name in TASKS.options() if _names(name))
            return f"its instruction always names the same. Choose one of: {named}."
        unknown = set(self.held_out) - set(range(len(task.namings)))
        trained = [named for i, named in enumerate(task.namings) if i not in self.held_out]
        alone = {
            name
            for i in set(self.held_out) - unknown
            for slot, name in enumerate(task.namings[i])
            if name not in {named[slot] for named in trained}
        }
        if unknown:
            return f"held_out={self.held_out} must be indices from 0 to {len(task.namings) - 1}."
        if alone:
            return f"held_out={self.held_out} leaves {', '.join(sorted(alone))} without any demo."
        return ""

    def rules(self, key: str, run: Any) -> None:
        """Something is held out."""
        require(bool(self.held_out), f"{key}.held_out must name a pair at least.")
        super().rules(key, run)


@SPLITS.register("composition", CompositionConfig)
class Composition(Regions):
    """As `Regions`, of namings: in distribution is what was trained, at other places."""

    cfg: CompositionConfig

    def namings(self, test: str) -> tuple[tuple[str, ...], ...]:
        """See `Regions`."""
        held = test == "ood"
        return tuple(
            named
            for index, named in enumerate(self.task.namings)
            if (index in self.cfg.held_out) == held
        )

    def training_indices(self) -> list[int]:
        """See `Split`."""
        demos, trained = self.demo_set, self.namings("sanity")
        return [
            index
            for index in super().training_indices()
            if demos.condition(index, self.task, self.layout, self.env).named in trained
        ]


def _names(task: str) -> bool:
    return bool(TASKS[TASKS.load(task).kind].namings)
