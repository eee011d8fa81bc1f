"""Which demos train a policy and which start conditions test it (configs/split)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from omegaconf import MISSING

from envs.base import TASKS, TRIES, Condition, EnvConfig, Task
from envs.demos import DEMO_SETS
from envs.table import workspace as ws
from envs.table.viewpoints import PHIS, PHIS_DEG, THETAS, thetas_deg
from para.errors import ConfigError, UnknownNameError
from para.fields import LOCAL, SEEDS, choice, marked, number, require, word
from para.registry import Registry

TESTS = ("ood", "sanity")
"""What is never trained on, and the training distribution."""
OFF_GRID = 0.002
"""Test positions keep at least this distance from every grid position [m]."""

_HALVES = {"left": (1, -1), "right": (1, 1), "near": (0, -1), "far": (0, 1)}
"""Region -> axis (0: x, 1: y) and sign of the half."""
BY_INDEX = ("corner", "grid", "spread")
"""Regions that are choices of grid positions."""
REGIONS = ("all", *_HALVES, *BY_INDEX)


@dataclass
class RegionConfig:
    """Positions on the workspace, which is [-0.195, 0.195] x [-0.30, 0.30] m around its centre."""

    kind: str = choice("all", REGIONS)
    """all | left | right | near | far | corner | grid | spread (as grid, but centred).
    left: y < 0 (left in the default image); near: x < 0 (near the robot)."""
    count: int | None = number(None, least=1, most=10_000)
    """Number of grid positions (corner, grid, spread); None takes all of the region."""


@dataclass
class ViewConfig:
    """Viewpoints on the 8 x 8 cap, by index: theta 0..7 is 0 ... env.theta_max_deg, phi 0..7 is
    0 ... 315 deg.
    """

    thetas: list[int] = field(default_factory=lambda: [0])
    phis: list[int] = field(default_factory=lambda: [0])

    def rules(self, key: str, run: Any) -> None:
        """At least one viewpoint, and all of them exist."""
        for name, count in (("thetas", THETAS), ("phis", PHIS)):
            indices = getattr(self, name)
            require(
                bool(indices) and set(indices) <= set(range(count)),
                f"{key}.{name}={indices} must be indices from 0 to {count - 1}.",
            )


@dataclass
class TestConfig:
    """Start conditions of one test, drawn from `seed`, identical for every policy."""

    positions: RegionConfig = field(default_factory=RegionConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    episodes: int = number(100, least=1, most=100_000)
    """Total number; with several viewpoints they are spread evenly over them."""
    distractors: list[int] = number([0, 0], least=0)
    """Fewest and most distractors; the number is drawn per episode."""
    jitter_of_training: bool = False
    """Draw training positions, moved by at most half a grid cell, instead of `positions`."""
    avoid: RegionConfig | None = None
    """Nothing starts in the grid cells of these positions: within half a cell along both axes."""

    def rules(self, key: str, run: Any) -> None:
        """Distractors are a range."""
        require(
            len(self.distractors) == 2 and self.distractors[0] <= self.distractors[1],
            f"{key}.distractors={self.distractors} must be the fewest and the most, as in [2,5].",
        )


@dataclass
class SplitConfig:
    """What every split is told (configs/split)."""

    name: str = word(MISSING, mark=LOCAL)
    kind: str = MISSING
    """The registered component that reads the rest."""
    title: str = marked(LOCAL, MISSING)
    """One line for tables and figures."""
    dataset: str = choice(MISSING, DEMO_SETS)
    """objpos | viewpoints."""
    train_set: str = word(MISSING)
    """Name of the training set; splits that share it share training runs."""
    everywhere: bool = marked(LOCAL, False)
    """Its first test covers the whole workspace, trained positions too, so it is not "held out"."""

    @property
    def demos(self) -> int | None:
        """Number of demos that train it, where that is what the split is about."""
        return None

    def unfit(self, task: Task | type[Task]) -> str:
        """Why a task cannot be split like this; empty where it can."""
        return ""

    def require_fit(self, task: Task | type[Task], name: str) -> None:
        """Raise `ConfigError` where a task of this name is `unfit`."""
        reason = self.unfit(task)
        require(not reason, f"split={self.name} does not go with task={name}: {reason}")

    def rules(self, key: str, run: Any) -> None:
        """The task can be split like this."""
        self.require_fit(TASKS[run.task.kind], run.task.name)

    @property
    def test_titles(self) -> dict[str, str]:
        """What its tests are called."""
        return {"ood": "everywhere" if self.everywhere else "held out", "sanity": "in distribution"}


class Split(ABC):
    """Which demos train a policy and which starts test it, for one task and layout.

    Args:
        cfg: The split's configuration.
        task: What is to be done.
        layout: One of the task's.
        env: What demos and tests are made in; None: the default.

    Raises:
        ConfigError: The task cannot be split so (`SplitConfig.unfit`).
    """

    def __init__(self, cfg: Any, task: Task, layout: str, env: EnvConfig | None = None):
        self.cfg, self.task, self.layout, self.env = cfg, task, layout, env or EnvConfig()
        cfg.require_fit(task, task.cfg.name)

    @abstractmethod
    def training_indices(self) -> list[int]:
        """Demo indices of the split's data set that train it, sorted."""

    def training_conditions(self) -> list[Condition]:
        """How the demos that train it start."""
        demos = DEMO_SETS[self.cfg.dataset]
        return [
            demos.condition(index, self.task, self.layout, self.env)
            for index in self.training_indices()
        ]

    @abstractmethod
    def test_conditions(self, test: str, episodes: int | None = None) -> list[Condition]:
        """Start conditions of a test.

        Args:
            test: ood (what the policy never saw, unless the split says `everywhere`) or sanity
                (in distribution).
            episodes: How many; None takes as many as the split says.
        """


SPLITS: Registry[type[Split]] = Registry("split", "split", ("envs.splits", "envs.composition"))


def split_names(task: Task | None = None) -> list[str]:
    """Names of all splits, or of those that go with a task, sorted."""
    names = SPLITS.options()
    return [name for name in names if task is None or not load_split(name).unfit(task)]


def load_split(name: str) -> Any:
    """The configuration of the split called `name`, without going through Hydra."""
    return SPLITS.load(name)


def training_indices(split: SplitConfig, task: Task, layout: str | None = None) -> list[int]:
    """See `Split.training_indices`; `layout`: None takes the task's usual one."""
    return SPLITS[split.kind](split, task, layout or task.layouts[0]).training_indices()


def training_conditions(
    split: SplitConfig, task: Task, layout: str | None = None, env: EnvConfig | None = None
) -> list[Condition]:
    """See `Split.training_conditions`; `layout`: None takes the task's usual one."""
    layout = layout or task.layouts[0]
    return SPLITS[split.kind](split, task, layout, env).training_conditions()


def test_conditions(
    split: SplitConfig,
    test: str,
    task: Task,
    layout: str | None = None,  # noqa: PT028
    episodes: int | None = None,  # noqa: PT028
    env: EnvConfig | None = None,  # noqa: PT028
) -> list[Condition]:
    """See `Split.test_conditions`; a test is one of TESTS."""
    if test not in TESTS:
        raise UnknownNameError("test", test, TESTS)
    layout = layout or task.layouts[0]
    return SPLITS[split.kind](split, task, layout, env).test_conditions(test, episodes)


test_conditions.__test__ = False  # not a test of pytest's


# --- regions of the workspace, and viewpoints ---------------------------------------------------


@dataclass
class RegionsConfig(SplitConfig):
    """Demos and tests from regions of the workspace and sets of viewpoints."""

    kind: str = "regions"
    train_positions: RegionConfig = field(default_factory=RegionConfig)
    train_views: ViewConfig = field(default_factory=ViewConfig)
    ood: TestConfig = marked(LOCAL, TestConfig)
    sanity: TestConfig = marked(LOCAL, TestConfig)
    test_seed: int = number(20240, least=0, most=SEEDS, mark=LOCAL)

    @property
    def demos(self) -> int | None:
        """See `SplitConfig`."""
        return self.train_positions.count


@SPLITS.register("regions", RegionsConfig)
class Regions(Split):
    """Test conditions are a function of the split, its `test_seed`, the task, the layout and the
    views of the environment only: every policy faces the same ones, so policies are compared in
    pairs. They are drawn one by one, so the first n of a test are the same whatever n is. No test
    position lies on the training grid.
    """

    cfg: RegionsConfig

    def namings(self, test: str) -> tuple[tuple[str, ...], ...]:
        """What instructions of a test may name (`Condition.named`); () where they name nothing."""
        return self.task.namings

    def training_indices(self) -> list[int]:
        """See `Split`.

        Where objects stand apart all that matter (`Task.concerned`) must be in the region; corner,
        grid and spread choose by index.
        """
        cfg, demos = self.cfg, DEMO_SETS[self.cfg.dataset]
        views = {(theta, phi) for theta in cfg.train_views.thetas for phi in cfg.train_views.phis}
        if views - {demos.view(index) for index in range(demos.total)}:
            raise ConfigError(
                f"Split {cfg.name}: data set {cfg.dataset} has the default view only."
            )
        indices = [index for index in range(demos.total) if demos.view(index) in views]
        region = cfg.train_positions
        if not demos.on_grid:
            if region.kind != "all":
                raise ConfigError(f"Split {cfg.name}: data set {cfg.dataset} has no position grid.")
            return indices
        if region.kind in BY_INDEX or self.task.anchors(self.layout) == 1:
            return grid_indices(region)
        concerned = self.task.concerned(self.layout)
        starts = [demos.condition(i, self.task, self.layout, self.env) for i in indices]
        return [
            i
            for i, start in zip(indices, starts, strict=True)
            if _inside(region, self.task.where(start, self.layout)[:concerned]).all()
        ]

    def test_conditions(self, test: str, episodes: int | None = None) -> list[Condition]:
        """See `Split`."""
        config: TestConfig = getattr(self.cfg, test)
        views, thetas = _spread(config.views.thetas, config.views.phis), thetas_deg(self.env)
        avoid = grid_indices(config.avoid) if config.avoid else []
        held = config.positions, ws.grid_positions()[avoid]
        anywhere = RegionConfig(), ws.grid_positions()[[]]
        concerned, namings = self.task.concerned(self.layout), self.namings(test)
        training = self.training_indices() if config.jitter_of_training else []
        if config.jitter_of_training and not DEMO_SETS[self.cfg.dataset].on_grid:
            raise ConfigError(
                f"Split {self.cfg.name}: data set {self.cfg.dataset} has no position grid, so "
                f"{test}.jitter_of_training=true means nothing."
            )
        # Neither the split's name nor its regions enter the seed: corner_n4 ... corner_n64 and
        # distractor test the same positions.
        entropy = [self.cfg.test_seed, TESTS.index(test)]
        order = np.random.default_rng(entropy).permutation(len(training))
        conditions = []
        for i in range(config.episodes if episodes is None else episodes):
            rng = np.random.default_rng([*entropy, i])
            around: Any = [None] * self.task.anchors(self.layout)
            if training:
                start = self.task.grid(training[order[i % len(order)]], self.layout)
                around = self.task.where(start, self.layout)
            theta, phi = views[i % len(views)]
            fewest, most = config.distractors
            placed = self.task.draw(
                lambda k, rng=rng, around=around: _draw(
                    rng, *(held if k < concerned else anywhere), around[k]
                ),
                self.layout,
                rng,
                **({"named": namings[rng.integers(len(namings))]} if namings else {}),
            )
            conditions.append(
                replace(
                    placed,
                    theta_deg=thetas[theta],
                    phi_deg=PHIS_DEG[phi],
                    distractors=int(rng.integers(fewest, most + 1)),
                    seed=int(rng.integers(2**31)),
                )
            )
        return conditions


def grid_indices(region: RegionConfig) -> list[int]:
    """Indices ix * 16 + iy of the grid positions in a region, sorted."""
    ix, iy = np.divmod(np.arange(ws.GRID**2), ws.GRID)
    if region.kind == "corner":
        # Compact, nested blocks: square shells around each corner, nearest cells first.
        per_corner, rest = divmod(region.count or 0, 4)
        if rest or not 1 <= per_corner <= ws.GRID**2 // 4:
            raise ConfigError(f"corner needs a count in 4, 8, ... 256, got {region.count}.")
        di, dj = np.minimum(ix, ws.GRID - 1 - ix), np.minimum(iy, ws.GRID - 1 - iy)
        order = np.lexsort((di, di**2 + dj**2, np.maximum(di, dj)))
        corner = 2 * (ix >= ws.GRID // 2) + (iy >= ws.GRID // 2)
        chosen = np.concatenate([order[corner[order] == c][:per_corner] for c in range(4)])
    elif region.kind in ("grid", "spread"):
        per_side = math.isqrt(region.count or 0)
        if not 1 <= per_side <= ws.GRID or per_side**2 != region.count or ws.GRID % per_side:
            raise ConfigError(
                f"{region.kind} needs a count of 1, 4, 16, 64 or 256, got {region.count}."
            )
        step = ws.GRID // per_side
        first = step // 2 if region.kind == "spread" else 0
        chosen = np.flatnonzero((ix % step == first) & (iy % step == first))
    else:
        chosen = np.flatnonzero(_inside(region, ws.grid_positions()))
        if region.count is not None:
            raise ConfigError(
                f"A count only makes sense for corner, grid and spread, not {region.kind}."
            )
    return sorted(int(i) for i in chosen)


def nearest_grid_distance(positions: np.ndarray) -> np.ndarray:
    """Distance (...) [m] of positions (..., 2) to the nearest position of the training grid."""
    return np.linalg.norm(positions[..., None, :] - ws.grid_positions(), axis=-1).min(axis=-1)


def _inside(region: RegionConfig, positions: np.ndarray) -> np.ndarray:
    """Whether positions (n, 2) lie in a region that is not a choice of grid positions."""
    if region.kind not in REGIONS:
        raise UnknownNameError("region", region.kind, REGIONS)
    if region.kind not in _HALVES:
        return np.ones(len(positions), bool)
    axis, sign = _HALVES[region.kind]
    return sign * positions[:, axis] > 0


def _spread(thetas: list[int], phis: list[int]) -> list[tuple[int, int]]:
    """All viewpoints (theta, phi), ordered so that any prefix is spread over both angles."""
    return [
        (theta, phis[(round_ + k) % len(phis)])
        for round_ in range(len(phis))
        for k, theta in enumerate(thetas)
    ]


def _draw(
    rng: np.random.Generator, region: RegionConfig, avoid: np.ndarray, around: np.ndarray | None
) -> np.ndarray:
    """One off-grid position (2,) [m]: uniform in the region, or in the grid cell around a point.

    Args:
        rng: Decides it.
        region: Where it may lie.
        avoid: (N, 2) middles of cells in which it does not lie.
        around: (2,) middle of the cell in which it lies instead; None for none.
    """
    high = np.array([ws.X_HALF, ws.Y_HALF])
    low, half_cell = -high, high / (ws.GRID - 1)
    if around is not None:
        low, high = np.maximum(low, around - half_cell), np.minimum(high, around + half_cell)
    for _ in range(TRIES):
        position = rng.uniform(low, high)
        inside = around is not None or _inside(region, position[None]).all()
        avoided = (np.abs(avoid - position) <= half_cell).all(axis=-1).any()
        if inside and not avoided and nearest_grid_distance(position) >= OFF_GRID:
            return position
    raise ConfigError(
        f"No start lies in region {region.kind} and outside what is avoided: none of {TRIES} draws."
    )
