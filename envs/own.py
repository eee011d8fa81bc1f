"""Imported demos: no simulator made them, so they are watched on demos that are held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from envs.base import Condition, Task
from envs.splits import SPLITS, Split, SplitConfig
from para.fields import require, word
from para.places import typed


@dataclass
class OwnConfig(SplitConfig):
    """The demos in `data=FOLDER` (para/data/own.py)."""

    simulated: ClassVar[bool] = False

    kind: str = "own"
    dataset: str = word("own")
    digest: str = ""
    """Of the demos that train; training sets it, not the user."""

    def unfit(self, task: Task | type[Task]) -> str:
        """See `SplitConfig`: no task of a simulator has anything to do with it."""
        return "its demos are imported ones, and no simulator can start them."

    @property
    def goes_with(self) -> tuple[str, ...]:
        """See `SplitConfig`."""
        return ("data=FOLDER",)

    def rules(self, key: str, run: Any) -> None:
        """There is a set."""
        require(
            getattr(run, "data", None) is not None,
            f"split={self.name} needs data=FOLDER, the folder of an imported set "
            f"({typed('import_demos')} says where it is).",
        )


@SPLITS.register("own", OwnConfig)
class Own(Split):
    """Refuses to be made (`OwnConfig.unfit`): its demos are asked for in `para.data.own`."""

    def training_indices(self) -> list[int]:
        """See `Split`."""
        return []

    def test_conditions(self, test: str, episodes: int | None = None) -> list[Condition]:
        """See `Split`."""
        return []
