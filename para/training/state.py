"""What a run is (fixed) and how far it is (all that changes besides tensors)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from para.data.dataset import DemoDataset
from para.runs.config import TrainConfig
from para.system import git_hash


@dataclass(frozen=True)
class Run:
    """What is trained, on what, and where it leaves its files.

    Attributes:
        cfg: Configuration of one run, without a recipe.
        folder: Where its files lie.
        train_set: Demos to train on.
        held_out: Demos to watch; None for none.
        git: Commit of the code that trains, when it began.
    """

    cfg: TrainConfig
    folder: Path
    train_set: DemoDataset
    held_out: DemoDataset | None
    git: str = field(default_factory=git_hash)

    @property
    def budget_seconds(self) -> float:
        """Time limit, over all sessions; infinite without one."""
        return self.cfg.budget_minutes * 60 if self.cfg.budget_minutes else math.inf

    def is_over(self, progress: Progress) -> bool:
        """Is the budget of steps or of time used up?"""
        steps_left = progress.step < self.cfg.training.steps
        return not steps_left or progress.seconds >= self.budget_seconds


@dataclass
class Window:
    """Losses and seconds summed over some steps."""

    steps: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, losses: dict[str, float], seconds: float) -> None:
        """Count one step. The infinite gradient of one that fp16 skips adds nothing."""
        self.steps += 1
        self.seconds += seconds
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + (value if math.isfinite(value) else 0.0)

    def means(self) -> dict[str, float]:
        """Losses per step."""
        return {name: value / self.steps for name, value in self.sums.items()}

    def rate(self, samples_per_step: int) -> float:
        """Samples per second; 0 without a step."""
        return self.steps * samples_per_step / self.seconds if self.steps else 0.0


@dataclass
class Progress:
    """How far a run is; checkpointed as it stands.

    Attributes:
        threads: Threads of torch; another number rounds differently.
        step: Optimiser steps that are done.
        seconds: Training time, over all sessions.
        window: Steps since the last logged row, so that rows survive a resume.
    """

    threads: int
    step: int = 0
    seconds: float = 0.0
    window: Window = field(default_factory=Window)
