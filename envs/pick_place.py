"""The benchmark's task: pick the bowl up by its rim and put it on the plate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import mujoco
import numpy as np

from envs import workspace as ws
from envs.base import EnvConfig
from envs.condition import LAYOUTS, Condition, random_condition
from envs.controller import CONTROL_DT, Glide, make_controller
from envs.distractors import Clutter, draw_clutter, paint_clutter, place_clutter
from envs.robots import FINGER_OPEN
from envs.scene import PHYSICS_DT, World, shared_world
from envs.viewpoints import viewpoint_camera
from para.errors import ConfigError, UnknownNameError
from para.types import Observation

STAGES = ("MISS", "GRASP", "PLACE")
SUBSTEPS = round(CONTROL_DT / PHYSICS_DT)
SETTLE_STEPS = 25
"""Physics steps before an episode starts, in which things come to rest."""

LIFTED = 0.03
"""The bowl counts as lifted when its foot is this high above the table [m]."""
PLACE_RADIUS = 0.045
"""The bowl counts as placed when its centre is this close to the plate's, horizontally [m]."""
UPRIGHT = np.cos(np.radians(20))
HOLD_STEPS = 10
"""Control steps for which the bowl must stay placed."""

TOLERANCE = 0.006
"""A waypoint is reached when both target and tool are this close to it [m]."""
FINGER_SQUEEZE = 0.012
"""How far beyond closed the fingers are sent, so that they press on what they hold [m]."""


class PickPlaceEnv(gymnasium.Env):
    """Bowl to plate, with a Panda or its hand alone, through contact and friction only.

    Gymnasium interface: one `step` is one control step of 20 ms. The action (4,) float32 is the
    tool position to move to (x, y, z, world frame [m], approached at most at 0.4 m/s) and the
    gripper opening in [0, 1], 1 = open. Observation: image (H, W, 3) uint8, intrinsics (3, 3) [px],
    T_world_camera (4, 4) [m], ee_position (3,) [m], gripper (1,). Reward: 1 when the bowl has been
    placed. `info`: stage, is_success, place_error_m, steps.

    Evaluation and demonstrations use the direct interface, which renders only when asked:
    `begin`, `servo_to`, `observe`, `frame`.

    All environments of a process share one compiled model and its renderers, so a further one costs
    an MjData. An episode depends on nothing but its `Condition` and the actions.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_DT)}

    def __init__(
        self,
        robot: str = "panda",
        layout: str = "together",
        config: EnvConfig | None = None,
        preset: str = "fast",
        image_size: int | None = None,
        render_mode: str | None = "rgb_array",
    ):
        """Make an environment.

        Args:
            robot: panda | hand.
            layout: together | independent; where `reset` without a condition puts bowl and plate.
            config: Camera, image size and step budget.
            preset: Render preset of observations, fast | beauty.
            image_size: Overrides `config.image_size` [px].
            render_mode: rgb_array.
        """
        if layout not in LAYOUTS:
            raise UnknownNameError("layout", layout, LAYOUTS)
        self.robot, self.layout, self.preset = robot, layout, preset
        self.config = config or EnvConfig()
        self.image_size = image_size or self.config.image_size
        self.render_mode = render_mode
        self._worlds: dict[bool, tuple[World, mujoco.MjData]] = {}
        self._select(distractors=False)
        self._controller = make_controller(robot)
        self._glide = Glide()
        size = self.image_size
        box = gymnasium.spaces.Box
        self.action_space = box(
            np.array([*ws.EE_LOW, 0.0], np.float32), np.array([*ws.EE_HIGH, 1.0], np.float32)
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
        self.begin(random_condition(np.random.default_rng(0), layout))

    def _select(self, distractors: bool) -> None:
        if distractors not in self._worlds:
            world = shared_world(self.robot, distractors)
            self._worlds[distractors] = world, mujoco.MjData(world.model)
        self.world, self.data = self._worlds[distractors]

    # Episodes -------------------------------------------------------------------------------------

    def begin(self, condition: Condition) -> None:
        """Start an episode without rendering anything."""
        self._select(condition.distractors > 0)
        world, model, data = self.world, self.world.model, self.data
        self.condition = condition
        self.camera = viewpoint_camera(
            self.config, condition.theta_deg, condition.phi_deg, self.image_size
        )
        mujoco.mj_resetData(model, data)
        joints = self._controller.reset()
        data.qpos[world.arm_qpos] = data.ctrl[world.arm_ctrl] = joints
        data.qpos[world.finger_qpos] = FINGER_OPEN
        data.qpos[world.bowl_qpos : world.bowl_qpos + 3] = (*condition.bowl, 0.0)
        data.qpos[world.plate_qpos : world.plate_qpos + 3] = (*condition.plate, 0.0)
        self.clutter: Clutter | None = None
        if condition.distractors > 0:
            self.clutter = draw_clutter(
                condition.distractors,
                condition.seed,
                np.array(condition.bowl),
                np.array(condition.plate),
            )
            place_clutter(model, data, self.clutter)
        self._command_gripper(1.0)
        mujoco.mj_step(model, data, SETTLE_STEPS)
        mujoco.mj_forward(model, data)
        self._glide.reset(ws.EE_START)
        self.steps = 0
        self._lifted = False
        self._placed_steps = 0

    def _command_gripper(self, opening: float) -> None:
        self._gripper_command = opening
        travel = FINGER_OPEN + FINGER_SQUEEZE
        self.data.ctrl[self.world.finger_ctrl] = opening * travel - FINGER_SQUEEZE

    def control_step(self, position: np.ndarray, gripper: float) -> None:
        """Advance by 20 ms towards the tool position (3,) [m] with gripper opening in [0, 1]."""
        goal = np.clip(position, ws.EE_LOW, ws.EE_HIGH)
        target = self._glide.step(goal)
        self.data.ctrl[self.world.arm_ctrl] = self._controller.command(target)
        if gripper != self._gripper_command:
            self._command_gripper(float(gripper))
        mujoco.mj_step(self.world.model, self.data, SUBSTEPS)
        self.steps += 1
        self._judge()

    def servo_to(
        self,
        position: np.ndarray,
        gripper: float,
        on_step: Callable[[PickPlaceEnv], None] | None = None,
        tolerance: float = TOLERANCE,
    ) -> int:
        """Move the tool to a waypoint in closed loop, then set the gripper and let it settle.

        Args:
            position: (3,) world frame [m]; clipped to the box that the robot reaches.
            gripper: Opening in [0, 1]; above 0.5 opens, else closes.
            on_step: Called after every control step.
            tolerance: Distance at which the waypoint is reached [m].

        Returns:
            Control steps used. Ends early when the episode is `done`; a waypoint that cannot be
            reached is given up 0.5 s after it could have been.
        """
        goal = np.clip(np.asarray(position, np.float64), ws.EE_LOW, ws.EE_HIGH)
        first, opening = self.steps, float(gripper > 0.5)
        distance = float(np.linalg.norm(goal - self._glide.position))
        patience = int((distance / self._glide.speed + 0.7) / CONTROL_DT)
        while not self.done and self.steps - first < patience:
            near_target = np.linalg.norm(self._glide.position - goal) < tolerance
            if near_target and np.linalg.norm(self.ee_position - goal) < tolerance:
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

    def _body_pose(self, body: int) -> np.ndarray:
        return np.concatenate([self.data.xpos[body], self.data.xquat[body]])

    @property
    def bowl_pose(self) -> np.ndarray:
        """(7,) position [m] and orientation quaternion (w, x, y, z) of the bowl's foot."""
        return self._body_pose(self.world.bowl)

    @property
    def plate_pose(self) -> np.ndarray:
        """(7,) position [m] and orientation quaternion (w, x, y, z) of the plate's foot."""
        return self._body_pose(self.world.plate)

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
    def target(self) -> np.ndarray:
        """(3,) where the rate-limited target of the tool is now, world frame [m]."""
        return self._glide.position

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
    def place_error(self) -> float:
        """Horizontal distance between the centres of bowl and plate [m]."""
        offset = self.data.xpos[self.world.bowl, :2] - self.data.xpos[self.world.plate, :2]
        return float(np.hypot(*offset))

    @property
    def success(self) -> bool:
        """The bowl has rested on the plate, released and upright, for HOLD_STEPS control steps."""
        return self._placed_steps >= HOLD_STEPS

    @property
    def stage(self) -> str:
        """MISS (never lifted), GRASP (lifted, not placed) or PLACE (success)."""
        return STAGES[2] if self.success else STAGES[1] if self._lifted else STAGES[0]

    @property
    def done(self) -> bool:
        """The bowl is placed, or the step budget is used up."""
        return self.success or self.steps >= self.config.max_steps

    def _judge(self) -> None:
        """Update the outcome after a control step."""
        data, world = self.data, self.world
        height = data.xpos[world.bowl, 2]
        if height > LIFTED:
            self._lifted = True
            self._placed_steps = 0
        elif self._lifted:
            self._placed_steps = self._placed_steps + 1 if self._is_placed() else 0

    def _is_placed(self) -> bool:
        data, world = self.data, self.world
        if self.place_error > PLACE_RADIUS or data.xmat[world.bowl, 8] < UPRIGHT:
            return False
        if np.abs(data.qvel[world.bowl_qvel : world.bowl_qvel + 3]).max() > 0.05:
            return False
        touching = data.contact.geom[data.contact.exclude == 0]
        bodies = world.model.geom_bodyid[touching]
        others = bodies[(bodies == world.bowl).any(axis=1)]
        others = others[others != world.bowl]
        return bool((others == world.plate).any() and not np.isin(others, world.robot_bodies).any())

    # Pictures -------------------------------------------------------------------------------------

    def frame(self, preset: str | None = None, size: int | None = None) -> np.ndarray:
        """The current view as (size, size, 3) uint8 RGB.

        Args:
            preset: fast | beauty; None: the environment's own.
            size: Height and width [px]; None: the environment's own.
        """
        size = size or self.image_size
        camera = self.camera if size == self.image_size else self.camera.resized(size, size)
        renderer = self.world.renderer(preset or self.preset, size, size)
        if self.clutter:
            paint_clutter(self.world.model, self.clutter)
        return renderer.render(self.data, camera)

    def observe(self) -> Observation:
        """What a policy sees now; renders."""
        return Observation(self.frame(), self.camera, self.ee_position, self.gripper)

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
        return {
            "stage": self.stage,
            "is_success": self.success,
            "place_error_m": self.place_error,
            "steps": self.steps,
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode from options["condition"], or from a random one."""
        super().reset(seed=seed)
        condition = (options or {}).get("condition")
        if condition is None:
            condition = random_condition(self.np_random, self.layout)
        if not isinstance(condition, Condition):
            raise ConfigError(
                f"options['condition'] must be an envs.condition.Condition, got {condition!r}."
            )
        self.begin(condition)
        return self._observation(), self._info()

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step; see the class."""
        action = np.asarray(action, np.float64)
        self.control_step(action[:3], float(np.clip(action[3], 0.0, 1.0)))
        out_of_time = self.steps >= self.config.max_steps and not self.success
        return self._observation(), float(self.success), self.success, out_of_time, self._info()

    def render(self) -> np.ndarray:
        """The current view (H, W, 3) uint8."""
        return self.frame()
