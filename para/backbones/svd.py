"""Building a `VideoModel` as a configuration says: from scratch, from a folder or from the hub.

diffusers and transformers take seconds to import, so only those who build a video model pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from para.backbones.codec import Codec, KlCodec, PcaCodec
from para.backbones.video_model import VideoModel
from para.backbones.weights import load_strict
from para.errors import CheckpointError, ConfigError
from para.files import read_json

if TYPE_CHECKING:
    from para.backbones.video import VideoBackboneConfig

_CLASSES = {
    "unet": "UNetSpatioTemporalConditionModel",
    "vae": "AutoencoderKLTemporalDecoder",
}
"""What the config.json of a part must name; transformers' parts name none."""
_LORA_LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]


def build_video_model(cfg: VideoBackboneConfig) -> VideoModel:
    """Build UNet, codec and image encoder, and load their weights where `cfg.weights` has some.

    Raises:
        ConfigError: An architecture that cannot be built, or does not fit the codec.
        CheckpointError: The weights cannot be had, are not Stable Video Diffusion's, lack a part,
            or belong to another architecture.
    """
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = None
    if cfg.weights != "random":
        parts = ["unet"] + ["vae"] * (cfg.codec == "kl") + ["image_encoder"] * cfg.image_encoder
        folder = _folder(cfg, parts)
    unet = _built(UNetSpatioTemporalConditionModel, "unet", cfg.unet)
    codec: Codec
    if cfg.codec == "kl":
        vae = _built(AutoencoderKLTemporalDecoder, "vae", cfg.vae)
        _load(vae, folder, "vae")
        codec = KlCodec(vae)
    else:
        codec = PcaCodec(unet.config.out_channels)
    encoder = None
    if cfg.image_encoder:
        encoder = _built(
            lambda **values: CLIPVisionModelWithProjection(CLIPVisionConfig(**values)),
            *("clip", cfg.clip),
        )
        _load(encoder, folder, "image_encoder")
    _load(unet, folder, "unet")
    _check_channels(unet.config, codec)

    for module in unet.modules():
        if isinstance(module, nn.GroupNorm):
            _regroup(module, cfg.norm_groups)
    if cfg.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    if cfg.lora_rank:
        _add_lora(unet, cfg.lora_rank)
    return VideoModel(unet, codec, encoder, cfg.frames, cfg.added_time_ids)


def _built(make: Any, key: str, values: Mapping[str, Any]) -> nn.Module:
    """`make(**values)`; values that it refuses are an error that names their key."""
    try:
        return make(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise ConfigError(
            f"backbone.{key} describes no network that can be built: {str(error).splitlines()[0]}"
        ) from error


def _regroup(norm: nn.GroupNorm, groups: int) -> None:
    if norm.num_channels % groups:
        raise ConfigError(
            f"backbone.norm_groups={groups} does not divide {norm.num_channels}, the channels of a "
            "layer of backbone.unet."
        )
    norm.num_groups = groups


def _check_channels(unet: Any, codec: Codec) -> None:
    expected = {"in_channels": 2 * codec.channels, "out_channels": codec.channels}
    for name, value in expected.items():
        if unet[name] != value:
            raise ConfigError(
                f"backbone.unet.{name}={unet[name]} must be {value}: the codec has "
                f"{codec.channels} latent channels, and the UNet reads a noisy frame and the first "
                "frame."
            )


def _add_lora(unet: nn.Module, rank: int) -> None:
    """Freeze the UNet but for low-rank updates of its attention layers."""
    from peft import LoraConfig, inject_adapter_in_model

    unet.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=_LORA_LAYERS), unet)


# --- weights -------------------------------------------------------------------------------------


def _folder(cfg: VideoBackboneConfig, parts: list[str]) -> Path:
    """The folder in diffusers' format that holds `parts`, each with its weights."""
    if cfg.weights == "pretrained":
        folder = _hub_folder(cfg.hub, parts)
    else:
        folder = Path(cfg.weights).expanduser()
        if not folder.is_dir():
            raise CheckpointError(
                f"No folder at {folder}. backbone.weights is the path of a Stable Video Diffusion "
                "folder in diffusers' format (with unet/, vae/, ...), pretrained or random."
            )
    there = sorted(path.parent.name for path in folder.glob("*/config.json"))
    for part in parts:
        if part not in there:
            raise CheckpointError(
                f"{folder} has no {part}/config.json, so it is no Stable Video Diffusion in "
                f"diffusers' format; it has: {', '.join(there) or 'none of its parts'}. Copy the "
                f"whole folder of {cfg.hub}, with {', '.join(p + '/' for p in parts)}."
            )
        if not _weight_files(folder / part):
            raise CheckpointError(f"{folder / part} has a config.json but no *.safetensors.")
        _check_class(folder / part)
    return folder


def _check_class(folder: Path) -> None:
    """Refuse the part of another pipeline, whose config.json names another class."""
    config = read_json(folder / "config.json", CheckpointError, "Copy the whole folder again.")
    name = config.get("_class_name")
    expected = _CLASSES.get(folder.name, name)
    if name != expected:
        raise CheckpointError(
            f"{folder} holds a {name}, not a {expected}: it is not part of Stable Video Diffusion."
        )


def _hub_folder(hub: str, parts: list[str]) -> Path:
    """The hub's cache of these parts, fetched where it can be."""
    from huggingface_hub import snapshot_download

    patterns = [
        f"{part}/{name}" for part in parts for name in ("config.json", "*model.safetensors")
    ]
    try:
        return Path(snapshot_download(hub, allow_patterns=patterns))
    except Exception as error:  # offline, refused, gated, unknown: each raises its own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(
            f"The published weights {hub} cannot be had ({reason}). Three ways out:\n"
            "  1. a folder: backbone.weights=PATH (diffusers' format: unet/, vae/, ...)\n"
            "  2. from scratch: backbone.weights=random, or backbone=svd_tiny at a size that "
            "trains on a CPU\n"
            "  3. fetch them into the hub's cache on a machine with internet, then copy the cache "
            "(HF_HOME, by default ~/.cache/huggingface):\n"
            f"       hf download {hub} {' '.join(f'--include {p!r}' for p in patterns)}"
        ) from error


def _weight_files(folder: Path) -> list[Path]:
    """Full-precision weights; variants (*.fp16.safetensors) only where there is nothing else."""
    files = sorted(folder.glob("*.safetensors"))
    return [path for path in files if ".fp16" not in path.name] or files


def _load(module: nn.Module, folder: Path | None, part: str) -> None:
    """Load the weights of a part into `module`; None: it keeps its random start."""
    if folder is None:
        return
    from safetensors.torch import load_file

    state = {}
    for path in _weight_files(folder / part):
        try:
            state |= load_file(path)
        except Exception as error:  # safetensors has its own exceptions for a damaged file
            raise CheckpointError(f"{path} cannot be read (truncated?): {error}") from error
    state = {key: value.to(torch.float32) for key, value in state.items()}
    skipped = [key for key in state if key.endswith("position_ids")]  # a constant of old CLIPs
    load_strict(module, {k: v for k, v in state.items() if k not in skipped}, str(folder / part))
