"""Which demos train a policy and which start conditions test it (configs/split)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from omegaconf import MISSING

from envs.base import TASKS, Condition, EnvConfig, Task
from envs.demos import DEMO_SETS, DemoSet
from envs.episodes import FIXED, UNSEEN, VARIED
from envs.regions import BY_INDEX, RegionConfig, ViewConfig, draw, grid_indices, inside, spread
from envs.table import workspace as ws
from para.errors import ConfigError, UnknownNameError
from para.fields import LOCAL, SEEDS, choice, marked, number, require, word
from para.registry import Registry

TESTS = ("ood", "sanity")
"""What is never trained on, and the training distribution."""
STARTS = ("dev", "final")
"""Two draws of every test: decisions are made on the first, published is the second."""


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
    unseen_looks: bool = False
    """Show colours, textures and shapes that demos of appearance=varied never have."""
    avoid: list[RegionConfig] | None = None
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

    every_task: ClassVar[bool] = False
    """Its policy is trained on the demos of all tasks, and tested on one (envs/multi_task.py)."""
    simulated: ClassVar[bool] = True
    """A simulator makes its demos and runs its tests; otherwise they are imported (envs/own.py)."""

    name: str = word(MISSING, mark=LOCAL)
    kind: str = MISSING
    """The registered component that reads the rest."""
    title: str = marked(LOCAL, MISSING)
    """One line for tables and figures."""
    dataset: str = choice(MISSING, DEMO_SETS)
    """One of `envs.demos.DEMO_SETS`."""
    dataset_apart: str | None = choice(None, (*DEMO_SETS, None))
    """Trains instead where a task places its objects independently; None: none does."""
    train_set: str = word(MISSING)
    """Name of the training set; splits that share it share training runs."""
    everywhere: bool = marked(LOCAL, False)
    """Its first test has trained positions, too, so it is not "held out"."""
    curve: str | None = word(None, mark=LOCAL)
    """Figure over numbers of demos or cameras that it is a point of, with all others that say so;
    they test the same starts."""

    @property
    def demos(self) -> int | None:
        """Number of demos that train it, where that is what the split is about."""
        return None

    def dataset_for(self, task: Task, layout: str) -> str:
        """Name of the data set that trains a task in a layout."""
        apart = self.dataset_apart and task.anchors(layout) > 1
        return str(self.dataset_apart if apart else self.dataset)

    def unfit(self, task: Task | type[Task]) -> str:
        """Why a task cannot be split like this; empty where it can."""
        if self.dataset in task.datasets:
            return ""
        return f"it has no demos called {self.dataset}, but {', '.join(task.datasets)}."

    @property
    def goes_with(self) -> tuple[str, ...]:
        """Overrides without which a command refuses it."""
        return ()

    def appearance(self, test: str, asked: str) -> str:
        """What a test looks like, where its demos are `asked` to look like one of APPEARANCES."""
        return asked

    def require_fit(self, task: Task | type[Task], name: str) -> None:
        """Raise `ConfigError` where a task of this name is `unfit`."""
        reason = self.unfit(task)
        require(not reason, f"split={self.name} does not go with task={name}: {reason}")

    def rules(self, key: str, run: Any) -> None:
        """The task can be split like this, and nobody's own demos are asked for."""
        data = getattr(run, "data", None)
        require(data is None, f"data={data} is for split=own: split={self.name} simulates.")
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
        starts: Which draw of the tests, of STARTS.

    Raises:
        ConfigError: The task cannot be split so (`SplitConfig.unfit`).
    """

    def __init__(
        self,
        cfg: Any,
        task: Task,
        layout: str,
        env: EnvConfig | None = None,
        starts: str = STARTS[0],
    ):
        self.cfg, self.task, self.layout, self.env = cfg, task, layout, env or EnvConfig()
        self.starts = starts
        cfg.require_fit(task, task.cfg.name)

    @property
    def demo_set(self) -> DemoSet:
        """The data set that trains it."""
        return DEMO_SETS[self.cfg.dataset_for(self.task, self.layout)]

    @abstractmethod
    def training_indices(self) -> list[int]:
        """Demo indices of the split's data set that train it, sorted."""

    def training_conditions(self) -> list[Condition]:
        """How the demos that train it start."""
        return [
            self.demo_set.condition(index, self.task, self.layout, self.env)
            for index in self.training_indices()
        ]

    @abstractmethod
    def test_conditions(self, test: str, episodes: int | None = None) -> list[Condition]:
        """Start conditions of a test; others for each of `self.starts`.

        Args:
            test: ood (what the policy never saw, unless the split says `everywhere`) or sanity
                (in distribution).
            episodes: How many; None takes as many as the split says.
        """


SPLITS: Registry[type[Split]] = Registry(
    "split",
    "split",
    ("envs.splits", "envs.composition", "envs.multi_task", "envs.libero.splits", "envs.own"),
)


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
    starts: str = STARTS[0],  # noqa: PT028
    appearance: str = FIXED,  # noqa: PT028
) -> list[Condition]:
    """See `Split.test_conditions`; a test is one of TESTS, `starts` one of STARTS.

    `appearance`: of its demos, one of APPEARANCES; the split says what its tests look like.
    """
    for what, name, known in (("test", test, TESTS), ("starts", starts, STARTS)):
        if name not in known:
            raise UnknownNameError(what, name, known)
    layout = layout or task.layouts[0]
    drawn = SPLITS[split.kind](split, task, layout, env, starts).test_conditions(test, episodes)
    shown = split.appearance(test, appearance)
    return [start.dressed(shown, start.seed) for start in drawn]


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

    @property
    def goes_with(self) -> tuple[str, ...]:
        """See `SplitConfig`."""
        unseen = self.ood.unseen_looks or self.sanity.unseen_looks
        return (f"appearance={VARIED}",) if unseen else ()

    def appearance(self, test: str, asked: str) -> str:
        """See `SplitConfig`."""
        return UNSEEN if getattr(self, test).unseen_looks else asked

    def rules(self, key: str, run: Any) -> None:
        """Where a test's looks are unseen the demos' are varied."""
        super().rules(key, run)
        require(
            run.appearance == VARIED or not self.goes_with,
            f"split={self.name} tests looks that demos of appearance={VARIED} never show, and "
            f"appearance={run.appearance}: add {' '.join(self.goes_with)}.",
        )


@SPLITS.register("regions", RegionsConfig)
class Regions(Split):
    """Test conditions are a function of the split, its `test_seed`, which of STARTS they are, the
    task, the layout and the views of the environment only: every policy faces the same ones, so
    policies are compared in pairs. They are drawn one by one, so the first n of a test are the same
    whatever n is. No test position lies on the training grid.
    """

    cfg: RegionsConfig

    def namings(self, test: str) -> tuple[tuple[str, ...], ...]:
        """What instructions of a test may name (`Condition.named`); () where they name nothing."""
        return self.task.namings

    def training_indices(self) -> list[int]:
        """See `Split`.

        Where objects stand apart all must be in the region; corner, grid and spread choose by
        index.
        """
        cfg, demos = self.cfg, self.demo_set
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
            return sorted({*grid_indices(region)} & {*indices})
        starts = [demos.condition(i, self.task, self.layout, self.env) for i in indices]
        return [
            i
            for i, start in zip(indices, starts, strict=True)
            if inside(region, self.task.where(start, self.layout)).all()
        ]

    def test_conditions(self, test: str, episodes: int | None = None) -> list[Condition]:
        """See `Split`."""
        config: TestConfig = getattr(self.cfg, test)
        views = spread(config.views, self.env)
        avoid = sorted({i for region in config.avoid or () for i in grid_indices(region)})
        held = config.positions, ws.grid_positions()[avoid]
        namings = self.namings(test)
        training = self.training_indices() if config.jitter_of_training else []
        if config.jitter_of_training and not self.demo_set.on_grid:
            raise ConfigError(
                f"Split {self.cfg.name}: data set {self.cfg.dataset} has no position grid, so "
                f"{test}.jitter_of_training=true means nothing."
            )
        # Neither the split's name nor its regions enter the seed: corner_n4 ... corner_n64 and
        # distractor test the same positions.
        number = TESTS.index(test) + len(TESTS) * STARTS.index(self.starts)
        entropy = [self.cfg.test_seed, number]
        order = np.random.default_rng(entropy).permutation(len(training))
        conditions = []
        for i in range(config.episodes if episodes is None else episodes):
            rng = np.random.default_rng([*entropy, i])
            around: Any = [None] * self.task.anchors(self.layout)
            if training:
                index = training[order[i % len(order)]]
                start = self.demo_set.condition(index, self.task, self.layout, self.env)
                around = self.task.where(start, self.layout)
            theta, phi = views[i % len(views)]
            fewest, most = config.distractors
            placed = self.task.draw(
                lambda k, rng=rng, around=around: draw(rng, *held, around[k]),
                self.layout,
                rng,
                **({"named": namings[rng.integers(len(namings))]} if namings else {}),
            )
            conditions.append(
                replace(
                    placed,
                    theta_deg=theta,
                    phi_deg=phi,
                    distractors=int(rng.integers(fewest, most + 1)),
                    seed=int(rng.integers(2**31)),
                )
            )
        return conditions
