"""What every task on the table is: bodies for the scene, layouts, a judge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar, Protocol

import mujoco
import numpy as np

from envs.base import Condition, EnvConfig, Task
from envs.table import PHYSICS
from envs.table import workspace as ws
from envs.table.env import TableEnv
from envs.table.robots import ROBOTS
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
    """A task on the table, with layouts `together` (as one group) and `independent`.

    Attributes:
        offsets: Name of an object -> where it stands relative to the group's centre (x, y) [m].
        spacing: Smallest distance between the centres of two objects in layout=independent [m].
    """

    robots = tuple(ROBOTS)
    layouts = ("together", "independent")
    version = PHYSICS
    offsets: ClassVar[dict[str, tuple[float, float]]]
    spacing: ClassVar[float]

    @abstractmethod
    def add_objects(self, spec: mujoco.MjSpec) -> None:
        """Add a free body per object to the scene: body and joint of its name, foot on z = 0."""

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
            anchors = [centre + np.array(self.offsets[item.name]) for item in self.objects]
        names = (item.name for item in self.objects)
        objects = {name: (*xy, 0.0) for name, xy in zip(names, anchors, strict=True)}
        return Condition(self.cfg.name, objects, **view)

    def random(self, rng: np.random.Generator, layout: str, **view: Any) -> Condition:
        """See `Task`."""
        return self.draw(lambda _: rng.uniform(*ws.CORNERS), layout, **view)

    def grid(self, index: int, layout: str = "together", **view: Any) -> Condition:
        """See `Task`: the other anchors are drawn from a generator seeded with `index`."""
        rng = np.random.default_rng([ws.GRID**2, index])
        first = ws.grid_positions()[index]
        return self.draw(lambda k: rng.uniform(*ws.CORNERS) if k else first, layout, **view)

    def check(self, condition: Condition) -> None:
        """Raise `ConfigError` unless `condition` is one of this task whose objects stand apart."""
        names = [item.name for item in self.objects]
        if condition.task != self.cfg.name or set(condition.objects) != set(names):
            raise ConfigError(
                f"A start of task {self.cfg.name} places {', '.join(names)}; this one is of "
                f"{condition.task} and places {', '.join(condition.objects)}."
            )
        for a, b in combinations(self.objects, 2):
            distance = float(np.hypot(*(condition.at(a.name) - condition.at(b.name))))
            if distance < a.radius + b.radius:
                raise ConfigError(
                    f"{a.name} and {b.name} would touch: their centres are {distance:.3f} m apart, "
                    f"and must be {a.radius + b.radius:.3f} m at least."
                )

    def hand_places(self, condition: Condition) -> list[np.ndarray]:
        """Tool centres (2,) [m] over which the hand works, and clutter must leave it room."""
        path = self.waypoints(condition.poses())
        return [np.array(xy) for xy in dict.fromkeys(tuple(p[:2]) for p, _ in path)]
