"""What `--policy.type=para` is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import NormalizationMode
from lerobot.optim.optimizers import AdamWConfig
from lerobot.optim.schedulers import CosineDecayWithWarmupSchedulerConfig


@PreTrainedConfig.register_subclass("para")
@dataclass
class ParaConfig(PreTrainedConfig):
    """A policy of PARA. Positions are metres in the world frame, whose z = 0 is the table.

    Attributes:
        model: PARA's name of the policy (configs/model): para, para_volume, keypoint, regression.
        backbone: Of configs/backbone.
        overrides: Further keys of `scripts/train.py`, e.g. ["model.heatmap_size=16"].
        augment: Of configs/augment; what the labels cannot follow is switched off.
        image: Feature that the policy sees; square.
        camera: Name of the features `camera.<name>.intrinsics` (9) [px] and
            `camera.<name>.T_world_camera` (16) of each frame (`scripts/export_demos.py`).
        intrinsics, T_world_camera: Of a camera that never moves, row by row; taken from the data
            set where its cameras are all the same.
        position, grip: Where observation.state holds the tool's x, y, z and the gripper's opening
            (1 is open); an action is always (x, y, z, opening).
        horizon: Waypoints of a plan.
        stride: Frames between waypoints.
        n_action_steps: Waypoints that are executed before it plans again.
        ema_decay: Of the averaged weights, which are the ones that act.
    """

    model: str = "para"
    backbone: str = "resnet10"
    overrides: list[str] = field(default_factory=list)
    augment: str = "camera"
    image: str = "observation.images.front"
    camera: str = "front"
    intrinsics: list[float] | None = None
    T_world_camera: list[float] | None = None
    position: list[int] = field(default_factory=lambda: [0, 1, 2])
    grip: int = 7
    horizon: int = 12
    stride: int = 3
    n_action_steps: int = 4
    ema_decay: float = 0.995
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(
            ("VISUAL", "STATE", "ENV", "ACTION"), NormalizationMode.IDENTITY
        )
    )
    """Nothing is normalised outside: statistics of positions live in the policy."""

    optimizer_lr: float = 3e-3
    optimizer_weight_decay: float = 0.05
    optimizer_grad_clip_norm: float = 1.0
    scheduler_warmup_steps: int = 50
    scheduler_decay_steps: int = 600

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        super().__post_init__()
        if not 1 <= self.n_action_steps <= self.horizon:
            raise ValueError(
                f"n_action_steps={self.n_action_steps} is not in 1 ... horizon={self.horizon}."
            )
        for name, numbers in (("intrinsics", 9), ("T_world_camera", 16)):
            value = getattr(self, name)
            if value is not None and len(value) != numbers:
                raise ValueError(
                    f"{name} must have {numbers} numbers, row by row; got {len(value)}."
                )

    def get_optimizer_preset(self) -> AdamWConfig:
        """See `PreTrainedConfig`."""
        return AdamWConfig(
            lr=self.optimizer_lr,
            weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> CosineDecayWithWarmupSchedulerConfig:
        """See `PreTrainedConfig`."""
        return CosineDecayWithWarmupSchedulerConfig(
            num_warmup_steps=self.scheduler_warmup_steps,
            num_decay_steps=self.scheduler_decay_steps,
            peak_lr=self.optimizer_lr,
            decay_lr=0.0,
        )

    def validate_features(self) -> None:
        """There are the square image, the state and the actions that it reads.

        Raises:
            ValueError: Names what is missing and what there is.
        """
        found = self.image_features.get(self.image)
        if found is None:
            raise ValueError(
                f"--policy.image={self.image} is not among the images of the data set: "
                f"{', '.join(self.image_features) or 'none'}."
            )
        if found.shape[1] != found.shape[2]:
            raise ValueError(f"{self.image} is {found.shape}: PARA reads square images.")
        state, action = self.robot_state_feature, self.action_feature
        if state is None or state.shape[0] <= max(*self.position, self.grip):
            raise ValueError(
                f"observation.state is {state and state.shape}: --policy.position={self.position} "
                f"and --policy.grip={self.grip} point beyond it."
            )
        if action is None or tuple(action.shape) != (4,):
            raise ValueError(f"action is {action and action.shape}, not (x, y, z, opening).")

    @property
    def observation_delta_indices(self) -> None:
        """See `PreTrainedConfig`: only what is seen now."""
        return None

    @property
    def action_delta_indices(self) -> list[int]:
        """See `PreTrainedConfig`: where the hand is sent, `stride` frames apart."""
        return [self.stride * k for k in range(1, self.horizon + 1)]

    @property
    def reward_delta_indices(self) -> None:
        """See `PreTrainedConfig`."""
        return None
