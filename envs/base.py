"""What every simulator, task and start condition is: the protocol that all else stands on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from omegaconf import MISSING

from envs.episodes import FIXED, Condition, Metric, Outcome, Stage, TaskObject, Waypoint
from para.camera import Camera
from para.errors import ConfigError, UnknownNameError
from para.fields import number, require, word
from para.registry import Registry
from para.types import Observation

LOWEST_CAMERA_DEG = 10
"""No camera stands lower above the table [deg]: see `EnvConfig.camera_elevation_deg`."""
TRIES = 10_000
"""Draws after which a start with room for every object counts as impossible."""


@dataclass
class EnvConfig:
    """The simulated scene and its default camera (configs/env)."""

    image_size: int = number(128, least=16, most=8192)
    """Height and width of policy images [px]."""
    camera_distance: float = number(1.5, above=0, most=100)
    """From the camera to the point that it looks at [m]."""
    camera_elevation_deg: float = number(50.0, least=LOWEST_CAMERA_DEG, most=90)
    """Of the default camera above the table. A height that is wrong by dz moves the point on a ray
    by dz / tan(elevation): 0.8 dz at 50 deg, 6 dz at 10 deg, and no camera stands lower."""
    camera_fovy_deg: float = number(45.0, above=0, below=180)
    theta_max_deg: float = number(25.0, above=0, most=80)
    """Largest polar angle of the viewpoint cap around the default camera's axis."""
    max_steps: int = number(600, least=1, most=1_000_000)
    """Control steps (20 ms each) that an episode may take."""

    def rules(self, key: str, run: Any) -> None:
        """No viewpoint is too low, or beyond the point above the table."""
        elevation, theta = self.camera_elevation_deg, self.theta_max_deg
        require(
            elevation - theta >= LOWEST_CAMERA_DEG and elevation + theta <= 90,
            f"{key}.camera_elevation_deg={elevation:g} and {key}.theta_max_deg={theta:g} put "
            f"cameras between {elevation - theta:g} and {elevation + theta:g} degrees above the "
            f"table: that must be between {LOWEST_CAMERA_DEG} and 90.",
        )


@dataclass
class TaskConfig:
    """What every task is told (configs/task)."""

    name: str = word(MISSING)
    """Name in conditions, folders and results."""
    kind: str = MISSING
    """The registered component that reads the rest."""

    def rules(self, key: str, run: Any) -> None:
        """The robot can do the task, the layout is one of the task's, the policy turns the hand."""
        task = TASKS[self.kind]
        offered = {"robot": task.robots, "layout": task.layouts, "dataset": task.datasets}
        for name, known in offered.items():
            if getattr(run, name, known[0]) not in known:
                raise UnknownNameError(f"{name} of {key} {self.name}:", getattr(run, name), known)
        model = getattr(run, "model", None)
        require(
            not task.turns or getattr(model, "predicts_rotation", True),
            f"{key}={self.name} turns the hand, and model={getattr(model, 'name', None)} predicts "
            "no rotation: set model.head.rotation_bins=36 (pixel-aligned heads) or "
            "model.rotations=true (the others), or choose another model.",
        )


class Environment(Protocol):
    """One simulated robot and table, the same for every simulator.

    Attributes:
        task: What is to be done.
        robot: Name of the robot.
        layout: How `reset` places the objects.
        config: Camera, image size and step budget.
        condition: Start of the current episode.
        camera: The one that takes policy images.
        told: The one that policies are told, which need not be the true one.
        usual_camera: Where `camera` stands unless the condition says otherwise.
        steps: Control steps used so far.
    """

    task: Task
    robot: str
    layout: str
    config: EnvConfig
    condition: Condition
    camera: Camera
    told: Camera
    steps: int

    @property
    def usual_camera(self) -> Camera:
        """See above."""

    def begin(self, condition: Condition) -> None:
        """Start an episode without rendering anything."""

    def observe(self) -> Observation:
        """What a policy sees now; renders."""

    def control_step(
        self, position: np.ndarray, gripper: float, rotation: np.ndarray | None = None
    ) -> None:
        """Advance by 20 ms towards the tool position (3,) [m] with gripper opening in [0, 1].

        `rotation`: (3,) extrinsic xyz Euler angles relative to pointing straight down [rad]; None
        keeps the last one that was asked for.
        """

    def servo_to(
        self,
        position: np.ndarray,
        gripper: float,
        on_step: Callable[[Any], None] | None = None,
        rotation: np.ndarray | None = None,
    ) -> int:
        """Move the tool to a waypoint in closed loop, then set the gripper; return the steps."""

    def objects(self) -> dict[str, np.ndarray]:
        """Name -> (7,) position [m] and quaternion (w, x, y, z) of each of the task's objects."""

    def frame(self, preset: str | None = None, size: int | None = None) -> np.ndarray:
        """The current view (size, size, 3) uint8 RGB."""

    def picture(self, camera: Camera, preset: str = "beauty") -> np.ndarray:
        """The scene from any camera (height, width, 3) uint8 RGB."""

    @property
    def done(self) -> bool:
        """Success, or the step budget is used up."""

    @property
    def outcome(self) -> Outcome:
        """How far the episode is."""

    @property
    def ee_position(self) -> np.ndarray:
        """(3,) tool centre, world frame [m]."""

    @property
    def ee_pose(self) -> np.ndarray:
        """(7,) tool centre [m] and quaternion (w, x, y, z), world frame."""

    @property
    def target(self) -> np.ndarray:
        """(3,) where the rate-limited target of the tool is now, world frame [m]."""

    @property
    def target_rotation(self) -> np.ndarray:
        """(3,) how that target is turned, Euler angles as in `control_step` [rad]."""

    @property
    def gripper(self) -> float:
        """Measured opening in [0, 1], 1 = open."""

    @property
    def gripper_command(self) -> float:
        """Commanded opening in [0, 1], 1 = open."""


class Task(ABC):
    """What is to be done, with which objects, and how one sees that it has been done.

    Starts are drawn by points: a layout has `anchors`, points that are placed freely, and the
    objects follow from them.

    Attributes:
        title: For figures and the website.
        description: One sentence.
        instruction: What a policy is told, `Observation.instruction`; see `instruct`.
        turns: The hand must turn: waypoints carry a yaw, and what a policy predicts is executed.
        settle_steps: Control steps for which the expert's hand rests before its fingers move.
        robots: Names of the robots that can do it.
        layouts: Ways in which its objects are placed; the first is the usual one.
        objects: Its objects, in the order of conditions.
        stages: From nothing to success, which is the last.
        metrics: What is measured at the end.
        namings: All that `Condition.named` may be; none where the instruction is always the same.
        datasets: Names of the data sets of demos that it has (envs/demos.py); the first is the
            usual one.
        workspace: Corners (2,), (2,) of where starts lie [m].
        version: Of the simulated world: raised when the same actions end otherwise. Demos, policies
            and results of different versions are never mixed or compared.
    """

    title: ClassVar[str]
    description: ClassVar[str]
    instruction: ClassVar[str]
    turns: ClassVar[bool] = False
    settle_steps: ClassVar[int] = 0
    robots: ClassVar[tuple[str, ...]]
    layouts: ClassVar[tuple[str, ...]]
    objects: ClassVar[tuple[TaskObject, ...]]
    stages: ClassVar[tuple[Stage, ...]]
    metrics: ClassVar[tuple[Metric, ...]]
    namings: ClassVar[tuple[tuple[str, ...], ...]] = ()
    datasets: ClassVar[tuple[str, ...]]
    workspace: ClassVar[tuple[np.ndarray, np.ndarray]]
    version: ClassVar[int] = 1

    def __init__(self, cfg: TaskConfig):
        self.cfg = cfg

    @abstractmethod
    def environment(self, robot: str, layout: str, config: EnvConfig | None = None) -> Environment:
        """An environment for this task."""

    def waypoints(
        self, objects: Mapping[str, np.ndarray], named: Sequence[str] = ()
    ) -> list[Waypoint]:
        """The scripted expert's path, corner by corner; none where there is no expert.

        Args:
            objects: Name -> (7,) pose, as at the start of an episode.
            named: Objects that the instruction names (`Condition.named`).
        """
        return []

    def script(self, env: Environment) -> Iterator[Waypoint]:
        """The scripted expert in an episode that has begun: its next waypoint, again and again.

        One that looks at what happens (`env.objects()`) overrides this, and may go on until the
        episode's time is up; the others follow `waypoints`.
        """
        yield from self.waypoints(env.objects(), env.condition.named)

    def require_expert(self, what: str) -> None:
        """Raise `ConfigError` where nobody has written an expert, which `what` ('X needs')."""
        if type(self).waypoints is Task.waypoints and type(self).script is Task.script:
            raise ConfigError(
                f"task={self.cfg.name} has no scripted expert, which {what}: write `waypoints` of "
                f"{type(self).__name__}, or bring demonstrations of your own (import_demos)."
            )

    def instruct(self, condition: Condition) -> str:
        """The instruction of an episode."""
        return self.instruction

    def shown(self, start: Condition, seed: int) -> Condition:
        """The start of a demonstration, in which something may go wrong (`Condition.perturbed`)."""
        return start

    def sources(self, origins: Sequence[str]) -> dict[str, str]:
        """Files of others that starts of these origins are made of: name -> SHA-256."""
        return {}

    @abstractmethod
    def anchors(self, layout: str) -> int:
        """Number of points that decide where the objects stand in a layout."""

    @abstractmethod
    def where(self, condition: Condition, layout: str) -> np.ndarray:
        """The anchors (A, 2) [m] of a condition."""

    @abstractmethod
    def fits(self, anchors: Sequence[np.ndarray], layout: str) -> bool:
        """Do the objects of these anchors stand apart?"""

    @abstractmethod
    def place(self, anchors: Sequence[np.ndarray], layout: str, **view: Any) -> Condition:
        """The condition with these anchors, (2,) [m] each; `view`: further fields of it."""

    @abstractmethod
    def random(self, rng: np.random.Generator, layout: str, **view: Any) -> Condition:
        """A condition that is uniform over the workspace."""

    @abstractmethod
    def grid(self, index: int, layout: str, **view: Any) -> Condition:
        """The condition whose first anchor is position `index` of the training grid."""

    def vary(self, condition: Condition, rng: np.random.Generator) -> Condition:
        """Draw what anchors do not decide: how objects are turned, which ones are named."""
        return condition

    def draw(
        self,
        point: Callable[[int], np.ndarray],
        layout: str,
        rng: np.random.Generator,
        **view: Any,
    ) -> Condition:
        """A condition in which all objects fit.

        Args:
            point: `point(k)` draws anchor k, (2,) [m].
            layout: One of the task's.
            rng: Draws the rest (`vary`).
            view: Further fields of the condition.

        Raises:
            UnknownNameError: The task has no such layout.
            ConfigError: They do not fit.
        """
        for _ in range(TRIES):
            anchors = [point(k) for k in range(self.anchors(layout))]
            if self.fits(anchors, layout):
                return self.vary(self.place(anchors, layout, **view), rng)
        raise ConfigError(
            f"The region is too small for the objects of {self.cfg.name} in layout={layout}: none "
            f"of {TRIES} draws keeps them apart."
        )


TASKS: Registry[type[Task]] = Registry("task", "task", ("envs.table.tasks", "envs.libero.task"))


def build_task(cfg: TaskConfig) -> Task:
    """The task that a configuration describes."""
    return TASKS[cfg.kind](cfg)


def load_task(name: str) -> Task:
    """The task of configs/task/<name>.yaml, without a command line."""
    return build_task(TASKS.load(name))


def robot_names() -> list[str]:
    """Robots of all tasks, sorted."""
    return sorted({robot for kind in TASKS for robot in TASKS[kind].robots})


def layout_names() -> list[str]:
    """Layouts of all tasks, sorted."""
    return sorted({layout for kind in TASKS for layout in TASKS[kind].layouts})


def setting_name(task: str, robot: str, layout: str, appearance: str = FIXED) -> str:
    """What an episode is made in, as folders spell it: <task>-<robot>-<layout>[-varied]."""
    return "-".join([task, robot, layout] + ([] if appearance == FIXED else [appearance]))
