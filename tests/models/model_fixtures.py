"""Configurations as the YAML files have them, and batches with exact geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from para.backbones import BACKBONES, BackboneConfig
from para.camera import Camera
from para.heads import HEADS
from para.policies.base import POLICIES, Policy, PolicyConfig
from para.types import Observation

CONFIGS = Path(__file__).parents[2] / "configs"
MODELS = [name for name in POLICIES.options() if POLICIES.schema(name).acts]
BACKBONE_NAMES = [name for name in BACKBONES.options() if not BACKBONES.schema(name).learns_video]
SMALL_VIDEO = {"frames": 3, "frame_stride": 6, "channels": 8, "norm_groups": 4, "blocks": [0, 1]}
SMALL_UNET = {
    "block_out_channels": [32, 32],  # diffusers makes group norms of 32 groups
    "down_block_types": ["DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"],
    "up_block_types": ["CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"],
    "num_attention_heads": [1, 2],
}
"""Changes to svd_tiny that make it fast enough for tests."""
SMALL = {"name": "small", "timm_name": "resnet18", "width": 0.25, "norm": "group", "channels": 32}


def model_config(name: str, **changes: object) -> PolicyConfig:
    """configs/model/<name>.yaml as its dataclass, with changes; `head` may be a dictionary."""
    values = OmegaConf.to_container(OmegaConf.load(CONFIGS / "model" / f"{name}.yaml"))
    schema, *others, _ = values.pop("defaults")
    values = {k: v for k, v in values.items() if "${" not in str(v)}  # the profile's, the task's
    merged = OmegaConf.structured(POLICIES.config(schema.removesuffix("_schema")))
    for other in others:
        merged.head = OmegaConf.structured(HEADS.config(other["head"]))
    return OmegaConf.to_object(OmegaConf.merge(merged, values, changes))


def turning_config(name: str, horizon: int) -> PolicyConfig:
    """`model_config` of a policy that says how the hand turns."""
    pixels = hasattr(model_config(name), "head")
    changes = {"head": {"rotation_bins": 36}} if pixels else {"rotations": True}
    return model_config(name, horizon=horizon, **changes)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest angle between hands [rad]: half a turn is none."""
    return float(np.abs((a - b + np.pi / 2) % np.pi - np.pi / 2).max())


def backbone_config(name: str | None = None, **changes: object) -> BackboneConfig:
    """configs/backbone/<name>.yaml as its dataclass, with changes; None: a small one."""
    values, kind = SMALL, "timm"
    if name:
        values = OmegaConf.to_container(OmegaConf.load(CONFIGS / "backbone" / f"{name}.yaml"))
        base = values.pop("defaults")[0]
        if not base.endswith("_schema"):
            return backbone_config(base, **values | changes)
        kind = base.removesuffix("_schema")
    return OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(BACKBONES.config(kind)), values, changes)
    )


def video_config(**changes: object) -> BackboneConfig:
    """svd_tiny, much smaller, with changes."""
    unet = SMALL_UNET | changes.pop("unet", {})
    return backbone_config("svd_tiny", **SMALL_VIDEO | changes, unet=unet)


def default_camera(size: int) -> Camera:
    """The benchmark's default view."""
    eye = 1.5 * np.array([np.cos(np.radians(50)), 0, np.sin(np.radians(50))])
    return Camera.look_at(eye, (0, 0, 0), 45, size, size)


def make_batch(batch: int, horizon: int, size: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """A training batch with random images and labels that are all in view."""
    generator = torch.Generator().manual_seed(seed)
    camera = default_camera(size)

    def uniform(low: list[float], high: list[float], *shape: int) -> torch.Tensor:
        lower, upper = torch.tensor(low), torch.tensor(high)
        return lower + (upper - lower) * torch.rand(*shape, len(low), generator=generator)

    low, high = [-0.19, -0.3, 0.0], [0.19, 0.3, 0.3]
    return {
        "image": torch.rand(batch, 3, size, size, generator=generator),
        "intrinsics": torch.from_numpy(camera.intrinsics).float().expand(batch, 3, 3).clone(),
        "T_world_camera": torch.from_numpy(camera.T_world_camera)
        .float()
        .expand(batch, 4, 4)
        .clone(),
        "ee_position": uniform(low, high, batch),
        "gripper": uniform([0.0], [1.0], batch)[:, 0],
        "waypoints": uniform(low, high, batch, horizon),
        "waypoint_gripper": uniform([0.0], [1.0], batch, horizon)[..., 0].round(),
        "waypoint_rotation": uniform([-0.5] * 3, [0.5] * 3, batch, horizon),
        "padded": torch.arange(horizon).expand(batch, horizon) >= horizon - 2,
    }


def observations(batch: dict[str, torch.Tensor]) -> list[Observation]:
    """The batch's images (rounded to uint8) and states as observations."""
    size = batch["image"].shape[-1]
    images = (batch["image"] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [
        Observation(
            image=images[i],
            camera=Camera(
                batch["intrinsics"][i].double().numpy(),
                batch["T_world_camera"][i].double().numpy(),
                size,
                size,
            ),
            ee_position=batch["ee_position"][i].double().numpy(),
            gripper=float(batch["gripper"][i]),
        )
        for i in range(len(images))
    ]


def statistics(batch: dict[str, torch.Tensor], policy: Policy) -> dict[str, torch.Tensor]:
    """What a data set would tell `policy` about the batch's positions, in its frame."""
    size = batch["image"].shape[-1]
    camera = Camera(batch["intrinsics"], batch["T_world_camera"], size, size)
    groups = {"ee": batch["ee_position"], "waypoint": batch["waypoints"]}
    encoded = {name: policy.frame.encode(camera, p)[0] for name, p in groups.items()}
    return {
        f"{policy.frame.prefix}{name}_{kind}": getattr(coordinates.reshape(-1, 3), kind)(0)
        for name, coordinates in encoded.items()
        for kind in ("mean", "std")
    }
