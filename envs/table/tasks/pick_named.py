"""An instruction decides: put the bowl that is named on the plate that is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import mujoco
import numpy as np

from envs.base import TASKS, TRIES, Condition, Metric, Stage, TaskConfig, TaskObject, Waypoint
from envs.table import dishes
from envs.table.dishes import SHAPES, USUAL, add_dish
from envs.table.distractors import distance_to_hand
from envs.table.env import TableEnv
from envs.table.task import TableTask
from envs.table.tasks import bowl_on_plate as serving
from para.errors import ConfigError

BOWLS = tuple(
    TaskObject(f"{colour}_bowl", serving.BOWL.radius, rgb)
    for colour, rgb in (
        ("red", (0.80, 0.13, 0.11)),
        ("green", (0.16, 0.50, 0.20)),
        ("yellow", (0.93, 0.74, 0.10)),
    )
)
PLATES = tuple(
    TaskObject(f"{colour}_plate", serving.PLATE.radius, rgb)
    for colour, rgb in (("blue", (0.11, 0.36, 0.62)), ("black", (0.10, 0.10, 0.11)))
)
GAP = 0.02
"""Smallest distance between the footprints of two objects at the start [m]."""
AGAIN = 50
"""Draws of one object's place after which all are drawn anew."""

MISS = Stage("MISS", "named bowl never lifted", "named bowl not lifted yet")
GRASP = Stage("GRASP", "named bowl lifted, not on the named plate", "named bowl lifted")
PLACE = Stage("PLACE", "placed", "placed on the named plate")


@dataclass
class PickNamedConfig(TaskConfig):
    """configs/task/pick_named.yaml"""

    kind: str = "pick_named"


@TASKS.register("pick_named", PickNamedConfig)
class PickNamed(TableTask):
    """Three bowls and two plates of which each start names one: (bowl, plate).

    The anchors of a start are the places of the named bowl, of the named plate and of the others in
    the order of `objects`.
    """

    title = "Pick what is named"
    description = "Put the bowl that the instruction names on the plate that it names."
    instruction = "put the {} on the {}"
    objects = (*BOWLS, *PLATES)
    shapes = SHAPES
    named_by_colour = True
    stages = (MISS, GRASP, PLACE)
    metrics = (Metric("place_error_m", "Final distance from named bowl to named plate", "m"),)
    namings = tuple((bowl.name, plate.name) for bowl, plate in product(BOWLS, PLATES))

    def instruct(self, condition: Condition) -> str:
        """See `Task`: put the red bowl on the blue plate."""
        return self.instruction.format(*(name.replace("_", " ") for name in condition.named))

    def add_objects(self, spec: mujoco.MjSpec, bowl: str = USUAL, plate: str = USUAL) -> None:
        """See `TableTask`."""
        for items, shape in ((BOWLS, dishes.BOWLS[bowl]), (PLATES, dishes.PLATES[plate])):
            for item in items:
                add_dish(spec, item.name, shape, (*item.colour, 1.0))

    def where(self, condition: Condition, layout: str) -> np.ndarray:
        """See `Task`: the named ones first."""
        self.anchors(layout)
        return np.array([condition.at(name) for name in self._roles(condition.named)])

    def place(self, anchors: Sequence[np.ndarray], layout: str, **view: Any) -> Condition:
        """See `Task`; `named` is among the fields of `view`."""
        self.anchors(layout)
        places = dict(zip(self._roles(view["named"]), anchors, strict=True))
        objects = {item.name: (*places[item.name], 0.0) for item in self.objects}
        return Condition(self.cfg.name, objects, **view)

    def fits(self, anchors: Sequence[np.ndarray], layout: str) -> bool:
        """See `Task`, also of the first few: the hand finds room where it grasps and releases.

        The last one is looked at first: `draw` knows that the others fit.
        """
        radii = [item.radius for item in (BOWLS[0], PLATES[0], *BOWLS[1:], *PLATES[1:])]
        placed = list(zip(anchors, radii, strict=False))
        for (a, first), (b, second) in combinations(reversed(placed), 2):
            if math.dist(a, b) < first + second + GAP:
                return False
        offsets = serving.GRASP_OFFSET, serving.RELEASE_OFFSET
        tools = [np.array([*(a + b), 0.0]) for a, b in zip(anchors, offsets, strict=False)]
        return all(
            distance_to_hand(place, tool) > radius
            for k, (place, radius) in enumerate(placed)
            for tool in tools[:k]
        )

    def draw(
        self,
        point: Callable[[int], np.ndarray],
        layout: str,
        rng: np.random.Generator,
        named: tuple[str, ...] = (),
        **view: Any,
    ) -> Condition:
        """See `Task`; `named`: None are drawn.

        The objects are placed one after the other, the named ones first: five at once fit in three
        of a hundred draws.
        """
        named = named or self.namings[rng.integers(len(self.namings))]
        for _ in range(TRIES // AGAIN):
            anchors: list[np.ndarray] = []
            for k in range(self.anchors(layout)):
                for _ in range(AGAIN):
                    anchor = point(k)
                    if self.fits([*anchors, anchor], layout):
                        anchors.append(anchor)
                        break
                else:
                    break
            else:
                return self.vary(self.place(anchors, layout, named=named, **view), rng)
        raise ConfigError(
            f"The region is too small for the objects of {self.cfg.name} in layout={layout}: they "
            "do not fit."
        )

    def waypoints(
        self, objects: Mapping[str, np.ndarray], named: Sequence[str] = ()
    ) -> list[Waypoint]:
        """See `Task`."""
        bowl, plate = named
        return serving.serve(objects[bowl], objects[plate])

    def judge(self, env: TableEnv) -> serving.PlacingJudge:
        """See `TableTask`."""
        return serving.PlacingJudge(env, *env.condition.named)

    def _roles(self, named: Sequence[str]) -> list[str]:
        """Names of all objects in the order of anchors."""
        return [*named, *(item.name for item in self.objects if item.name not in named)]
