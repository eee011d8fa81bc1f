"""From a tool pose to actuator commands, at 50 Hz; how the hand turns, and when half a turn more is
the same.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import mink
import mujoco
import numpy as np

from envs.episodes import CONTROL_DT
from envs.table import robots
from envs.table import workspace as ws
from envs.table.robots import ARM_KP, ARM_KV, SLIDE_KP, SLIDE_KV, TURN_KP, TURN_KV

DOWN = mink.SO3(np.array([0.0, 1.0, 0.0, 0.0]))
"""Orientation of the hand at rotation 0: its z axis down, its x axis along world x."""
NO_TURN = np.zeros(3)


@cache
def _arm_model() -> mujoco.MjModel:
    return robots.arm_model()


@cache
def _arm_start() -> np.ndarray:
    """Joint positions (7,) [rad] at the start of every episode."""
    return ArmController().solve(ws.EE_START, robots.HOME)


class Controller(Protocol):
    """Owns the joint targets of one episode."""

    joints: tuple[str, ...]

    def reset(self) -> np.ndarray:
        """Forget the last episode; return the joint positions at the start."""
        ...

    def command(self, target: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Actuator commands that take the tool to `target` (3,) [m] within one control step.

        `rotation`: (3,) extrinsic xyz Euler angles relative to pointing straight down [rad].
        """
        ...


class Feedback:
    """Integral action: what the measured tool misses of its target for long is added to the target.

    It takes away what a load, a weak joint or a base that stands elsewhere than the inverse
    kinematics believes would leave: an error of d [m] decays as d exp(-RATE t), up to `limit`. It
    is slow beside the joints' own servos, so contact does not excite it.
    """

    RATE = 5.0
    """[1/s]"""

    def __init__(self, limit: float = 0.02) -> None:
        """`limit`: largest correction along each axis [m]: a hand that is held cannot push ever
        harder. Rotations are corrected alike, in radians.
        """
        self.limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self.correction = np.zeros(3)

    def step(self, target: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """Compare where the tool should be now with where it is, both (3,) [m].

        Returns:
            (3,) what to add to the next target [m].
        """
        change = self.RATE * CONTROL_DT * (target - measured)
        self.correction = np.clip(self.correction + change, -self.limit, self.limit)
        return self.correction


class ArmController:
    """Differential inverse kinematics (mink), integrated on an arm-only model.

    Joint targets follow from tool targets alone, so contact cannot excite the solver; it is the
    tool target that `Feedback` corrects by the measured pose. Without the two small costs on
    posture and speed, the elbow jumps where the arm is folded near its base.
    """

    joints = robots.ARM_JOINTS

    def __init__(self, model: mujoco.MjModel | None = None):
        """Use the arm `model` (default: the scene's, shared by all controllers)."""
        model = model or _arm_model()
        self.configuration = mink.Configuration(model)
        self._frame = mink.FrameTask(
            "tool", "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-4
        )
        posture = mink.PostureTask(model, cost=0.03, gain=0.02)
        posture.set_target(robots.HOME)
        self._tasks = [self._frame, posture, mink.DampingTask(model, cost=0.02)]
        speed = {name: 2.0 if i < 4 else 2.5 for i, name in enumerate(self.joints)}
        self._limits = [mink.ConfigurationLimit(model), mink.VelocityLimit(model, speed)]

    def _velocity(self, target: np.ndarray, rotation: np.ndarray = NO_TURN) -> np.ndarray:
        hand = mink.SO3.from_rpy_radians(*rotation) @ DOWN if rotation.any() else DOWN
        self._frame.set_target(mink.SE3.from_rotation_and_translation(hand, target))
        return mink.solve_ik(
            self.configuration, self._tasks, CONTROL_DT, "daqp", limits=self._limits
        )

    def solve(self, target: np.ndarray, q: np.ndarray, iterations: int = 300) -> np.ndarray:
        """Joint positions (7,) [rad] that hold the tool at `target`, found from `q` on."""
        self.configuration.update(q)
        for _ in range(iterations):
            self.configuration.integrate_inplace(self._velocity(target), CONTROL_DT)
        return self.configuration.q

    def error(self, target: np.ndarray) -> tuple[float, float]:
        """Distance [m] and angle [rad] between the current configuration's tool and `target`."""
        pose = self.configuration.get_transform_frame_to_world("tool", "site")
        angle = float(np.linalg.norm((DOWN.inverse() @ pose.rotation()).log()))
        return float(np.linalg.norm(pose.translation() - target)), angle

    def reset(self) -> np.ndarray:
        """See `Controller`."""
        self.configuration.update(_arm_start())
        return _arm_start()

    def command(self, target: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """See `Controller`."""
        velocity = self._velocity(target, rotation)
        self.configuration.integrate_inplace(velocity, CONTROL_DT)
        return self.configuration.q + (ARM_KV / ARM_KP) * velocity


class SlideController:
    """Three slides, and three hinges where the task turns the hand, need no inverse kinematics."""

    def __init__(self, turns: bool = False) -> None:
        self.joints = robots.robot_joints("hand", turns)
        self._start = np.array([*ws.EE_START, *NO_TURN])[: len(self.joints)]
        gains = [SLIDE_KV / SLIDE_KP] * 3 + [TURN_KV / TURN_KP] * 3
        self._lead = np.array(gains)[: len(self.joints)]
        self._last = self._start

    def reset(self) -> np.ndarray:
        """See `Controller`."""
        self._last = self._start
        return self._start

    def command(self, target: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """See `Controller`."""
        joints = np.array([*target, *rotation[::-1]])[: len(self.joints)]
        velocity = (joints - self._last) / CONTROL_DT
        self._last = joints
        return joints + self._lead * velocity


def make_controller(robot: str, turns: bool = False) -> Controller:
    """The controller of a robot; its state belongs to one environment."""
    return ArmController() if robot == "panda" else SlideController(turns)


class Glide:
    """Rate-limited target: at most `speed` [m/s] and `acceleration` [m/s2]; rests at its goal.

    Its velocity survives a change of goal, so a chain of waypoints is one smooth motion.
    """

    def __init__(self, speed: float = 0.4, acceleration: float = 2.0):
        self.speed, self.acceleration = speed, acceleration
        self.position = np.zeros(3)
        self.velocity = np.zeros(3)

    def reset(self, position: np.ndarray) -> None:
        """Rest at `position` (3,) [m]."""
        self.position, self.velocity = position.copy(), np.zeros(3)

    def step(self, goal: np.ndarray) -> np.ndarray:
        """Advance by one control step towards `goal` (3,) [m]; return the target (3,) [m]."""
        offset = goal - self.position
        distance = float(np.sqrt(offset @ offset))
        change_limit = self.acceleration * CONTROL_DT
        if distance < 1e-9:
            wanted = np.zeros(3)
        else:
            # The fastest speed from which braking still ends at the goal, sampled at CONTROL_DT.
            brake = np.sqrt(2 * self.acceleration * distance + change_limit**2 / 4)
            speed = min(self.speed, brake - change_limit / 2, distance / CONTROL_DT)
            wanted = offset * (speed / distance)
        change = wanted - self.velocity
        size = float(np.sqrt(change @ change))
        if size > change_limit:
            change *= change_limit / size
        self.velocity = self.velocity + change
        self.position = self.position + self.velocity * CONTROL_DT
        return self.position
