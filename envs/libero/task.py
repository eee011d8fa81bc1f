"""The tasks of LIBERO-spatial: take the bowl from wherever it stands and put it on the plate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from omegaconf import MISSING

from envs.base import (
    TASKS,
    Condition,
    EnvConfig,
    Environment,
    Metric,
    Stage,
    Task,
    TaskConfig,
    TaskObject,
    Waypoint,
)
from envs.demos import DEMO_SETS, HUMAN
from envs.libero import VERSION, expert, starts
from envs.libero.env import HIGH, LOW, LiberoEnv
from envs.libero.package import require_package
from envs.libero.scenes import load_scene, split_origin
from envs.libero.starts import BOWL, PLATE, RADII, TOLD_APART, TRAINED, WORKSPACE
from para.errors import ConfigError, UnknownNameError
from para.fields import choice, require, word

OFFICIAL, VARIED = "official", "varied"
TABLE, FIXTURE, IN_DRAWER = "table", "fixture", "drawer"
MISS = Stage("MISS", "never lifted", "not lifted yet")
GRASP = Stage("GRASP", "lifted, not placed", "lifted")
PLACE = Stage("PLACE", "placed", "placed on the plate")
LIFTED = 0.04
"""The bowl counts as lifted when it is so much higher than at the start [m]."""
CAMERA_KEYS = "camera_distance", "camera_elevation_deg", "camera_fovy_deg", "theta_max_deg"
"""Of `EnvConfig`: where the table's camera stands."""
COLOURS = {
    BOWL: (0.13, 0.13, 0.14),
    TOLD_APART: (0.35, 0.35, 0.37),
    "cookies_1": (0.62, 0.16, 0.14),
    "glazed_rim_porcelain_ramekin_1": (0.85, 0.83, 0.78),
    PLATE: (0.75, 0.30, 0.25),
}


@dataclass
class LiberoConfig(TaskConfig):
    """configs/task/libero_spatial_*.yaml"""

    kind: str = "libero"
    suite: str = word("libero_spatial")
    """Folder of the scene in LIBERO's package."""
    problem: str = MISSING
    """Name of the scene, which is its instruction, too."""
    stands_on: str = choice(
        TABLE, (TABLE, FIXTURE, IN_DRAWER, "cookies_1", "glazed_rim_porcelain_ramekin_1")
    )
    """Where the bowl stands: on what moves it moves along, on furniture it stays."""

    leans: bool = False
    """The hand leans where the arm would be stretched: for bowls that stand far away or high."""

    def rules(self, key: str, run: Any) -> None:
        """LIBERO is there, and has the scene; nobody moves a camera that is not used."""
        super().rules(key, run)
        usual = EnvConfig()
        for name in CAMERA_KEYS:
            asked = getattr(getattr(run, "env", usual), name)
            require(
                asked == getattr(usual, name),
                f"env.{name}={asked:g} moves the table's camera, and LIBERO's stands where its "
                "scene has it: leave it away. split=libero_cameras tests other cameras.",
            )
        require_package()
        load_scene(self.suite, self.problem)


@TASKS.register("libero", LiberoConfig)
class LiberoTask(Task):
    """Layout `varied`: bowl, plate and what else stands about, anywhere on the free table, each
    independent of the others. Layout `official`: as LIBERO's initial states, or drawn like them.
    Layout `human`: LIBERO's own demos, which are imported (para/data/sources/libero.py); all other
    starts as in `official`.
    """

    title = "LIBERO-spatial"
    description = "Take the black bowl from where the instruction says, and put it on the plate."
    instruction = "put the black bowl on the plate"
    robots = ("panda",)
    layouts = (VARIED, OFFICIAL, HUMAN)
    objects = tuple(TaskObject(name, RADII[name], COLOURS[name]) for name in RADII)
    stages = (MISS, GRASP, PLACE)
    metrics = (Metric("place_error_m", "Final distance from bowl to plate", "m"),)
    version = VERSION
    datasets = tuple(name for name in DEMO_SETS if name.startswith("libero"))
    workspace = WORKSPACE

    cfg: LiberoConfig

    def __init__(self, cfg: LiberoConfig):
        super().__init__(cfg)
        self.instruction = cfg.problem.replace("_", " ")

    def environment(self, robot: str, layout: str, config: EnvConfig | None = None) -> LiberoEnv:
        """See `Task`."""
        require_package()
        return LiberoEnv(self, robot, layout, config)

    def sources(self, origins: Sequence[str]) -> dict[str, str]:
        """See `Task`: the files of the scenes that these starts come from."""
        suites = {split_origin(origin)[0] for origin in origins}
        found: dict[str, str] = {}
        for suite in sorted(suites):
            found |= load_scene(suite, self.cfg.problem).sha256
        return found

    # Starts ---------------------------------------------------------------------------------------

    @property
    def _on(self) -> str:
        """The movable object on which the bowl stands; empty where it is none."""
        return self.cfg.stands_on if self.cfg.stands_on in RADII else ""

    @property
    def _free(self) -> tuple[str, ...]:
        """What anchors place."""
        if self.cfg.stands_on in (FIXTURE, IN_DRAWER):
            return (PLATE,)
        return (self._on or BOWL, PLATE)

    @property
    def _drawer(self) -> bool:
        return self.cfg.stands_on == IN_DRAWER

    def official(self, index: int, suite: str | None = None, **view: Any) -> Condition:
        """Initial state `index` of this task, or of the same scene in another suite."""
        where = suite or self.cfg.suite, self.cfg.problem
        return starts.official(self.cfg.name, *where, index, **view)

    def alike(self, rng: np.random.Generator, suite: str | None = None, **view: Any) -> Condition:
        """A start like the official ones, see `envs.libero.starts.alike`."""
        where = suite or self.cfg.suite, self.cfg.problem
        return starts.alike(self.cfg.name, *where, rng, self._on, **view)

    def anchors(self, layout: str) -> int:
        """See `Task`; none where all is as in official starts."""
        if layout not in self.layouts:
            raise UnknownNameError("layout", layout, self.layouts)
        return len(self._free) if layout == VARIED else 0

    def where(self, condition: Condition, layout: str) -> np.ndarray:
        """See `Task`."""
        return np.array([condition.at(name) for name in self._free[: self.anchors(layout)]])

    def fits(self, anchors: Sequence[np.ndarray], layout: str) -> bool:
        """See `Task`."""
        if not self.anchors(layout):
            return True
        scene = load_scene(self.cfg.suite, self.cfg.problem)
        placed = dict(zip(self._free, anchors, strict=True))
        other = {TOLD_APART: np.mean(starts.spans(scene, TOLD_APART), axis=0)}
        return all(
            starts.free(name, at, {**placed, **other}, self._drawer) for name, at in placed.items()
        )

    def place(self, anchors: Sequence[np.ndarray], layout: str, **view: Any) -> Condition:
        """See `Task`: the rest stands as in the first official start."""
        start = self.official(0, **view)
        if not anchors:
            return start
        places = dict(start.objects)
        for name, (x, y) in zip(self._free, anchors, strict=True):
            if name == self._on:
                bowl, under = places[BOWL], places[name]
                places[BOWL] = (bowl[0] + x - under[0], bowl[1] + y - under[1], bowl[2])
            places[name] = (x, y, places[name][2])
        return replace(start, objects=places)

    def vary(self, condition: Condition, rng: np.random.Generator) -> Condition:
        """See `Task`: what no anchor places is drawn.

        A start that is as the first official one becomes another one like them.
        """
        like = self.alike(rng)
        view = {"theta_deg": condition.theta_deg, "phi_deg": condition.phi_deg}
        view |= {"perturbed": condition.perturbed, "seed": condition.seed}
        if condition.objects == self.official(0).objects:
            return replace(like, **view)
        kept = {*self._free, BOWL} if self._on or BOWL in self._free else {*self._free}
        places = {**like.objects, **{name: condition.objects[name] for name in kept}}
        loose = [name for name in RADII if name not in (*kept, TOLD_APART, BOWL)]
        stands = {name: places[name] for name in (*self._free, TOLD_APART)}
        for name, (x, y) in starts.scattered(stands, loose, rng, self._drawer).items():
            places[name] = (x, y, places[name][2])
        return replace(like, objects=places, **view)

    def random(self, rng: np.random.Generator, layout: str, **view: Any) -> Condition:
        """See `Task`."""
        return self.draw(lambda _: rng.uniform(*WORKSPACE), layout, rng, **view)

    def grid(self, index: int, layout: str, **view: Any) -> Condition:
        """See `Task`: of layout `official` the initial state of this number, as far as demos use
        them; a random start otherwise.
        """
        if layout == OFFICIAL and index < TRAINED:
            return self.official(index, **view)
        return self.random(np.random.default_rng([len(RADII), index]), layout, **view)

    def check(self, condition: Condition) -> None:
        """Is it a start of this task?

        Raises:
            ConfigError: It is of another task, places other objects, or is out of reach.
        """
        if condition.task != self.cfg.name or set(condition.objects) != set(RADII):
            raise ConfigError(
                f"A start of task {self.cfg.name} places {', '.join(RADII)}; this one is of "
                f"{condition.task} and places {', '.join(condition.objects)}."
            )
        suite, index = split_origin(condition.origin)
        starts.official(self.cfg.name, suite, self.cfg.problem, index)
        for name in (BOWL, PLATE):
            x, y = condition.at(name)
            if not (LOW[:2] <= (x, y)).all() or not ((x, y) <= HIGH[:2]).all():
                raise ConfigError(
                    f"{name} stands at ({x:.3f}, {y:.3f}) m, out of reach: the hand stays within x "
                    f"{LOW[0]} to {HIGH[0]}, y {LOW[1]} to {HIGH[1]} m."
                )

    # The expert -----------------------------------------------------------------------------------

    def waypoints(
        self, objects: Mapping[str, np.ndarray], named: Sequence[str] = ()
    ) -> list[Waypoint]:
        """See `Task`."""
        return expert.path(objects)

    def script(self, env: Environment) -> Iterator[Waypoint]:
        """See `Task`."""
        return expert.script(env)

    def judge(self, env: LiberoEnv) -> Judge:
        """What watches an episode that begins in `env`."""
        return Judge(env)


class Judge:
    """MISS, GRASP once the bowl was lifted, PLACE as soon as LIBERO calls it a success."""

    def __init__(self, env: LiberoEnv):
        self._env = env
        self._height = env.objects()[BOWL][2]
        self._lifted = False

    @property
    def stage(self) -> str:
        """The stage that was reached."""
        if self._env.succeeded:
            return PLACE.name
        return GRASP.name if self._lifted else MISS.name

    def step(self) -> None:
        """Look after a control step."""
        self._lifted = self._lifted or bool(self._env.objects()[BOWL][2] > self._height + LIFTED)

    def metrics(self) -> dict[str, float]:
        """The distance from bowl to plate, horizontally [m]."""
        objects = self._env.objects()
        return {"place_error_m": float(np.hypot(*(objects[BOWL] - objects[PLATE])[:2]))}


def libero_tasks() -> list[str]:
    """Names of LIBERO's tasks, sorted."""
    return [name for name in TASKS.options() if TASKS[TASKS.load(name).kind] is LiberoTask]
