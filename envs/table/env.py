"""The simulated table: episodes, the servo, pictures, and Gymnasium's interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium
import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from envs import perturbations
from envs.base import Condition, EnvConfig, Outcome, load_task
from envs.episodes import CONTROL_DT
from envs.table import workspace as ws
from envs.table.appearance import Shapes, draw_look, shapes_of
from envs.table.controller import NO_TURN, Feedback, Glide, make_controller
from envs.table.distractors import Clutter, draw_clutter, paint_clutter, place_clutter
from envs.table.robots import FINGER_OPEN
from envs.table.scene import PHYSICS_DT, World, shared_world
from envs.table.turning import Turning
from envs.table.viewpoints import viewpoint_camera
from para.camera import Camera
from para.errors import ConfigError, UnknownNameError
from para.types import Observation

if TYPE_CHECKING:
    from envs.table.task import TableTask

SUBSTEPS = round(CONTROL_DT / PHYSICS_DT)
SETTLE_STEPS = 25
"""Physics steps before an episode starts, in which things come to rest."""
TOLERANCE = 0.006
"""A waypoint is reached when both target and tool are this close to it [m]."""
FINGER_SQUEEZE = 0.012
"""How far beyond closed the fingers are sent, so that they press on what they hold [m]."""


class TableEnv(gymnasium.Env):
    """A task on the table, with a Panda or its hand alone, through contact and friction only.

    Gymnasium interface: one `step` is one control step of 20 ms. The action (4,) float32 is the
    tool position to move to (x, y, z, world frame [m], approached at most at 0.4 m/s) and the
    gripper opening in [0, 1], 1 = open; in tasks that turn the hand (7,), with extrinsic xyz Euler
    angles relative to pointing straight down [rad]. Observation: image (H, W, 3) uint8,
    intrinsics (3, 3) [px], T_world_camera (4, 4) [m], ee_position (3,) [m], gripper (1,). Reward: 1
    when the task is done. `info`: stage, is_success, steps and the task's metrics.

    Evaluation and demonstrations use the direct interface, `envs.base.Environment`, which renders
    only when asked.

    All environments of a process share one compiled model per task and robot and its renderers, so
    a further one costs an MjData. An episode depends on nothing but its `Condition` and the
    actions.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_DT)}

    def __init__(
        self,
        task: TableTask,
        robot: str = "panda",
        layout: str | None = None,
        config: EnvConfig | None = None,
        preset: str = "fast",
        image_size: int | None = None,
        render_mode: str | None = "rgb_array",
    ):
        """Make an environment.

        Args:
            task: What is to be done.
            robot: One of the task's.
            layout: One of the task's; how `reset` without a condition places its objects. None
                takes the usual one.
            config: Camera, image size and step budget.
            preset: Render preset of observations, fast | beauty.
            image_size: Overrides `config.image_size` [px].
            render_mode: rgb_array.
        """
        layout = layout or task.layouts[0]
        named = ("robot", robot, task.robots), ("layout", layout, task.layouts)
        for name, value, known in named:
            if value not in known:
                raise UnknownNameError(name, value, known)
        self.task, self.robot, self.layout, self.preset = task, robot, layout, preset
        self.config = config or EnvConfig()
        self.image_size = image_size or self.config.image_size
        self.render_mode = render_mode
        self._worlds: dict[tuple[bool, Shapes | None], tuple[World, mujoco.MjData]] = {}
        self._controller = make_controller(robot, task.turns)
        self._glide, self._feedback, self._turning = Glide(), Feedback(), Turning()
        size = self.image_size
        box = gymnasium.spaces.Box
        turn = [np.pi] * 3 if task.turns else []
        self.action_space = box(
            np.array([*ws.EE_LOW, 0.0, *(-a for a in turn)], np.float32),
            np.array([*ws.EE_HIGH, 1.0, *turn], np.float32),
        )
        self.observation_space = gymnasium.spaces.Dict(
            {
                "image": box(0, 255, (size, size, 3), np.uint8),
                "intrinsics": box(-np.inf, np.inf, (3, 3), np.float64),
                "T_world_camera": box(-np.inf, np.inf, (4, 4), np.float64),
                "ee_position": box(-np.inf, np.inf, (3,), np.float64),
                "gripper": box(0.0, 1.0, (1,), np.float64),
            }
        )
        self.begin(task.random(np.random.default_rng(0), layout))

    def _select(self, condition: Condition) -> None:
        key = condition.distractors > 0, shapes_of(condition, self.task.shapes)
        if key not in self._worlds:
            world = shared_world(self.task, self.robot, *key)
            self._worlds[key] = world, mujoco.MjData(world.model)
        self.world, self.data = self._worlds[key]

    @property
    def usual_camera(self) -> Camera:
        """See `envs.base.Environment`."""
        return viewpoint_camera(self.config, 0.0, 0.0)

    # Episodes -------------------------------------------------------------------------------------

    def begin(self, condition: Condition) -> None:
        """Start an episode without rendering anything.

        Raises:
            ConfigError: The condition is of another task, or its objects touch.
        """
        self.task.check(condition)
        self._select(condition)
        world, model, data = self.world, self.world.model, self.data
        self.condition = condition
        view = condition.theta_deg, condition.phi_deg, self.image_size
        wrong = condition.perturbed
        seen = viewpoint_camera(perturbations.seen_through(self.config, wrong), *view)
        self.camera = perturbations.rolled(seen, wrong)
        self.told = perturbations.told_camera(self.camera, condition)
        mujoco.mj_resetData(model, data)
        data.qpos[world.arm_qpos] = data.ctrl[world.arm_ctrl] = self._controller.reset()
        data.qpos[world.finger_qpos] = FINGER_OPEN
        for name, pose in condition.poses().items():
            world.objects[name].put(data, pose)
        self._look = draw_look(condition, world.painter.parts) if world.painter else None
        self.clutter: Clutter | None = None
        if condition.distractors > 0:
            clutter = draw_clutter(
                condition.distractors,
                condition.seed,
                [(condition.at(item.name), item.radius) for item in self.task.objects],
                self.task.hand_places(condition),
            )
            place_clutter(model, data, clutter)
            look = self._look
            self.clutter = replace(clutter, colours=look.distractors) if look else clutter
        self._command_gripper(1.0)
        mujoco.mj_step(model, data, SETTLE_STEPS)
        mujoco.mj_forward(model, data)
        self._glide.reset(ws.EE_START)
        self._feedback.reset()
        self._turning.reset()
        self._count_from_here()
        if perturbations.begin_missed(self):
            self._count_from_here()

    def _count_from_here(self) -> None:
        self.steps, self._judge = 0, self.task.judge(self)

    def _command_gripper(self, opening: float) -> None:
        self._gripper_command = opening
        travel = FINGER_OPEN + FINGER_SQUEEZE
        self.data.ctrl[self.world.finger_ctrl] = opening * travel - FINGER_SQUEEZE

    def control_step(
        self, position: np.ndarray, gripper: float, rotation: np.ndarray | None = None
    ) -> None:
        """Advance by 20 ms towards the tool position (3,) [m] with gripper opening in [0, 1].

        Args:
            position: World frame.
            gripper: 1 is open.
            rotation: (3,) extrinsic xyz Euler angles relative to pointing straight down [rad], or
                what is the same grasp (`same_grasp`); None keeps the last one. The hand turns in
                tasks that need it (`Task.turns`) and always points straight down in the others.
        """
        goal = ws.reachable(position)
        correction = self._feedback.step(self._glide.position, self.ee_position)
        target = self._glide.step(goal) + correction
        turn = NO_TURN
        if self.task.turns:
            if rotation is not None:
                self._turning.ask(rotation)
            turn = self._turning.step(self.ee_rotation)
        command = self._controller.command(target, turn)
        self.data.ctrl[self.world.arm_ctrl] = command
        if gripper != self._gripper_command:
            self._command_gripper(float(gripper))
        if (velocity := perturbations.bump(self.condition, self.steps)) is not None:
            self.world.to_move(self.condition.named).push(self.data, velocity)
        mujoco.mj_step(self.world.model, self.data, SUBSTEPS)
        self.steps += 1
        self._judge.step()

    def servo_to(
        self,
        position: np.ndarray,
        gripper: float,
        on_step: Callable[[TableEnv], None] | None = None,
        tolerance: float = TOLERANCE,
        rotation: np.ndarray | None = None,
    ) -> int:
        """Move the tool to a waypoint in closed loop, then set the gripper and let it settle.

        Args:
            position: (3,) world frame [m]; clipped to the box that the robot reaches.
            gripper: Opening in [0, 1]; above 0.5 opens, else closes.
            on_step: Called after every control step.
            tolerance: Distance at which the waypoint is reached [m].
            rotation: (3,) as in `control_step`; reached within `turning.TURN_TOLERANCE`.

        Returns:
            Control steps used. Ends early when the episode is `done`; a waypoint that cannot be
            reached is given up 0.5 s after it could have been.
        """
        goal = ws.reachable(position)
        first, opening = self.steps, float(gripper > 0.5)
        turning = self._turning if self.task.turns else None
        if turning and rotation is not None:
            turning.ask(rotation)
        seconds = float(np.linalg.norm(goal - self._glide.position)) / self._glide.speed
        if turning:
            seconds = max(seconds, turning.seconds)
        patience = int((seconds + 0.7) / CONTROL_DT)
        while not self.done and self.steps - first < patience:
            near_target = np.linalg.norm(self._glide.position - goal) < tolerance
            near = near_target and np.linalg.norm(self.ee_position - goal) < tolerance
            if near and (turning is None or turning.reached(self.ee_rotation)):
                break
            self.control_step(goal, self._gripper_command)
            if on_step:
                on_step(self)
        if opening != self._gripper_command:
            still, changed = 0, self.steps
            while not self.done and still < 3 and self.steps - changed < 40:
                self.control_step(goal, opening)
                if on_step:
                    on_step(self)
                speed = np.abs(self.data.qvel[self.world.finger_qvel]).max()
                still = still + 1 if speed < 0.005 else 0
        return self.steps - first

    # State ----------------------------------------------------------------------------------------

    def objects(self) -> dict[str, np.ndarray]:
        """Name -> (7,) position [m] and quaternion (w, x, y, z) of each object's foot."""
        data = self.data
        return {
            name: np.concatenate([data.xpos[place.body], data.xquat[place.body]])
            for name, place in self.world.objects.items()
        }

    @property
    def ee_position(self) -> np.ndarray:
        """(3,) tool centre, world frame [m]."""
        return self.data.site_xpos[self.world.tool].copy()

    @property
    def ee_pose(self) -> np.ndarray:
        """(7,) tool centre [m] and orientation quaternion (w, x, y, z), world frame."""
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, self.data.site_xmat[self.world.tool])
        return np.concatenate([self.data.site_xpos[self.world.tool], quat])

    @property
    def ee_rotation(self) -> np.ndarray:
        """(3,) how the hand is turned, Euler angles as in `control_step` [rad]."""
        hand = self.data.site_xmat[self.world.tool].reshape(3, 3) * (1, -1, -1)
        return Rotation.from_matrix(hand).as_euler("xyz")

    @property
    def target(self) -> np.ndarray:
        """(3,) where the rate-limited target of the tool is now, world frame [m]."""
        return self._glide.position

    @property
    def target_rotation(self) -> np.ndarray:
        """(3,) how that target is turned, Euler angles as in `control_step` [rad]."""
        return self._turning.target

    @property
    def gripper(self) -> float:
        """Measured opening in [0, 1], 1 = open."""
        opening = self.data.qpos[self.world.finger_qpos].mean() / FINGER_OPEN
        return float(np.clip(opening, 0.0, 1.0))

    @property
    def gripper_command(self) -> float:
        """Commanded opening in [0, 1], 1 = open."""
        return self._gripper_command

    @property
    def outcome(self) -> Outcome:
        """How far the episode is."""
        return Outcome(self._judge.stage, self._success, self.steps, self._judge.metrics())

    @property
    def _success(self) -> bool:
        return self._judge.stage == self.task.stages[-1].name

    @property
    def done(self) -> bool:
        """Success, or the step budget is used up."""
        return self._success or self.steps >= self.config.max_steps

    # Pictures -------------------------------------------------------------------------------------

    def frame(self, preset: str | None = None, size: int | None = None) -> np.ndarray:
        """The current view as (size, size, 3) uint8 RGB.

        Args:
            preset: fast | beauty; None: the environment's own.
            size: Height and width [px]; None: the environment's own.
        """
        size = size or self.image_size
        camera = self.camera if size == self.image_size else self.camera.resized(size, size)
        return self.picture(camera, preset or self.preset)

    def picture(self, camera: Camera, preset: str = "beauty", light: float = 1.0) -> np.ndarray:
        """The scene from any camera (height, width, 3) uint8 RGB."""
        renderer = self.world.renderer(preset, camera.width, camera.height)
        if self.clutter:
            paint_clutter(self.world.model, self.clutter)
        if self.world.painter and self._look:
            self.world.painter.paint(self.data, self._look)
        return renderer.render(self.data, camera, light)

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
            self.task.instruct(self.condition),
        )

    # Gymnasium ------------------------------------------------------------------------------------

    def _observation(self) -> dict[str, np.ndarray]:
        return {
            "image": self.frame(),
            "intrinsics": self.camera.intrinsics.copy(),
            "T_world_camera": self.camera.T_world_camera.copy(),
            "ee_position": self.ee_position,
            "gripper": np.array([self.gripper]),
        }

    def _info(self) -> dict[str, Any]:
        info = self.outcome.to_dict()
        return {"is_success": info.pop("success"), **info}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode from options["condition"], or from a random one."""
        super().reset(seed=seed)
        condition = (options or {}).get("condition")
        if condition is None:
            condition = self.task.random(self.np_random, self.layout)
        if not isinstance(condition, Condition):
            raise ConfigError(
                f"options['condition'] must be an envs.base.Condition, got {condition!r}."
            )
        self.begin(condition)
        return self._observation(), self._info()

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step; see the class."""
        action = np.asarray(action, np.float64)
        rotation = action[4:7] if self.task.turns else None
        self.control_step(action[:3], float(np.clip(action[3], 0.0, 1.0)), rotation)
        success = self._success
        return self._observation(), float(success), success, self.done and not success, self._info()

    def render(self) -> np.ndarray:
        """The current view (H, W, 3) uint8."""
        return self.frame()


def make(task: str, **options: Any) -> TableEnv:
    """The environment of a task by name (Gymnasium's entry point); `options` as in `TableEnv`."""
    return TableEnv(load_task(task), **options)
