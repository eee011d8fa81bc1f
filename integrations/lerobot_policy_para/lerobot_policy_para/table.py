"""Our simulated table as an environment of LeRobot: `--env.type=para_table`.

A step moves the hand to one waypoint in closed loop, as PARA's own evaluation does. The episodes
are the starts of a split's test, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_IMAGES, OBS_STATE

from envs.base import EnvConfig as SceneConfig
from envs.base import load_task
from envs.splits import load_split, test_conditions

ID = "lerobot_policy_para/Table-v0"
MOST_WAYPOINTS = 100
"""Steps after which an episode is over; its 600 control steps usually are before."""


@EnvConfig.register_subclass("para_table")
@dataclass
class ParaTableConfig(EnvConfig):
    """A task on the table.

    Attributes:
        task: Of configs/task.
        split, test, starts: Whose starts: ood (held out) or sanity; dev, or final for results.
        robot, layout: Of the task.
        image_size: Side of the square image [px].
        camera: What its image is called.
    """

    task: str | None = "bowl_on_plate"
    fps: int = 10
    split: str = "lr"
    test: str = "ood"
    starts: str = "dev"
    robot: str = "panda"
    layout: str = "together"
    image_size: int = 128
    camera: str = "front"
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Say what there is to see and to do."""
        side = self.image_size
        self.features = {
            ACTION: PolicyFeature(FeatureType.ACTION, (4,)),
            "agent_pos": PolicyFeature(FeatureType.STATE, (8,)),
            "environment_state": PolicyFeature(FeatureType.ENV, (25,)),
            f"pixels/{self.camera}": PolicyFeature(FeatureType.VISUAL, (side, side, 3)),
        }
        self.features_map = {
            ACTION: ACTION,
            "agent_pos": OBS_STATE,
            "environment_state": OBS_ENV_STATE,
            f"pixels/{self.camera}": f"{OBS_IMAGES}.{self.camera}",
        }

    @property
    def gym_id(self) -> str:
        """See `EnvConfig`."""
        return ID

    @property
    def package_name(self) -> str:
        """See `EnvConfig`."""
        return "lerobot_policy_para"

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """See `EnvConfig`."""
        names = ("task", "split", "test", "starts", "robot", "layout", "image_size", "camera")
        return {name: getattr(self, name) for name in names}


class Table(gymnasium.Env):
    """See the module's docstring; arguments as `ParaTableConfig`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        task: str,
        split: str,
        test: str,
        starts: str,
        robot: str,
        layout: str,
        image_size: int,
        camera: str,
    ):
        found, scene = load_task(task), SceneConfig(image_size=image_size)
        self.env = found.environment(robot, layout, scene)
        self.starts = test_conditions(
            load_split(split), test, found, layout, env=scene, starts=starts
        )
        self.camera, self.render_mode = camera, "rgb_array"
        self.task = self.task_description = found.instruction
        box = gymnasium.spaces.Box
        image = box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "pixels": gymnasium.spaces.Dict({camera: image}),
                "agent_pos": box(-np.inf, np.inf, (8,), np.float64),
                "environment_state": box(-np.inf, np.inf, (25,), np.float64),
            }
        )
        self.action_space = box(-np.inf, np.inf, (4,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin at start `seed` of the test; without one at a random one."""
        super().reset(seed=seed)
        index = int(self.np_random.integers(len(self.starts))) if seed is None else seed
        self.env.begin(self.starts[index % len(self.starts)])
        return self._see(), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Servo to (x, y, z) [m] with the gripper open or closed."""
        action = np.asarray(action, np.float64)
        before = self.env.steps
        self.env.servo_to(action[:3], float(action[3] > 0.5))
        if self.env.steps == before:  # it is there already: time passes all the same
            self.env.control_step(self.env.target, self.env.gripper_command)
        success = self.env.outcome.success
        over = self.env.done and not success
        return self._see(), float(success), success, over, {"is_success": success}

    def render(self) -> np.ndarray:
        """The scene (H, W, 3) uint8."""
        return self.env.frame()

    def _see(self) -> dict[str, Any]:
        seen = self.env.observe()
        matrices = seen.camera.intrinsics.ravel(), seen.camera.T_world_camera.ravel()
        return {
            "pixels": {self.camera: seen.image},
            "agent_pos": np.append(self.env.ee_pose, seen.gripper),
            "environment_state": np.concatenate(matrices),
        }


if ID not in gymnasium.registry:
    gymnasium.register(
        ID, entry_point="lerobot_policy_para.table:Table", max_episode_steps=MOST_WAYPOINTS
    )
