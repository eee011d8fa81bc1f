"""An episode in LIBERO through the environment protocol: our servo, camera and stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from envs import perturbations
from envs.base import Condition, EnvConfig, Outcome
from envs.episodes import CONTROL_DT
from envs.libero import TABLE_TOP
from envs.libero.camera import AgentView, in_libero
from envs.libero.scenes import split_origin
from envs.libero.simulator import HAND_DOWN, OPEN_WIDTH, TO_OURS, Simulator, simulator
from envs.table.controller import Glide
from envs.table.workspace import reachable
from para.camera import Camera
from para.errors import RenderError
from para.types import Observation

if TYPE_CHECKING:
    from envs.libero.task import LiberoTask

SETTLE_STEPS = 25
"""Control steps before an episode begins: official starts let things fall from 7 cm."""
SPEED, ACCELERATION = 0.25, 1.5
"""Of the target that the hand follows [m/s, m/s2]: the controller's goal is at most 5 cm ahead."""
GAIN, LEAD = 1.5, 0.163
"""Of the servo: the controller's goal is so many times the error ahead, and so many seconds of the
target's speed: 2 / sqrt(kp) s, by which its critically damped spring (kp = 150) lags behind."""
TOLERANCE = 0.006
"""A waypoint is reached when both target and tool are this close to it [m]."""
LOW, HIGH = np.array([-0.35, -0.36, 0.0]), np.array([0.20, 0.50, 0.45])
"""Commanded tool positions are clipped to this box [m]."""


SHOULDER, WRIST = np.array([-0.66, 0.0, 0.345]), 0.21
"""Of the arm [m]; the wrist is so high above the tool when the hand points down."""
STRETCH, LEAN = 0.70, 0.6
"""Longest distance from shoulder to wrist [m]; sine of the largest lean."""


class LiberoEnv:
    """A task of LIBERO behind `envs.base.Environment`; one control step is 20 ms.

    World frame: LIBERO's, moved so that the table top is z = 0; x points away from the robot.
    Observations are upright pictures of our renderer without shadows, from LIBERO's outer camera.
    Episodes of one process share the simulator of their scene.
    """

    def __init__(self, task: LiberoTask, robot: str, layout: str, config: EnvConfig | None = None):
        self.task, self.robot, self.layout = task, robot, layout
        self.config = config or EnvConfig()
        self.image_size = self.config.image_size
        self.preset = "fast"
        self._data: dict[Simulator, mujoco.MjData] = {}
        self._glide = Glide(SPEED, ACCELERATION)
        self.begin(task.random(np.random.default_rng(0), layout))

    @property
    def usual_camera(self) -> Camera:
        """LIBERO's own; see `envs.base.Environment`."""
        return AgentView.of(self.sim.model, self.data).camera(self.config)

    # Episodes -------------------------------------------------------------------------------------

    def begin(self, condition: Condition) -> None:
        """Start an episode without rendering anything.

        Raises:
            ConfigError: The condition is of another task, or no start in LIBERO.
        """
        self.task.check(condition)
        suite, index = split_origin(condition.origin)
        self.condition, self.sim = condition, simulator(suite, self.task.cfg.problem)
        if self.sim not in self._data:
            self._data[self.sim] = self.sim.new_data()
        self.data, scene = self._data[self.sim], self.sim.scene
        moved = {
            name: pose
            for name, place in condition.objects.items()
            if (pose := _moved(scene.at(name, index), place)) is not None
        }
        self._memory = self.sim.begin(self.data, index, moved)
        self._place_camera()
        self._gripper_command = 1.0
        for _ in range(SETTLE_STEPS):
            self.sim.step(self.data, self._memory, np.zeros(3), opened=True)
        self._glide.reset(self.ee_position)
        self._count_from_here()
        if perturbations.begin_missed(self):
            self._count_from_here()

    def _count_from_here(self) -> None:
        self.steps, self._success = 0, False
        self._judge = self.task.judge(self)

    def show(self, state: np.ndarray) -> None:
        """Be in a recorded state (1 + nq + nv,) of the scene; no step is counted."""
        self.sim.show(self.data, state)

    def _place_camera(self) -> None:
        start, wrong = self.condition, self.condition.perturbed
        view = AgentView.of(self.sim.model, self.data)
        seen = view.camera(
            self.config,
            start.theta_deg,
            start.phi_deg,
            wrong.get("distance_m"),
            wrong.get("fovy_deg"),
        )
        self.camera = perturbations.rolled(seen, wrong)
        self.told = perturbations.told_camera(self.camera, start)

    def control_step(
        self, position: np.ndarray, gripper: float, rotation: np.ndarray | None = None
    ) -> None:
        """Advance by 20 ms towards the tool position (3,) [m] with gripper opening in [0, 1].

        The hand points straight down, or leans outward by itself (`leaning`): `rotation` is for
        tasks that turn it.
        """
        target = self._glide.step(reachable(position, LOW, HIGH))
        move = GAIN * (target - self.ee_position) + LEAD * self._glide.velocity
        self._gripper_command = float(gripper)
        if self.task.cfg.leans:
            self._memory.orientation = leaning(target)
        if (velocity := perturbations.bump(self.condition, self.steps)) is not None:
            self.sim.push(self.data, self.task.objects[0].name, velocity)
        success = self.sim.step(self.data, self._memory, move, opened=gripper > 0.5)
        self.steps += 1
        self._success = self._success or success
        self._judge.step()

    def servo_to(
        self,
        position: np.ndarray,
        gripper: float,
        on_step: Callable[[LiberoEnv], None] | None = None,
        rotation: np.ndarray | None = None,
    ) -> int:
        """Move the tool to a waypoint in closed loop, then set the gripper and let it settle.

        See `envs.table.env.TableEnv.servo_to`.
        """
        goal, first, opening = reachable(position, LOW, HIGH), self.steps, float(gripper > 0.5)
        seconds = float(np.linalg.norm(goal - self._glide.position)) / SPEED
        patience = int((seconds + 0.7) / CONTROL_DT)
        while not self.done and self.steps - first < patience:
            near_target = np.linalg.norm(self._glide.position - goal) < TOLERANCE
            if near_target and np.linalg.norm(self.ee_position - goal) < TOLERANCE:
                break
            self._step(goal, self._gripper_command, on_step)
        if opening != self._gripper_command:
            still, changed = 0, self.steps
            while not self.done and still < 3 and self.steps - changed < 40:
                width = self._width
                self._step(goal, opening, on_step)
                still = still + 1 if abs(self._width - width) < 2e-4 else 0
        return self.steps - first

    def _step(
        self, goal: np.ndarray, gripper: float, on_step: Callable[[LiberoEnv], None] | None
    ) -> None:
        self.control_step(goal, gripper)
        if on_step:
            on_step(self)

    # State ----------------------------------------------------------------------------------------

    def objects(self) -> dict[str, np.ndarray]:
        """Name -> (7,) position [m] and quaternion (w, x, y, z) of each movable object."""
        poses = {}
        for name, body in self.sim.bodies.items():
            poses[name] = np.concatenate([self.data.xpos[body], self.data.xquat[body]])
            poses[name][2] -= TABLE_TOP
        return poses

    @property
    def ee_position(self) -> np.ndarray:
        """(3,) tool centre, world frame [m]."""
        return self.data.site_xpos[self.sim.tool] - [0, 0, TABLE_TOP]

    @property
    def ee_pose(self) -> np.ndarray:
        """(7,) tool centre [m] and orientation quaternion (w, x, y, z), world frame."""
        turn = Rotation.from_matrix(self.data.site_xmat[self.sim.tool].reshape(3, 3) @ TO_OURS)
        return np.concatenate([self.ee_position, turn.as_quat(scalar_first=True)])

    @property
    def target(self) -> np.ndarray:
        """(3,) where the rate-limited target of the tool is now, world frame [m]."""
        return self._glide.position

    @property
    def target_rotation(self) -> np.ndarray:
        """(3,) how that target is turned: always straight down."""
        return np.zeros(3)

    @property
    def _width(self) -> float:
        first, second = self.data.qpos[self.sim.fingers]
        return float(first - second)

    @property
    def gripper(self) -> float:
        """Measured opening in [0, 1], 1 = open."""
        return float(np.clip(self._width / OPEN_WIDTH, 0.0, 1.0))

    @property
    def gripper_command(self) -> float:
        """Commanded opening in [0, 1], 1 = open."""
        return self._gripper_command

    @property
    def succeeded(self) -> bool:
        """Has LIBERO called it a success at any step?"""
        return self._success

    @property
    def outcome(self) -> Outcome:
        """How far the episode is."""
        return Outcome(self._judge.stage, self._success, self.steps, self._judge.metrics())

    @property
    def done(self) -> bool:
        """Success, or the step budget is used up."""
        return self._success or self.steps >= self.config.max_steps

    # Pictures -------------------------------------------------------------------------------------

    def frame(self, preset: str | None = None, size: int | None = None) -> np.ndarray:
        """The current view (size, size, 3) uint8 RGB; None: the environment's own."""
        size = size or self.image_size
        camera = self.camera if size == self.image_size else self.camera.resized(size, size)
        return self.picture(camera, preset or self.preset)

    def picture(self, camera: Camera, preset: str = "beauty", light: float = 1.0) -> np.ndarray:
        """The scene from any camera (height, width, 3) uint8 RGB.

        Raises:
            RenderError: The picture is black: the machine's renderer does not draw this scene.
        """
        renderer = self.sim.renderer(preset, camera.width, camera.height)
        image = renderer.render(self.data, in_libero(camera), light)
        if light and not image.any():
            raise RenderError(
                "LIBERO's scene is drawn black. Set MUJOCO_GL=egl or MUJOCO_GL=osmesa; "
                "the doctor (scripts/doctor.py) says which of them works."
            )
        return image

    def observe(self) -> Observation:
        """What a policy sees now; renders."""
        start = self.condition
        camera = perturbations.drifted_camera(self.camera, start, self.steps)
        image = self.picture(camera, self.preset, start.perturbed.get("light", 1.0))
        return Observation(
            perturbations.noisy(image, start, self.steps),
            self.told,
            self.ee_position,
            self.gripper,
            self.task.instruct(start),
        )


def leaning(target: np.ndarray) -> np.ndarray:
    """Orientation (3, 3) of the grip site at a tool position (3,) [m]: down, as far as it can be.

    Where the wrist would be further than STRETCH from the shoulder the hand leans, with the fingers
    outward, until it is not, or by LEAN at most.
    """
    wrist = target + np.array([0.0, 0.0, WRIST])
    missing = float(np.linalg.norm(wrist - SHOULDER)) - STRETCH
    angle = np.arcsin(np.clip(missing / WRIST, 0.0, LEAN))
    return Rotation.from_euler("y", -angle).as_matrix() @ HAND_DOWN


def _moved(official: np.ndarray, place: tuple[float, float, float]) -> np.ndarray | None:
    """The pose (7,) of an object that stands elsewhere than its initial state says, else None.

    Its height and tilt stay as they were: things are let fall from a few centimetres.

    Args:
        official: (7,) as in the initial state.
        place: x, y [m] and yaw [rad] where it stands.
    """
    x, y, yaw = place
    if (x, y, yaw) == place_of(official):
        return None
    turn = Rotation.from_quat(official[3:], scalar_first=True)
    turned = Rotation.from_rotvec([0, 0, yaw - place_of(official)[2]]) * turn
    return np.array([x, y, official[2], *turned.as_quat(scalar_first=True)])


def place_of(pose: np.ndarray) -> tuple[float, float, float]:
    """x, y [m] and yaw [rad] of a pose (7,)."""
    w, x, y, z = pose[3:]
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return float(pose[0]), float(pose[1]), float(yaw)
