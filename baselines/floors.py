"""Policies that learn nothing: the floors of every table, and the expert as its ceiling.

A floor looks at one image, plans its whole way to the end, and looks again when that is done. What
it reaches says how much of a split can be done without recognising anything.

    colour    the box around each object's training colour, rays and constants (baselines/
              colour_boxes.py), then the expert's path
    replay    the demo whose first image is nearest, in world coordinates
    mean      the mean of all demos
    expert    the ceiling: the scripted expert, which is told where everything is, by the same servo
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from baselines.colour_boxes import fit_colour_boxes
from envs.base import Environment, Waypoint
from para.types import ActionChunk, Inference, Observation


@dataclass(frozen=True)
class Demo:
    """A demonstration as far as floors look at it: its first image, and a waypoint every 0.3 s.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        positions: (T, 3) world frame [m].
        gripper: (T,) commanded opening in [0, 1].
        rotations: (T, 3) as in `ActionChunk` [rad].
    """

    image: np.ndarray
    positions: np.ndarray
    gripper: np.ndarray
    rotations: np.ndarray

    @property
    def chunk(self) -> ActionChunk:
        """All of it as one plan."""
        return ActionChunk(self.positions, self.gripper, self.rotations)


@dataclass(frozen=True)
class Given:
    """What a floor may use.

    Attributes:
        make_env: Makes an environment of the setting, to measure constants in.
        envs: Those that observations come from: what `expert` is told.
        demos: Those that train the split; none where a floor does not use them.
    """

    make_env: Callable[[], Environment]
    envs: Sequence[Environment]
    demos: Sequence[Demo] = ()


class Floor(ABC):
    """Base class: plans for one observation at a time.

    Attributes:
        title: For tables and figures.
        uses_demos: It is given the demos that train the split.
        uses_expert: It knows what the task's scripted expert knows.
        ceiling: It bounds from above, not from below.
    """

    title: ClassVar[str]
    uses_demos: ClassVar[bool] = False
    uses_expert: ClassVar[bool] = False
    ceiling: ClassVar[bool] = False

    def __init__(self, given: Given):
        self.given = given

    def predict(
        self, observations: Sequence[Observation], inference: Inference | None = None
    ) -> list[ActionChunk]:
        """A plan for each observation, in order; all of it is meant to be executed."""
        return [self.plan(observation) for observation in observations]

    @abstractmethod
    def plan(self, observation: Observation) -> ActionChunk:
        """The plan of one observation."""


class Colour(Floor):
    """Knows the objects' training colours, and all constants of the expert."""

    title = "Colour boxes"
    uses_expert = True

    def __init__(self, given: Given):
        super().__init__(given)
        env = given.make_env()
        self._task, start = env.task, env.condition
        self._boxes = fit_colour_boxes(env.task, env, env.config)
        namings = env.task.namings or ((),)
        self._named = {env.task.instruct(replace(start, named=named)): named for named in namings}

    def plan(self, observation: Observation) -> ActionChunk:
        """See `Floor`."""
        poses = self._boxes.poses(observation.image, observation.camera)
        return _chunk(self._task.waypoints(poses, self._named[observation.instruction]))


class Replay(Floor):
    """Recognises nothing but the whole image: pixel by pixel, the nearest one that it has seen."""

    title = "Nearest demo replayed"
    uses_demos = True

    def __init__(self, given: Given):
        super().__init__(given)
        self._images = np.stack([demo.image for demo in given.demos]).astype(np.float32)

    def plan(self, observation: Observation) -> ActionChunk:
        """See `Floor`."""
        apart = ((self._images - observation.image.astype(np.float32)) ** 2).sum((1, 2, 3))
        return self.given.demos[int(apart.argmin())].chunk


class Mean(Floor):
    """Does not look: the mean of the demos, waypoint by waypoint; short ones wait at their end."""

    title = "Mean of the demos"
    uses_demos = True

    def __init__(self, given: Given):
        super().__init__(given)
        demos = given.demos
        length = max(len(demo.gripper) for demo in demos)
        index = [np.minimum(np.arange(length), len(demo.gripper) - 1) for demo in demos]

        def mean(name: str) -> np.ndarray:
            padded = [getattr(demo, name)[own] for demo, own in zip(demos, index, strict=True)]
            return np.stack(padded)

        # half a turn more is the same hand: angles are averaged on the doubled circle
        doubled = np.exp(2j * mean("rotations")).mean(0)
        gripper = (mean("gripper").mean(0) > 0.5).astype(float)
        self._chunk = ActionChunk(mean("positions").mean(0), gripper, np.angle(doubled) / 2)

    def plan(self, observation: Observation) -> ActionChunk:
        """See `Floor`."""
        return self._chunk


class Expert(Floor):
    """The ceiling: what servo, physics and time allow, for one who knows where things are."""

    title = "Scripted expert"
    uses_expert = True
    ceiling = True

    def __init__(self, given: Given):
        super().__init__(given)
        self._scripts: dict[int, Iterator[Waypoint]] = {}

    def plan(self, observation: Observation) -> ActionChunk:
        """See `Floor`: its next waypoint; afterwards it holds still."""
        env = self._env(observation)
        if env.steps == 0:
            self._scripts[id(env)] = env.task.script(env)
        still = Waypoint(env.target, env.gripper_command, float(env.target_rotation[2]))
        return _chunk([next(self._scripts[id(env)], still)])

    def _env(self, observation: Observation) -> Environment:
        # An observation holds its environment's own camera: that is how they are told apart.
        return next(env for env in self.given.envs if env.told is observation.camera)


FLOORS: dict[str, type[Floor]] = {
    "colour": Colour,
    "replay": Replay,
    "mean": Mean,
    "expert": Expert,
}
"""By name, as `model=` takes them in an evaluation; the ceiling is last."""


def _chunk(path: Sequence[Waypoint]) -> ActionChunk:
    return ActionChunk(
        np.array([waypoint.position for waypoint in path]),
        np.array([waypoint.gripper for waypoint in path]),
        np.array([waypoint.rotation for waypoint in path]),
    )
