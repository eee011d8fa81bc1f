"""A policy: the same offset from the end effector, whatever it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from para.backbones import BackboneConfig, build_backbone
from para.policies.base import POLICIES, Policy, PolicyConfig
from para.types import ActionChunk, Inference, Observation


@dataclass
class DriftConfig(PolicyConfig):
    """configs/model/drift.yaml"""

    kind: str = "drift"


@POLICIES.register("drift", DriftConfig)
class DriftPolicy(Policy):
    """One learned offset [m] per waypoint; the backbone only scales it."""

    def __init__(self, cfg: DriftConfig, backbone_cfg: BackboneConfig, image_size: int):
        super().__init__(cfg, image_size)
        self.backbone = build_backbone(backbone_cfg, image_size, None)
        self.scale = nn.Linear(self.backbone.pooled_channels, 1)
        self.offset = nn.Parameter(torch.zeros(cfg.horizon, 3))

    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """See `Policy.loss`; metres."""
        positions = self._positions(batch["image"], batch["ee_position"])
        return {"loss": (positions - batch["waypoints"]).abs().mean()}

    def _positions(self, images: Tensor, ee_position: Tensor) -> Tensor:
        scale = 1 + self.scale(self.backbone(images)[1]).float()
        return ee_position[:, None] + scale[..., None] * self.offset

    def _predict(
        self, images: Tensor, observations: Sequence[Observation], inference: Inference
    ) -> list[ActionChunk]:
        ee_position, _ = self._states(observations)
        positions = self._positions(images, ee_position).double().cpu().numpy()
        open_hand = torch.ones(self.cfg.horizon).numpy()
        return [ActionChunk(positions=chunk, gripper=open_hand) for chunk in positions]
