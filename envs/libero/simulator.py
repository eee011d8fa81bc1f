"""One robosuite environment per scene and process, in which all episodes of the scene take turns.

Building one takes seconds and a gigabyte, so it is shared: the state of an episode is an MjData of
its own, copied in before each control step and out after it. What robosuite itself remembers of an
episode (the goal orientation, how far the fingers are told to be) is copied as well, so an episode
depends on its start and its actions only.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import mujoco
import numpy as np

from envs.episodes import CONTROL_DT
from envs.libero.scenes import Scene, load_scene
from envs.table.rendering import Renderer
from para.errors import DataError

HAND_DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""Goal orientation of robosuite's grip site: straight down, fingers opening along world y."""
TO_OURS = HAND_DOWN.T @ np.diag([1.0, -1.0, -1.0])
"""From the axes of the grip site to ours, in which a hand that points down is diag(1, -1, -1)."""
REACH_PER_ACTION = 0.05
"""Action 1 moves the goal of the controller by so much [m]."""
OPEN_WIDTH = 0.0795
"""Between the finger joints when the gripper is open [m]."""
COLLISION_GROUP = 0
"""Geometries of this group are collision shapes, which are not drawn."""


@dataclass
class Remembered:
    """What the controller remembers of an episode."""

    orientation: np.ndarray = field(default_factory=lambda: HAND_DOWN.copy())
    fingers: np.ndarray = field(default_factory=lambda: np.zeros(2))


class Simulator:
    """See the module; made by `simulator`."""

    def __init__(self, scene: Scene):
        self.scene = scene
        self._env = _build(scene)
        self.model: mujoco.MjModel = self._env.sim.model._model
        self._data: mujoco.MjData = self._env.sim.data._data
        self.tool = self.model.site("gripper0_grip_site").id
        self.fingers = [self.model.joint(f"gripper0_finger_joint{k}").qposadr[0] for k in (1, 2)]
        self.bodies = {name: self.model.body(f"{name}_main").id for name in scene.objects}
        self.furniture = _furniture(self.model)
        self._renderers: dict[tuple[str, int, int], Renderer] = {}
        size = 1 + self.model.nq + self.model.nv
        if scene.states.shape[1] != size:
            raise DataError(
                f"{scene.inits} holds states of {scene.states.shape[1]} numbers, and the scene "
                f"has {size}: they belong to another scene, or to another version of it."
            )
        for name in scene.objects:
            if self._pose(name).start != scene.address(name).start - 1:
                raise DataError(f"{scene.bddl}: {name} stands elsewhere in the states.")

    def _pose(self, name: str) -> slice:
        first = int(self.model.joint(f"{name}_joint0").qposadr[0])
        return slice(first, first + 7)

    def new_data(self) -> mujoco.MjData:
        """The state of a further episode."""
        return mujoco.MjData(self.model)

    def begin(self, data: mujoco.MjData, index: int, poses: dict[str, np.ndarray]) -> Remembered:
        """Set `data` to an initial state.

        Args:
            data: The episode's.
            index: Number of the initial state.
            poses: Name -> (7,) pose of each object that stands elsewhere, LIBERO's frame.
        """
        state = self.scene.states[index]
        mujoco.mj_resetData(self.model, data)
        data.qpos[:] = state[1 : 1 + self.model.nq]
        for name, pose in poses.items():
            data.qpos[self._pose(name)] = pose
        mujoco.mj_forward(self.model, data)
        return Remembered()

    def push(self, data: mujoco.MjData, name: str, velocity: np.ndarray) -> None:
        """Set an object in motion along the table, at (2,) [m/s]."""
        first = int(self.model.joint(f"{name}_joint0").dofadr[0])
        data.qvel[first : first + 2] = velocity

    def show(self, data: mujoco.MjData, state: np.ndarray) -> None:
        """Set `data` to a state (1 + nq + nv,) of the scene, whatever came before; no physics."""
        data.time = state[0]
        data.qpos[:], data.qvel[:] = np.split(state[1:], [self.model.nq])
        mujoco.mj_forward(self.model, data)

    @contextmanager
    def furnished(self, poses: Mapping[str, np.ndarray]) -> Iterator[None]:
        """For a while all furniture stands elsewhere: body -> (7,) pose, LIBERO's frame."""
        before = self.model.body_pos.copy(), self.model.body_quat.copy()
        try:
            for name, body in self.furniture.items():
                self.model.body_pos[body], self.model.body_quat[body] = np.split(poses[name], [3])
            yield
        finally:
            self.model.body_pos[:], self.model.body_quat[:] = before

    def step(self, data: mujoco.MjData, memory: Remembered, move: np.ndarray, opened: bool) -> bool:
        """Advance an episode by one control step; return whether LIBERO calls it a success.

        Args:
            data: The episode's state, changed in place.
            memory: What the controller remembers of it, changed in place.
            move: (3,) of the controller's goal from where the tool is [m], clipped.
            opened: Do the fingers open or close?
        """
        robot = self._env.robots[0]
        mujoco.mj_copyData(self._data, self.model, data)
        robot.controller.goal_ori = memory.orientation
        robot.controller.new_update = True
        robot.gripper.current_action = memory.fingers.copy()
        action = np.zeros(7)
        action[:3] = np.clip(move / REACH_PER_ACTION, -1, 1)
        action[6] = -1.0 if opened else 1.0
        _, reward, _, _ = self._env.step(action)
        memory.fingers = np.array(robot.gripper.current_action)
        mujoco.mj_copyData(data, self.model, self._data)
        return bool(reward > 0)

    def bare_step(self) -> None:
        """One control step of robosuite itself, of whatever episode came last: for comparison."""
        self._env.step(np.zeros(7))

    def renderer(self, preset: str, width: int, height: int) -> Renderer:
        """Draws this scene; one of each size per process, never closed."""
        key = preset, width, height
        if key not in self._renderers:
            self._renderers[key] = Renderer(self.model, *key, hidden_groups=(COLLISION_GROUP,))
        return self._renderers[key]


def _furniture(model: mujoco.MjModel) -> dict[str, int]:
    """What stands fixed on the table, and where is in no state: name of a body -> its number."""
    bodies = (model.body(number) for number in range(1, model.nbody))
    return {
        body.name: body.id
        for body in bodies
        if not body.parentid[0] and not body.jntnum[0] and body.name.endswith("_main")
    }


@cache
def simulator(suite: str, problem: str) -> Simulator:
    """The simulator of a scene in this process."""
    return Simulator(load_scene(suite, problem))


def _build(scene: Scene) -> Any:
    """LIBERO's own environment, without its renderer, at our control rate.

    Where cabinet and stove stand is drawn when it is built and stands in no initial state: from
    NumPy's global generator, which is seeded here and given back as it was.
    """
    # By name, so that who follows the imports of this file (para/runs/code.py) loads no robosuite,
    # and without the warning that it has no settings of the user's.
    logging.disable(logging.WARNING)
    try:
        wrapper = importlib.import_module("libero.libero.envs.env_wrapper")
    finally:
        logging.disable(logging.NOTSET)

    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        wrapped = wrapper.ControlEnv(
            bddl_file_name=str(scene.bddl),
            use_camera_obs=False,
            has_offscreen_renderer=False,
            ignore_done=True,
            horizon=10**9,
            hard_reset=False,
            control_freq=round(1 / CONTROL_DT),
        )
        wrapped.env.reset()
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return wrapped.env
