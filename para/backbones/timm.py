"""Any timm network with intermediate features as a backbone, trained from scratch or loaded.

timm takes four seconds to import, so only those who build a network pay.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, OmegaConf
from torch import nn

from para.backbones.base import BACKBONES, Backbone, BackboneConfig
from para.backbones.conv import ConvBackbone
from para.backbones.vit import ViTBackbone
from para.backbones.weights import load_backbone_file, load_backbone_hub
from para.errors import ConfigError, UnknownNameError
from para.fields import choice, number
from para.places import CONFIGS

if TYPE_CHECKING:
    from timm.layers import GroupNorm
    from timm.models.resnet import ResNet


@dataclass
class TimmConfig(BackboneConfig):
    """A timm network; a weight file may have timm's or the original authors' key names."""

    kind: str = "timm"
    timm_name: str = MISSING
    """Any timm model with features (`timm.list_models()`)."""
    width: float = number(1.0, above=0, most=16)
    """Channel multiplier of ResNets and ConvNeXts that are trained from scratch."""
    norm: str = choice("own", ("own", "group"))
    """own | group: replace a ResNet's batch norm by group norm when training from scratch, so
    that a prediction depends on neither the rest of the batch nor running statistics."""
    stem: str = choice("own", ("own", "patch"))
    """own | patch: replace the stem and the pooling of a ResNet that is trained from scratch by one
    convolution of stride 4."""

    def rules(self, key: str, run: Any) -> None:
        """There is such a network; what our own files name, timm is not asked."""
        super().rules(key, run)
        if self.timm_name in _names_in_our_files():
            return
        timm = _timm()
        if not timm.is_model(self.timm_name):
            raise UnknownNameError("timm model", self.timm_name, timm.list_models())


def _timm() -> ModuleType:
    """The package, imported without wandb: a seventh of the time, for tables that nobody writes."""
    withheld = "wandb" not in sys.modules
    if withheld:
        sys.modules["wandb"] = None  # type: ignore[assignment]
    try:
        import timm
    finally:
        if withheld:
            del sys.modules["wandb"]
    return timm


@cache
def _names_in_our_files() -> frozenset[str]:
    """Every `timm_name` of configs/backbone/."""
    files = [OmegaConf.load(file) for file in (CONFIGS / "backbone").glob("*.yaml")]
    return frozenset(file.timm_name for file in files if "timm_name" in file)


@BACKBONES.register("timm", TimmConfig)
def timm_backbone(cfg: TimmConfig, image_size: int, map_size: int | None) -> Backbone:
    """See `build_backbone`."""
    timm = _timm()
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    plain = timm.create_model(cfg.timm_name, num_classes=0)
    if not hasattr(plain, "forward_intermediates"):
        raise ConfigError(
            f"backbone.timm_name={cfg.timm_name} gives no intermediate features "
            "(forward_intermediates); choose another timm model."
        )
    is_vit = isinstance(plain, VisionTransformer | Eva)
    arguments: dict[str, Any] = {"num_classes": 0}
    if is_vit:
        patch = plain.patch_embed.patch_size[0]
        arguments["img_size"] = math.ceil(image_size / patch) * patch
    if cfg.weights == "random":
        arguments |= _from_scratch(plain, cfg)
        network = timm.create_model(cfg.timm_name, **arguments)
        if cfg.stem == "patch":
            _patch_stem(network)
    elif cfg.width != 1.0 or cfg.norm != "own" or cfg.stem != "own":
        raise ConfigError(
            f"backbone.width={cfg.width}, backbone.norm={cfg.norm} and backbone.stem={cfg.stem} "
            f"change the network, so backbone.weights={cfg.weights} cannot fit. Add "
            "backbone.width=1 backbone.norm=own backbone.stem=own, or use backbone.weights=random."
        )
    elif cfg.weights == "pretrained":
        network = load_backbone_hub(cfg.timm_name, **arguments)
    else:
        network = timm.create_model(cfg.timm_name, **arguments)
        load_backbone_file(network, cfg.weights)

    kind = ViTBackbone if is_vit else ConvBackbone
    return kind(network, image_size, map_size, cfg.channels)


def _from_scratch(plain: nn.Module, cfg: TimmConfig) -> dict[str, Any]:
    """Arguments of timm's constructor for a narrower network or one without batch norm."""
    from timm.models.convnext import ConvNeXt
    from timm.models.resnet import ResNet

    arguments: dict[str, Any] = {}
    if cfg.width != 1.0 and isinstance(plain, ResNet):
        # a stem of three 3x3 convolutions: the usual 7x7 has 64 channels whatever the width
        channels = tuple(int(width * cfg.width) for width in (64, 128, 256, 512))
        arguments |= {
            "channels": channels,
            "stem_type": "deep",
            "stem_width": channels[0] // 2,
        }
    elif cfg.width != 1.0 and isinstance(plain, ConvNeXt):
        widths = [info["num_chs"] for info in plain.feature_info]
        arguments["dims"] = tuple(int(width * cfg.width) for width in widths)
    elif cfg.width != 1.0:
        raise ConfigError(
            f"backbone.width={cfg.width}: only ResNets and ConvNeXts of timm take a width; "
            f"choose a smaller model than {cfg.timm_name} instead (vit_tiny_..., ..._atto)."
        )
    if cfg.norm == "group" and isinstance(plain, ResNet):
        # groups of 16 channels, whatever the width
        arguments["norm_layer"] = group_norm
    elif cfg.norm == "group":
        raise ConfigError(
            f"backbone.norm=group replaces the batch norm of a ResNet; {cfg.timm_name} is none."
        )
    if cfg.stem == "patch" and not isinstance(plain, ResNet):
        raise ConfigError(
            f"backbone.stem=patch replaces the stem of a ResNet; {cfg.timm_name} is none."
        )
    return arguments


def _patch_stem(network: ResNet) -> None:
    """One 8 x 8 convolution of stride 4 makes what the stem and the pooling behind it made.

    It costs a fifteenth of three 3 x 3 convolutions at half the image's size.
    """
    channels = network.feature_info[0]["num_chs"]
    network.conv1 = nn.Conv2d(3, channels, 8, stride=4, padding=2, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    network.feature_info[0]["reduction"] = 4


def group_norm(channels: int, **arguments: Any) -> GroupNorm:
    """Group norm with groups of 16 channels (or one group, if there are fewer)."""
    from timm.layers import GroupNorm

    return GroupNorm(channels, num_groups=max(1, channels // 16), **arguments)
