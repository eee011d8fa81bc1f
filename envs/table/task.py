"""What every task on the table is: bodies for the scene, layouts, a judge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, ClassVar, Protocol

import mujoco
import numpy as np

from envs.base import TASKS, Condition, EnvConfig, Task
from envs.table import PHYSICS
from envs.table import workspace as ws
from envs.table.env import TableEnv
from envs.table.robots import BASE, REACH, ROBOTS, in_reach
from para.errors import ConfigError, UnknownNameError


class Judge(Protocol):
    """Watches one episode.

    Attributes:
        stage: Name of the stage that it has reached.
    """

    stage: str

    def step(self) -> None:
        """Look at the environment after a control step."""

    def metrics(self) -> dict[str, float]:
        """The task's metrics now."""


class TableTask(Task, ABC):
    """A task on the table, with layout `independent` or also `together` (as one group).

    Attributes:
        offsets: Name of an object -> where it stands relative to the group's centre (x, y) [m], in
            layout=together; one that is not named stands there itself.
        spacing: Smallest distance between the centres of two objects in layout=independent [m].
        yaws: Name of an object -> the largest angle that it is turned by, either way [rad].
        shapes: What comes in several shapes, where appearance is not fixed: a keyword of
            `add_objects` -> appearance -> its values.
        named_by_colour: Its objects keep their colours in every appearance.
    """

    robots = tuple(ROBOTS)
    layouts = ("independent",)
    datasets = (
        *("objpos", "objpos_nf", "objpos_lr"),
        *("viewpoints", "objpos_8_views", "objpos_64_views"),
    )
    workspace = ws.CORNERS
    version = PHYSICS
    offsets: ClassVar[Mapping[str, tuple[float, float]]] = {}
    spacing: ClassVar[float] = 0.0
    yaws: ClassVar[Mapping[str, float]] = {}
    shapes: ClassVar[Mapping[str, Mapping[str, Sequence[str]]]] = {}
    named_by_colour: ClassVar[bool] = False

    @abstractmethod
    def add_objects(self, spec: mujoco.MjSpec, **shapes: str) -> None:
        """Add a body per object to the scene, called like it, foot on z = 0.

        It has a free joint of its name, or is a mocap body without contacts: a mark on the table.
        """

    @abstractmethod
    def judge(self, env: TableEnv) -> Judge:
        """The judge of an episode that begins in `env`."""

    def environment(
        self, robot: str, layout: str, config: EnvConfig | None = None, **options: Any
    ) -> TableEnv:
        """See `Task`; `options`: further arguments of `TableEnv`."""
        return TableEnv(self, robot, layout, config, **options)

    def anchors(self, layout: str) -> int:
        """See `Task`: the group's centre, or the position of every object."""
        if layout not in self.layouts:
            raise UnknownNameError("layout", layout, self.layouts)
        return 1 if layout == "together" else len(self.objects)

    def where(self, condition: Condition, layout: str) -> np.ndarray:
        """See `Task`."""
        if self.anchors(layout) == 1:
            return np.array([condition.position])
        return np.array([condition.at(item.name) for item in self.objects])

    def fits(self, anchors: Sequence[np.ndarray], layout: str) -> bool:
        """See `Task`."""
        pairs = combinations(anchors, 2)
        return all(np.hypot(*(a - b)) >= self.spacing for a, b in pairs)

    def place(self, anchors: Sequence[np.ndarray], layout: str, **view: Any) -> Condition:
        """See `Task`."""
        if self.anchors(layout) == 1:
            (centre,) = anchors
            offsets = (self.offsets.get(item.name, (0.0, 0.0)) for item in self.objects)
            anchors = [centre + np.array(offset) for offset in offsets]
        names = (item.name for item in self.objects)
        objects = {name: (*xy, 0.0) for name, xy in zip(names, anchors, strict=True)}
        return Condition(self.cfg.name, objects, **view)

    def random(self, rng: np.random.Generator, layout: str, **view: Any) -> Condition:
        """See `Task`."""
        return self.draw(lambda _: ws.somewhere(rng, *ws.CORNERS), layout, rng, **view)

    def grid(self, index: int, layout: str | None = None, **view: Any) -> Condition:
        """See `Task`: the other anchors are drawn from a generator seeded with `index`.

        `layout`: None takes the task's usual one.
        """
        rng = np.random.default_rng([ws.GRID**2, index])
        first = ws.grid_positions()[index]
        return self.draw(
            lambda k: ws.somewhere(rng, *ws.CORNERS) if k else first,
            layout or self.layouts[0],
            rng,
            **view,
        )

    def vary(self, condition: Condition, rng: np.random.Generator) -> Condition:
        """See `Task`: turns the objects of `yaws`."""
        turned = {
            name: (x, y, rng.uniform(-self.yaws[name], self.yaws[name]) if name in self.yaws else 0)
            for name, (x, y, _) in condition.objects.items()
        }
        return replace(condition, objects=turned)

    def check(self, condition: Condition) -> None:
        """Can the task be done from here?

        Raises:
            ConfigError: The condition is of another task, its objects touch, or the hand does not
                reach where it has to go.
        """
        names = [item.name for item in self.objects]
        if condition.task != self.cfg.name or set(condition.objects) != set(names):
            raise ConfigError(
                f"A start of task {self.cfg.name} places {', '.join(names)}; this one is of "
                f"{condition.task} and places {', '.join(condition.objects)}."
            )
        if condition.named not in (self.namings or ((),)):
            known = "; ".join(" and ".join(named) for named in self.namings) or "nothing"
            raise ConfigError(
                f"The instruction of {self.cfg.name} names {known}; this start names "
                f"{' and '.join(condition.named) or 'nothing'}."
            )
        for a, b in combinations(self.objects, 2):
            distance = float(np.hypot(*(condition.at(a.name) - condition.at(b.name))))
            if distance < a.radius + b.radius:
                raise ConfigError(
                    f"{a.name} and {b.name} would touch: their centres are {distance:.3f} m apart, "
                    f"and must be {a.radius + b.radius:.3f} m at least."
                )
        for waypoint in self.waypoints(condition.poses(), condition.named):
            if not in_reach(waypoint.position):
                x, y, _ = waypoint.position
                raise ConfigError(
                    f"The hand would have to go to ({x:.3f}, {y:.3f}) m, out of reach: it gets "
                    f"{REACH} m far from the robot's base at ({BASE[0]}, {BASE[1]}) m, and stays "
                    f"within x {ws.EE_LOW[0]} to {ws.EE_HIGH[0]}, y {ws.EE_LOW[1]} to "
                    f"{ws.EE_HIGH[1]} m. Place the objects further inside."
                )

    def hand_places(self, condition: Condition) -> list[np.ndarray]:
        """(x, y, yaw) [m, rad] of the tool where the hand works: clutter must leave it room."""
        path = self.waypoints(condition.poses(), condition.named)
        places = dict.fromkeys((*map(float, w.position[:2]), w.yaw) for w in path)
        return [np.array(place) for place in places]


def table_tasks() -> list[str]:
    """Names of the tasks on the table, sorted."""
    return [name for name in TASKS.options() if issubclass(TASKS[TASKS.load(name).kind], TableTask)]
