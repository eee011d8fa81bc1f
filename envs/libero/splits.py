"""Splits of LIBERO: which of its demos train a policy, and which of its starts test it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from envs.base import Condition
from envs.demos import DEMO_SETS, HUMAN, SIDES, half
from envs.libero.camera import orbit, rounded
from envs.libero.starts import TRAINED
from envs.libero.task import OFFICIAL, VARIED, LiberoTask
from envs.splits import SPLITS, STARTS, TESTS, Split, SplitConfig
from para.fields import LOCAL, SEEDS, choice, number, require

SWAPPED = "_swap"
"""What LIBERO-PRO adds to the name of a suite whose objects have changed places."""
STATES = 50
"""Official starts of a scene, and demos that LIBERO publishes of a task."""
ELEVATION_DEG = 38.9
"""Of LIBERO's outer camera."""
AZIMUTHS_DEG = (15, -15, 30, -30, 45, -45, 60, -60, 75, -75)
RAISED_DEG = 15
DISTANCES_M = (1.15, 1.5, 2.0)
ROLLS_DEG = (2, -2, 5, -5, 10, -10)
WHAT = ("official", "half", "swap", "cameras")
OTHER_HALF = dict(SIDES)
"""Of a workspace: a half that demos stand in -> the one that tests stand in."""


@dataclass
class LiberoSplitConfig(SplitConfig):
    """configs/split/libero_*.yaml"""

    kind: str = "libero"
    held_out: str = choice("official", WHAT, mark=LOCAL)
    """official: starts that no demo has, as LIBERO draws them; half: bowl and plate in the half of
    the workspace that no demo has; swap: LIBERO-PRO's scenes; cameras: the outer camera elsewhere,
    on orbits as wide as LIBERO-Plus', before starts like those of the demos."""
    demos_used: int = number(64, least=1, most=64)
    """Demos that train it, the first of the set; of layout=official 45 at
    most, of layout=human 50."""
    episodes: int = number(100, least=1, most=100_000, mark=LOCAL)
    """Of the held-out test."""
    sanity_episodes: int = number(60, least=1, most=100_000, mark=LOCAL)
    test_seed: int = number(20240, least=0, most=SEEDS, mark=LOCAL)

    @property
    def demos(self) -> int | None:
        """See `SplitConfig`."""
        return self.demos_used

    def rules(self, key: str, run: Any) -> None:
        """A half is held out of demos that have places."""
        super().rules(key, run)
        halves = [name for name in LiberoTask.datasets if DEMO_SETS[name].part in OTHER_HALF]
        require(
            self.held_out != "half" or self.dataset in halves,
            f"{key}.held_out=half needs a data set of one half: {', '.join(halves)}.",
        )
        require(
            run.layout == VARIED or self.dataset not in halves,
            f"split={self.name} trains one half of the table, and layout={run.layout} has one "
            f"place only: use layout={VARIED}.",
        )


@SPLITS.register("libero", LiberoSplitConfig)
class LiberoSplit(Split):
    """Test conditions are a function of the split's `test_seed`, which of STARTS they are, the task
    and the layout only. Drawn one by one: the first n of a test are the same whatever n is.
    """

    cfg: LiberoSplitConfig
    task: LiberoTask

    def training_indices(self) -> list[int]:
        """See `Split`."""
        total = DEMO_SETS[self.cfg.dataset].total
        most = {OFFICIAL: TRAINED, HUMAN: STATES}.get(self.layout, total)
        return list(range(min(self.cfg.demos_used, most)))

    def test_conditions(self, test: str, episodes: int | None = None) -> list[Condition]:
        """See `Split`."""
        number = TESTS.index(test) + len(TESTS) * STARTS.index(self.starts)
        usual = self.cfg.episodes if test == TESTS[0] else self.cfg.sanity_episodes
        starts = []
        for i in range(usual if episodes is None else episodes):
            rng = np.random.default_rng([self.cfg.test_seed, number, i])
            start = self._held_out(i, rng) if test == TESTS[0] else self._trained(rng)
            starts.append(replace(start, seed=int(rng.integers(2**31))))
        return starts

    def _trained(self, rng: np.random.Generator) -> Condition:
        """A start like those of the demos, which is none of them."""
        if self.demo_set.part in OTHER_HALF:
            return self._in_half(self.demo_set.part, rng)
        return self.task.random(rng, self.layout)

    def _in_half(self, part: str, rng: np.random.Generator) -> Condition:
        low, high = half(self.task, part)
        return self.task.draw(lambda _: rng.uniform(low, high), self.layout, rng)

    def _held_out(self, i: int, rng: np.random.Generator) -> Condition:
        what, final = self.cfg.held_out, self.starts == STARTS[1]
        if what == "half":
            return self._in_half(OTHER_HALF[self.demo_set.part], rng)
        if what == "swap":
            suite = self.task.cfg.suite + SWAPPED
            if i >= STATES // 2:
                return self.task.alike(rng, suite)
            return self.task.official(final * STATES // 2 + i, suite)
        if what == "cameras":
            like_demos = self.layout == VARIED
            start = self._trained(rng) if like_demos else self._official(i, rng)
            return _seen(start, CAMERAS[i % len(CAMERAS)])
        return self._official(i, rng)

    def _official(self, i: int, rng: np.random.Generator) -> Condition:
        middle = TRAINED + (STATES - TRAINED) // 2
        final = self.starts == STARTS[1]
        untrained = range(middle, STATES) if final else range(TRAINED, middle)
        return self.task.official(untrained[i]) if i < len(untrained) else self.task.alike(rng)


@dataclass(frozen=True)
class View:
    """Where a camera stands, and what else is unusual about it."""

    azimuth_deg: float = 0.0
    raised_deg: float = 0.0
    perturbed: tuple[tuple[str, float], ...] = ()


CAMERAS = (
    *(View(float(a)) for a in AZIMUTHS_DEG),
    *(View(float(a), RAISED_DEG) for a in (0, *AZIMUTHS_DEG)),
    *(View(perturbed=(("distance_m", d),)) for d in DISTANCES_M),
    *(View(perturbed=(("roll_deg", float(r)),)) for r in ROLLS_DEG),
)
"""In turn: orbits at the usual height and raised, distances, rolls. LIBERO-Plus orbits as far; its
distances are factors of the usual one, and it pans and tilts instead of rolling."""


def view_of(start: Condition) -> View | None:
    """The one of CAMERAS that sees a start of `libero_cameras`; None: the usual one."""
    theta, phi = rounded(start.theta_deg, start.phi_deg)
    start = replace(start, theta_deg=theta, phi_deg=phi)
    return next((view for view in CAMERAS if _seen(start, view) == start), None)


def _seen(start: Condition, view: View) -> Condition:
    theta, phi = orbit(view.azimuth_deg, view.raised_deg, ELEVATION_DEG)
    return replace(start, theta_deg=theta, phi_deg=phi, perturbed=dict(view.perturbed))
