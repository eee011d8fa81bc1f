"""What every simulator, task and start condition is: the protocol that all else stands on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from omegaconf import MISSING

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
        """The run's robot can do the task, and its layout is one of the task's."""
        task = TASKS[self.kind]
        for name, known in (("robot", task.robots), ("layout", task.layouts)):
            if getattr(run, name) not in known:
                raise UnknownNameError(f"{name} of {key} {self.name}:", getattr(run, name), known)


@dataclass(frozen=True)
class Condition:
    """How an episode starts: it depends on nothing else but the actions.

    Attributes:
        task: Name of the task.
        objects: Name of an object -> (x, y, yaw) of its foot, world frame [m, m, rad].
        theta_deg: Polar angle of the viewpoint [deg].
        phi_deg: Azimuth of the viewpoint [deg].
        distractors: Number of other objects on the table.
        seed: Decides the shapes, colours and places of the distractors.
    """

    task: str
    objects: Mapping[str, tuple[float, float, float]]
    theta_deg: float = 0.0
    phi_deg: float = 0.0
    distractors: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        # Plain Python numbers, so that a condition survives JSON and compares equal afterwards.
        plain = {name: tuple(float(v) for v in pose) for name, pose in self.objects.items()}
        object.__setattr__(self, "objects", plain)

    def __hash__(self) -> int:
        """Equal conditions have equal hashes."""
        view = self.theta_deg, self.phi_deg, self.distractors, self.seed
        return hash((self.task, frozenset(self.objects.items()), *view))

    @property
    def position(self) -> tuple[float, float]:
        """The centre of all objects (x, y) [m]."""
        xs, ys, _ = zip(*self.objects.values(), strict=True)
        return sum(xs) / len(xs), sum(ys) / len(ys)

    def at(self, name: str) -> np.ndarray:
        """(x, y) of an object [m]."""
        return np.array(self.objects[name][:2])

    def poses(self) -> dict[str, np.ndarray]:
        """Name -> (7,) position [m] and quaternion (w, x, y, z) of an object on the table."""
        return {
            name: np.array([x, y, 0.0, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
            for name, (x, y, yaw) in self.objects.items()
        }

    def moved(self, shift: np.ndarray) -> Condition:
        """The same start with all objects moved by `shift` (2,) [m]."""
        dx, dy = shift
        return replace(
            self,
            objects={name: (x + dx, y + dy, yaw) for name, (x, y, yaw) in self.objects.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as stored in demos and results."""
        return asdict(self) | {"objects": {name: [*pose] for name, pose in self.objects.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Condition:
        """Inverse of `to_dict`, also after a trip through JSON.

        The `position` that results add follows from the objects and is left out.

        Raises:
            ConfigError: Other keys than those of a condition.
        """
        known = {item.name for item in fields(cls)}
        if not {"task", "objects"} <= data.keys() or data.keys() - known - {"position"}:
            raise ConfigError(
                f"A start condition has the keys {', '.join(sorted(known))}, this one "
                f"{', '.join(sorted(data))}."
            )
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True)
class Outcome:
    """How far an episode is.

    Attributes:
        stage: One of the task's stages.
        success: It is the last of them.
        steps: Control steps used (20 ms each).
        metrics: The task's metrics, by name.
    """

    stage: str
    success: bool
    steps: int
    metrics: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: stage, success, steps and every metric, as results hold them."""
        return {
            "stage": self.stage,
            "success": self.success,
            "steps": self.steps,
            **self.metrics,
        }


@dataclass(frozen=True)
class Stage:
    """A step on the way to success.

    Attributes:
        name: As in results, e.g. GRASP.
        meaning: Of an episode that ended there: "lifted, not placed".
        progress: Of an episode that goes on: "lifted".
    """

    name: str
    meaning: str
    progress: str


@dataclass(frozen=True)
class Metric:
    """A number that is measured at the end of an episode.

    Attributes:
        name: As in results, e.g. place_error_m.
        title: For axes and tables, without the unit.
        unit: Of the stored number.
    """

    name: str
    title: str
    unit: str


@dataclass(frozen=True)
class TaskObject:
    """What a figure needs to know about an object.

    Attributes:
        name: As in conditions and results.
        radius: Of the circle around its footprint [m].
        colour: RGB in [0, 1].
    """

    name: str
    radius: float
    colour: tuple[float, float, float]


class Environment(Protocol):
    """One simulated robot and table, the same for every simulator.

    Attributes:
        task: What is to be done.
        robot: Name of the robot.
        layout: How `reset` places the objects.
        config: Camera, image size and step budget.
        condition: Start of the current episode.
        camera: The one that takes policy images now.
        steps: Control steps used so far.
    """

    task: Task
    robot: str
    layout: str
    config: EnvConfig
    condition: Condition
    camera: Camera
    steps: int

    def begin(self, condition: Condition) -> None:
        """Start an episode without rendering anything."""

    def observe(self) -> Observation:
        """What a policy sees now; renders."""

    def control_step(self, position: np.ndarray, gripper: float) -> None:
        """Advance by 20 ms towards the tool position (3,) [m] with gripper opening in [0, 1]."""

    def servo_to(
        self,
        position: np.ndarray,
        gripper: float,
        on_step: Callable[[Any], None] | None = None,
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
        instruction: What a policy is told, `Observation.instruction`.
        robots: Names of the robots that can do it.
        layouts: Ways in which its objects are placed.
        objects: Its objects, in the order of conditions.
        stages: From nothing to success, which is the last.
        metrics: What is measured at the end.
        version: Of the simulated world: raised when the same actions end otherwise. Demos, policies
            and results of different versions are never mixed or compared.
    """

    title: ClassVar[str]
    description: ClassVar[str]
    instruction: ClassVar[str]
    robots: ClassVar[tuple[str, ...]]
    layouts: ClassVar[tuple[str, ...]]
    objects: ClassVar[tuple[TaskObject, ...]]
    stages: ClassVar[tuple[Stage, ...]]
    metrics: ClassVar[tuple[Metric, ...]]
    version: ClassVar[int] = 1

    def __init__(self, cfg: TaskConfig):
        self.cfg = cfg

    @abstractmethod
    def environment(self, robot: str, layout: str, config: EnvConfig | None = None) -> Environment:
        """An environment for this task."""

    @abstractmethod
    def waypoints(self, objects: Mapping[str, np.ndarray]) -> list[tuple[np.ndarray, float]]:
        """The scripted expert's (tool position (3,) [m], gripper opening), corner by corner.

        Args:
            objects: Name -> (7,) pose. The opening belongs to the time at a corner: the hand rests
                there while it changes.
        """

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

    def draw(self, point: Callable[[int], np.ndarray], layout: str, **view: Any) -> Condition:
        """A condition in which all objects fit; `point(k)` draws anchor k, (2,) [m].

        Raises:
            UnknownNameError: The task has no such layout.
            ConfigError: They do not fit.
        """
        for _ in range(TRIES):
            anchors = [point(k) for k in range(self.anchors(layout))]
            if self.fits(anchors, layout):
                return self.place(anchors, layout, **view)
        raise ConfigError(
            f"The region is too small for the objects of {self.cfg.name} in layout={layout}: none "
            f"of {TRIES} draws keeps them apart."
        )


TASKS: Registry[type[Task]] = Registry("task", "task", ("envs.table.tasks",))


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


def setting_name(task: str, robot: str, layout: str) -> str:
    """What an episode is made in, as folders spell it: <task>-<robot>-<layout>."""
    return f"{task}-{robot}-{layout}"
