"""Which data sets of demonstrations exist, and how each of their episodes starts."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from envs.base import Condition, EnvConfig, Task
from envs.table.viewpoints import PHIS, PHIS_DEG, THETAS, thetas_deg
from envs.table.workspace import GRID

DEMOS_PER_VIEW = 10
"""Demos of each of the 64 viewpoints in the data set viewpoints."""


class DemoSet(ABC):
    """A data set is one fixed thing: episode `index` depends on its name and the setting only.

    Attributes:
        total: Number of episodes.
        on_grid: Episode `index` starts at position `index` of the training grid.
    """

    total: int
    on_grid = False

    @abstractmethod
    def view(self, index: int) -> tuple[int, int]:
        """Viewpoint of an episode: (theta, phi) as indices."""

    @abstractmethod
    def condition(self, index: int, task: Task, layout: str, env: EnvConfig) -> Condition:
        """Start of an episode."""


class ObjPos(DemoSet):
    """The 16 x 16 grid of positions from the default view; index = ix * 16 + iy."""

    total = GRID**2
    on_grid = True

    def view(self, index: int) -> tuple[int, int]:
        """See `DemoSet`."""
        return 0, 0

    def condition(self, index: int, task: Task, layout: str, env: EnvConfig) -> Condition:
        """See `DemoSet`."""
        return task.grid(index, layout)


class Viewpoints(DemoSet):
    """Random positions from each of the 8 x 8 views; index = (theta * 8 + phi) * 10 + k."""

    total = THETAS * PHIS * DEMOS_PER_VIEW

    def view(self, index: int) -> tuple[int, int]:
        """See `DemoSet`."""
        return divmod(index // DEMOS_PER_VIEW, PHIS)

    def condition(self, index: int, task: Task, layout: str, env: EnvConfig) -> Condition:
        """See `DemoSet`."""
        theta, phi = self.view(index)
        view = {"theta_deg": thetas_deg(env)[theta], "phi_deg": PHIS_DEG[phi]}
        return task.random(np.random.default_rng([self.total, index]), layout, **view)


DEMO_SETS: dict[str, DemoSet] = {"objpos": ObjPos(), "viewpoints": Viewpoints()}
"""All data sets, by name."""
