"""Which data sets of demonstrations exist, and how each of their episodes starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from envs.base import Condition, EnvConfig, Task
from envs.table.viewpoints import PHIS, PHIS_DEG, THETAS, thetas_deg
from envs.table.workspace import GRID, grid_positions, somewhere

SIDES = (("near", "far"), ("left", "right"))
"""Lower and upper half of a workspace along x and along y."""
HUMAN = "human"
"""Layout of LIBERO's own demos."""
IMPORTED_LAYOUTS = {HUMAN: "source=libero path=FILE.hdf5"}
"""Layouts whose demos nobody makes: they are imported -> what import_demos is told."""
MISSED_BY = 0.02, 0.10
"""How far a first grasp has missed in demonstrations of how to try again [m]."""
DEMOS_PER_VIEW = 10
"""Demos of each of the 64 viewpoints in the data set viewpoints."""


class DemoSet(ABC):
    """A data set is one fixed thing: episode `index` depends on its name and the setting only.

    Attributes:
        total: Number of episodes.
        whole: Training completes it, whichever of its episodes the split needs.
        on_grid: Episode `index` starts at position `index` of the training grid.
        part: Where what is handled stands in all its episodes: all of the workspace, or one of
            SIDES.
    """

    total: int
    whole = True
    on_grid = False
    part = "all"

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


class SameHalf(ObjPos):
    """As `ObjPos`, but all objects stand in one half.

    Of pairs of independent objects only a quarter lies in a given half; here half of them do, so a
    split of halves trains on as many demos as its half has grid positions.

    Args:
        axis: 0: near and far, 1: left and right.
    """

    def __init__(self, axis: int):
        self.axis = axis
        self._drawn: dict[tuple[str, str, int], Condition] = {}

    def condition(self, index: int, task: Task, layout: str, env: EnvConfig) -> Condition:
        """See `DemoSet`; each start is drawn once: five objects fit into few halves of a table."""
        key = repr(task.cfg), layout, index
        if key not in self._drawn:
            self._drawn[key] = self._draw(index, task, layout)
        return self._drawn[key]

    def _draw(self, index: int, task: Task, layout: str) -> Condition:
        rng = np.random.default_rng([self.total, index, self.axis])
        first = grid_positions()[index]
        side = half(task, SIDES[self.axis][int(first[self.axis] > 0)])
        return task.draw(lambda anchor: somewhere(rng, *side) if anchor else first, layout, rng)


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


class GridViews(DemoSet):
    """The grid of positions of `ObjPos`, seen from several views in turn.

    Which view a position has is drawn once, so that the two have nothing to do with each other;
    every view has equally many. Beside `ObjPos`, only the cameras differ.

    Args:
        thetas: Polar angles, as indices.
        phis: Azimuths, as indices; every theta is combined with every phi.
    """

    total = GRID**2
    on_grid = True

    def __init__(self, thetas: Sequence[int], phis: Sequence[int]):
        self.views = [(theta, phi) for theta in thetas for phi in phis]
        self._order = np.random.default_rng([self.total, len(self.views)]).permutation(self.total)

    def view(self, index: int) -> tuple[int, int]:
        """See `DemoSet`."""
        return self.views[int(self._order[index]) % len(self.views)]

    def condition(self, index: int, task: Task, layout: str, env: EnvConfig) -> Condition:
        """See `DemoSet`."""
        theta, phi = self.view(index)
        view = {"theta_deg": thetas_deg(env)[theta], "phi_deg": PHIS_DEG[phi]}
        return task.grid(index, layout, **view)


class Drawn(DemoSet):
    """A few starts that lie anywhere on the task's workspace, or in a part of it.

    Args:
        part: all, or a half: left (less y) or near (less x).
    """

    total = 64
    whole = False

    def __init__(self, part: str = "all"):
        self.part = part

    def view(self, index: int) -> tuple[int, int]:
        """See `DemoSet`."""
        return 0, 0

    def condition(self, index: int, task: Task, layout: str, env: EnvConfig) -> Condition:
        """See `DemoSet`."""
        if self.part == "all":
            return task.grid(index, layout)
        rng = np.random.default_rng([self.total, index])
        low, high = half(task, self.part)
        return task.draw(lambda _: somewhere(rng, low, high), layout, rng)


class Retried(DemoSet):
    """As another set, but every second episode begins after a first grasp that has missed.

    Args:
        demos: The other one.
    """

    def __init__(self, demos: DemoSet):
        self.demos = demos
        self.total, self.whole, self.on_grid = demos.total, demos.whole, demos.on_grid
        self.part = demos.part

    def view(self, index: int) -> tuple[int, int]:
        """See `DemoSet`."""
        return self.demos.view(index)

    def condition(self, index: int, task: Task, layout: str, env: EnvConfig) -> Condition:
        """See `DemoSet`."""
        start = self.demos.condition(index, task, layout, env)
        if index % 2 == 0:
            return start
        by = np.random.default_rng([self.total, index, len("missed")]).uniform(*MISSED_BY)
        return replace(start, seed=index, perturbed={"missed_m": float(by)})


def half(task: Task, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,), (2,) [m] of a half of a task's workspace: left, right, near or far."""
    low, high = (corner.copy() for corner in task.workspace)
    axis = next(axis for axis, sides in enumerate(SIDES) if part in sides)
    upper = SIDES[axis].index(part)
    (low if upper else high)[axis] = (low[axis] + high[axis]) / 2
    return low, high


DEMO_SETS: dict[str, DemoSet] = {
    "objpos": ObjPos(),
    "objpos_nf": SameHalf(0),
    "objpos_lr": SameHalf(1),
    "viewpoints": Viewpoints(),
    "objpos_8_views": GridViews((2, 6), (0, 2, 4, 6)),
    "objpos_64_views": GridViews(range(THETAS), range(PHIS)),
    "libero": Drawn(),
    "libero_left": Drawn("left"),
    "libero_near": Drawn("near"),
    "libero_retry": Retried(Drawn()),
    "libero_left_retry": Retried(Drawn("left")),
    "libero_near_retry": Retried(Drawn("near")),
}
"""All data sets, by name."""
