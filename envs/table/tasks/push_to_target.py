"""Contact that needs watching: push a puck with the closed hand onto a disc."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import mujoco
import numpy as np

from envs.base import TASKS, Condition, Environment, Metric, Stage, TaskConfig, TaskObject, Waypoint
from envs.table import judging
from envs.table.blocks import add_free_body, add_mark, add_puck
from envs.table.env import TableEnv
from envs.table.expert import SETTLE_STEPS
from envs.table.robots import in_reach
from envs.table.task import TableTask

PUCK = TaskObject("puck", 0.035, (0.80, 0.16, 0.45))
TARGET = TaskObject("target", 0.050, (0.20, 0.55, 0.75))
PUCK_HEIGHT = 0.032
NEAREST, FARTHEST = 0.10, 0.25
"""Distance from puck to target at the start [m]."""

HOVER_HEIGHT, PUSH_HEIGHT = 0.11, 0.020
FACE = 0.0095
"""From the tool centre to the flat side of the closed fingers, along the hand's x [m]."""
APPROACH = 0.020
"""Room between fingers and puck where the hand comes down, and to which it withdraws [m]."""
STRIDE = 0.02
"""The expert looks again after so much of the way [m]."""
CLOSE, LAST = 0.006, 0.010
"""It stops when so little of the way is left, and pushes no less far than that [m]."""
BEYOND = 0.004
"""It aims so far beyond the target's centre: a hand that follows its waypoints stops a little short
of each [m]."""
STEERING = 0.04
"""It no longer changes direction when less than this is left [m]."""

BUMPS = 0.6, 1.1
"""In every second demonstration the puck is bumped away once, by 2 to 8 cm: at so much [m/s]."""
BESIDE = np.radians(25), 0.035
"""It is not before the fingers when it is turned further from their direction [rad], or the gap is
wider [m]."""
AGAIN = 0.015
"""It comes back for another push when the puck rests further from the target's centre [m]."""

MISS = Stage("MISS", "never moved", "not moved yet")
PUSH = Stage("PUSH", "pushed, not onto the target", "pushed")
REACH = Stage("REACH", "on the target", "on the target")
MOVED = 0.02
"""The puck counts as pushed when it is this far from where it stood [m]."""
RADIUS = 0.02
"""Largest distance from the puck's centre to the target's, on the target [m]."""


@dataclass
class PushToTargetConfig(TaskConfig):
    """configs/task/push_to_target.yaml"""

    kind: str = "push_to_target"


@TASKS.register("push_to_target", PushToTargetConfig)
class PushToTarget(TableTask):
    """The hand is turned so that the flat side of its closed fingers pushes."""

    title = "Push to target"
    description = "Push the puck onto the disc with the closed hand."
    instruction = "push the puck onto the disc"
    turns = True
    objects = (TARGET, PUCK)
    stages = (MISS, PUSH, REACH)
    metrics = (Metric("place_error_m", "Final distance from puck to target", "m"),)

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        """See `TableTask`."""
        add_puck(
            add_free_body(spec, PUCK.name), PUCK.radius, PUCK_HEIGHT, (*PUCK.colour, 1.0), 0.12
        )
        add_mark(spec, TARGET.name, TARGET.radius, (*TARGET.colour, 1.0))

    def fits(self, anchors: Sequence[np.ndarray], layout: str) -> bool:
        """See `Task`: not too near, not too far, and the hand gets behind the puck."""
        target, puck = anchors
        way = _Way.between(puck, target)
        ends = way.approach(puck)[0], way.leave(target)[-1]
        return NEAREST <= way.length <= FARTHEST and all(in_reach(end.position) for end in ends)

    def waypoints(
        self, objects: Mapping[str, np.ndarray], named: Sequence[str] = ()
    ) -> list[Waypoint]:
        """See `Task`: the path if the puck does as it is told."""
        puck, target = (objects[item.name][:2] for item in (PUCK, TARGET))
        way = _Way.between(puck, target)
        strides = np.arange(STRIDE, way.length, STRIDE)
        pushes = [way.push(puck, distance) for distance in [*strides, way.length]]
        return [*way.approach(puck), *pushes, *way.leave(target)]

    def script(self, env: Environment) -> Iterator[Waypoint]:
        """See `Task`: looks where the puck is after every stride, and pushes again if it missed."""
        target = env.objects()[TARGET.name][:2]
        while (way := _Way.between(env.objects()[PUCK.name][:2], target)).length > AGAIN:
            *_, stroke = approach = way.approach(env.objects()[PUCK.name][:2])
            yield from approach
            while True:
                puck = env.objects()[PUCK.name][:2]
                left = _Way.between(puck, target)
                if left.length > STEERING:
                    way = left
                lost = not way.before(stroke.position[:2], puck)
                ahead = float((target - puck) @ way.direction) + BEYOND
                if lost or ahead < CLOSE:
                    break
                yield (stroke := way.push(puck, min(STRIDE, max(LAST, ahead))))
            if lost:
                yield stroke._replace(position=np.array([*stroke.position[:2], HOVER_HEIGHT]))
                continue
            # The end of a push is a place to rest: on the way there and back again, the waypoints
            # of a policy lie before it, up to a tenth of a second's way on either side.
            yield from repeat(stroke, SETTLE_STEPS)
            yield from way.leave(puck)

    def shown(self, start: Condition, seed: int) -> Condition:
        """See `Task`: left alone or bumped, so that half of the demonstrations come back for it."""
        if seed % 2 == 0:
            return start
        speed = np.random.default_rng(seed).uniform(*BUMPS)
        return replace(start, seed=seed, perturbed={"bump_m_s": float(speed)})

    def hand_places(self, condition: Condition) -> list[np.ndarray]:
        """See `TableTask`: also beside the puck on its way."""
        puck, target = (condition.at(item.name) for item in (PUCK, TARGET))
        strides = np.linspace(0, 1, 7)[:, None]
        along = [np.array([*(puck + k * (target - puck)), 0.0]) for k in strides]
        return [*super().hand_places(condition), *along]

    def judge(self, env: TableEnv) -> PushJudge:
        """See `TableTask`."""
        return PushJudge(env)


@dataclass(frozen=True)
class _Way:
    """A straight push.

    Attributes:
        direction: (2,) unit vector.
        length: [m].
    """

    direction: np.ndarray
    length: float

    @classmethod
    def between(cls, start: np.ndarray, end: np.ndarray) -> _Way:
        length = float(np.hypot(*(end - start)))
        return cls((end - start) / max(length, 1e-9), length)

    def _at(self, puck: np.ndarray, gap: float, height: float) -> Waypoint:
        """The hand behind the puck (2,), with a gap [m] between them."""
        xy = puck - self.direction * (PUCK.radius + FACE + gap)
        yaw = float(np.arctan2(self.direction[1], self.direction[0]))
        return Waypoint(np.array([*xy, height]), 0.0, (yaw + np.pi / 2) % np.pi - np.pi / 2)

    def before(self, hand: np.ndarray, puck: np.ndarray) -> bool:
        """Can a hand at (2,) that faces this way go on pushing the puck?"""
        way = _Way.between(hand, puck)
        angle, gap = BESIDE
        turned = float(way.direction @ self.direction) < np.cos(angle)
        return not turned and way.length - PUCK.radius - FACE < gap

    def approach(self, puck: np.ndarray) -> list[Waypoint]:
        """Down behind the puck."""
        return [self._at(puck, APPROACH, height) for height in (HOVER_HEIGHT, PUSH_HEIGHT)]

    def push(self, puck: np.ndarray, distance: float) -> Waypoint:
        """So that the puck, which is at (2,), moves by `distance` [m]."""
        return self._at(puck + self.direction * distance, 0.0, PUSH_HEIGHT)

    def leave(self, puck: np.ndarray) -> list[Waypoint]:
        """Back, and up."""
        return [self._at(puck, APPROACH, height) for height in (PUSH_HEIGHT, HOVER_HEIGHT)]


class PushJudge:
    """Reached: the puck has rested on the target, untouched by the robot, for HOLD_STEPS steps."""

    def __init__(self, env: TableEnv):
        self._env = env
        self._puck, self._target = (env.world.objects[item.name] for item in (PUCK, TARGET))
        self._start = env.data.xpos[self._puck.body, :2].copy()
        self._moved = False
        self._steps = 0

    @property
    def stage(self) -> str:
        """MISS, PUSH or REACH."""
        if self._steps >= judging.HOLD_STEPS:
            return REACH.name
        return PUSH.name if self._moved else MISS.name

    def metrics(self) -> dict[str, float]:
        """See `Judge`."""
        return {"place_error_m": judging.distance(self._env, self._puck, self._target)}

    def step(self) -> None:
        """See `Judge`."""
        here = self._env.data.xpos[self._puck.body, :2]
        self._moved |= bool(np.hypot(*(here - self._start)) > MOVED)
        self._steps = self._steps + 1 if self._moved and self._is_there() else 0

    def _is_there(self) -> bool:
        env, puck = self._env, self._puck
        if judging.distance(env, puck, self._target) > RADIUS or not judging.upright(env, puck):
            return False
        return judging.rests(env, puck) and not judging.held(env, judging.touching(env, puck))
