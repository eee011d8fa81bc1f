"""A policy of PARA behind LeRobot's interface."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_STATE
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lerobot_policy_para.configuration_para import ParaConfig
from para.camera import Camera
from para.cli import load_config
from para.data.augment import augment
from para.policies.base import POLICIES, STATISTICS, Policy, build_policy
from para.policies.frames import WORLD
from para.runs.config import TrainConfig
from para.types import Observation

SAME = 1e-5
"""Largest difference between the camera matrices of a data set whose camera never moves."""


class ParaPolicy(PreTrainedPolicy):
    """Waypoints from one image and its camera (see `ParaConfig`).

    Args:
        config: The configuration.
        dataset_stats: Statistics of the data set: normalisation, and whether the camera moves.
        others: What LeRobot passes besides; not used.

    Raises:
        ValueError: PARA's model answers in another frame than the world or needs more than actions.
    """

    config_class = ParaConfig
    name = "para"

    def __init__(
        self,
        config: ParaConfig,
        dataset_stats: dict[str, dict[str, Any]] | None = None,
        **others: Any,
    ):
        super().__init__(config)
        config.validate_features()
        size = config.image_features[config.image].shape[-1]
        self.para = load_config(
            TrainConfig,
            [
                f"model={config.model}",
                f"backbone={config.backbone}",
                f"augment={config.augment}",
                f"env.image_size={size}",
                f"model.horizon={config.horizon}",
                f"model.waypoint_stride={config.stride}",
                *config.overrides,
            ],
        )
        model = self.para.model
        kind = POLICIES[model.kind]
        if kind.frame is not WORLD or not model.acts or model.predicts_rotation:
            raise ValueError(
                f"--policy.model={config.model} answers in another frame than the world, does not "
                "act or turns the hand; actions here are (x, y, z, opening). Take para, "
                "para_volume, keypoint, regression, regression_camera or act."
            )
        self.augmentation = self.para.augment.followed(kind.follows)
        self.policy = build_policy(model, self.para.backbone, size)
        if dataset_stats:
            self._fit(dataset_stats)
        self.average = AveragedModel(
            self.policy, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)
        )
        self.average.requires_grad_(False)
        self._random = torch.Generator().manual_seed(0)
        self.reset()

    def _fit(self, stats: dict[str, dict[str, Any]]) -> None:
        """Normalisation, and the camera where it is the same in every frame."""
        config = self.config
        state, action = stats[OBS_STATE], stats[ACTION]
        values = [state[key][config.position] for key in ("mean", "std")]
        values += [action[key][:3] for key in ("mean", "std")]
        tensors = (torch.as_tensor(np.asarray(value)) for value in values)
        self.policy.fit_normalisation(dict(zip(STATISTICS, tensors, strict=True)))
        for name in ("intrinsics", "T_world_camera"):
            found = stats.get(f"camera.{config.camera}.{name}")
            if found is None or getattr(config, name) is not None:
                continue
            low, high = (np.asarray(found[key], np.float64) for key in ("min", "max"))
            if np.abs(high - low).max() < SAME:
                setattr(config, name, low.tolist())

    def get_optim_params(self) -> list[torch.nn.Parameter]:
        """See `PreTrainedPolicy`."""
        return list(self.policy.parameters())

    def update(self) -> None:
        """LeRobot calls this after each step of the optimiser."""
        self.average.update_parameters(self.policy)

    def reset(self) -> None:
        """Forget the plan; called when an episode begins."""
        self._queue: deque[Tensor] = deque()

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """See `PreTrainedPolicy`: the loss, and its parts as numbers."""
        state, actions = batch[OBS_STATE], batch[ACTION]
        intrinsics, T_world_camera = self._cameras(batch)
        read = {
            "image": batch[self.config.image],
            "intrinsics": intrinsics,
            "T_world_camera": T_world_camera,
            "ee_position": state[:, self.config.position],
            "gripper": state[:, self.config.grip],
            "waypoints": actions[..., :3],
            "waypoint_gripper": actions[..., 3],
            "waypoint_rotation": torch.zeros_like(actions[..., :3]),
            "padded": batch.get(
                "action_is_pad", torch.zeros_like(actions[..., 0], dtype=torch.bool)
            ),
        }
        if self.training:
            on_cpu = {name: tensor.cpu() for name, tensor in read.items()}
            moved = augment(on_cpu, self.augmentation, self._random)
            read = {name: tensor.to(state.device) for name, tensor in moved.items()}
        losses = self.policy.loss(read)
        return losses["loss"], {name: float(value) for name, value in losses.items()}

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Tensor], **_: Any) -> Tensor:
        """A plan (B, horizon, 4): positions in the world [m], opening 0 or 1.

        A waypoint whose ray meets no height keeps the hand where it is.
        """
        state = batch[OBS_STATE].cpu().double().numpy()
        images = (batch[self.config.image] * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        size = images.shape[1]
        intrinsics, T_world_camera = (
            matrices.cpu().double().numpy() for matrices in self._cameras(batch)
        )
        seen = [
            Observation(
                images[i],
                Camera(intrinsics[i], T_world_camera[i], size, size),
                state[i, self.config.position],
                float(np.clip(state[i, self.config.grip], 0, 1)),
            )
            for i in range(len(images))
        ]
        plans = []
        for observation, chunk in zip(seen, self._acting.predict(seen), strict=True):
            lost = ~np.isfinite(chunk.positions).all(-1)
            positions = np.where(lost[:, None], observation.ee_position, chunk.positions)
            plans.append(np.column_stack([positions, chunk.gripper]))
        return torch.from_numpy(np.stack(plans)).float().to(batch[OBS_STATE].device)

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor], **_: Any) -> Tensor:
        """The next waypoint (B, 4) of the plan; a new plan after `n_action_steps`."""
        self.eval()
        if not self._queue:
            plan = self.predict_action_chunk(batch)
            self._queue.extend(plan[:, : self.config.n_action_steps].unbind(1))
        return self._queue.popleft()

    @property
    def _acting(self) -> Policy:
        """The averaged weights, once there are some."""
        return self.average.module if self.average.n_averaged > 0 else self.policy

    def _cameras(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Intrinsics (B, 3, 3) and T_world_camera (B, 4, 4) of a batch."""
        told, count = batch.get(OBS_ENV_STATE), len(batch[OBS_STATE])
        if told is None:
            known = self.config.intrinsics, self.config.T_world_camera
            if None in known:
                raise ValueError(
                    "The camera is not known: the data has no features "
                    f"camera.{self.config.camera}.intrinsics and .T_world_camera (or the run is "
                    "resumed, where LeRobot drops them), and --policy.intrinsics and "
                    "--policy.T_world_camera are not set."
                )
            numbers = [number for matrix in known for number in matrix]
            told = torch.tensor(numbers, device=batch[OBS_STATE].device).expand(count, -1)
        told = told.float()
        return told[:, :9].reshape(count, 3, 3), told[:, 9:25].reshape(count, 4, 4)
