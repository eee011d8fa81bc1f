"""The registry of policies: a configuration's `kind` -> the class that reads the rest of it."""

from __future__ import annotations

from collections.abc import Callable

from baselines.act import ActPolicy
from para.config import AnyBackboneConfig, ModelConfig
from para.errors import UnknownNameError
from para.para_policy import ParaPolicy
from para.policy import Policy
from para.video_policy import VideoPolicy

POLICIES: dict[str, Callable[..., Policy]] = {
    "para": ParaPolicy,
    "act": ActPolicy,
    "video": VideoPolicy,
}
"""model.kind -> class with arguments (cfg, backbone_cfg, image_size)."""


def build_policy(cfg: ModelConfig, backbone_cfg: AnyBackboneConfig, image_size: int) -> Policy:
    """Build the policy that `cfg.kind` names, for images of image_size x image_size px.

    Raises:
        UnknownNameError: There is no such kind.
        CheckpointError, ConfigError: See `para.backbones.build_backbone`.
    """
    if cfg.kind not in POLICIES:
        raise UnknownNameError("model kind", cfg.kind, POLICIES)
    return POLICIES[cfg.kind](cfg, backbone_cfg, image_size)
