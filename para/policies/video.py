"""The video backbone without a head: what the first stage of some recipes trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from torch import Tensor

from para.backbones import BackboneConfig, build_backbone
from para.errors import ConfigError
from para.fields import require
from para.policies.base import POLICIES, WARPS, Policy, PolicyConfig
from para.types import Inference, Observation


@dataclass
class VideoConfig(PolicyConfig):
    """The video backbone alone; waypoints are only drawn into its pictures."""

    acts: ClassVar[bool] = False

    kind: str = "video"

    def rules(self, key: str, run: Any) -> None:
        """Only video backbones learn video."""
        require(
            run.backbone.learns_video,
            f"{key}={self.name} trains a video model, which backbone={run.backbone.name} is not. "
            "Add backbone=svd_tiny.",
        )


@POLICIES.register("video", VideoConfig)
class VideoPolicy(Policy):
    """Learns to predict frames and has no actions; later stages start from its video model.

    Args:
        cfg: The model (configs/model/video.yaml).
        backbone_cfg: A video backbone (configs/backbone/svd*.yaml).
        image_size: H = W of the images [px].
    """

    follows: ClassVar[frozenset[str]] = WARPS  # frames are labels that move with the image

    def __init__(self, cfg: VideoConfig, backbone_cfg: BackboneConfig, image_size: int):
        super().__init__(cfg, image_size)
        self.backbone = build_backbone(backbone_cfg, image_size, None)

    def _listen(self, channels: int) -> None:
        """See `Policy`: frames are predicted from what is seen alone."""

    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """The denoising loss of `batch["clip"]`; there are no metrics of actions."""
        loss = self.backbone.video_loss(batch["clip"])
        return {"loss": loss, "video": loss}

    def _predict(
        self, images: Tensor, observations: Sequence[Observation], inference: Inference
    ) -> NoReturn:
        raise ConfigError(
            "A video model alone has no actions: train a policy on it (recipe=two_stage)."
        )
