"""The video backbone without a head: what the first stage of some recipes trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from torch import Tensor

from para.backbones import build_backbone
from para.config import AnyBackboneConfig, VideoModelConfig
from para.errors import ConfigError
from para.policy import Policy
from para.types import Observation


class VideoPolicy(Policy):
    """Learns to predict frames and has no actions; later stages start from its video model.

    Args:
        cfg: The model (configs/model/video.yaml).
        backbone_cfg: A video backbone (configs/backbone/svd*.yaml).
        image_size: H = W of the images [px].
    """

    acts = False

    def __init__(self, cfg: VideoModelConfig, backbone_cfg: AnyBackboneConfig, image_size: int):
        super().__init__(cfg, image_size)
        self.backbone = build_backbone(backbone_cfg, image_size, None)

    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """The denoising loss of `batch["clip"]`; there are no metrics of actions."""
        loss = self.backbone.video_loss(batch["clip"])
        return {"loss": loss, "video": loss}

    def _predict(self, images: Tensor, observations: Sequence[Observation]) -> NoReturn:
        raise ConfigError(
            "A video model alone has no actions: train a policy on it (recipe=two_stage)."
        )
