"""Augmentation on whole batches: the camera moves with the image, so world labels stay exact.

Crop, shift, scale and in-plane rotation are affine maps of pixel coordinates: they move the
intrinsics. Panning and tilting the camera about its centre is a homography: it moves the
extrinsics. All of them compose into one 3 x 3 map per sample, and the image is resampled once.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from para.camera import Camera
from para.data.config import AugmentConfig

ATTEMPTS = 8
"""Warps drawn per sample; the first that keeps the labels in view is taken, else none."""


def augment(
    batch: dict[str, Tensor], config: AugmentConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Augment a batch as made by `para.data.dataset.DemoDataset.batch`.

    Changes `image`, `intrinsics` and `T_world_camera`; labels are world points and stay. All frames
    of a `clip` change alike, and `image` stays its first frame. A warp
    that would push the end effector or a waypoint that was in view out of the image is drawn again,
    `ATTEMPTS` times at most; then the sample stays unwarped.

    Args:
        batch: The batch; it is not modified.
        config: Ranges; a range of 0 switches that augmentation off.
        generator: Source of all randomness, on the device of the batch.
    """
    batch = dict(batch)
    geometric = (config.crop, config.shift, config.scale, config.rotate_deg)
    if any(geometric) or config.camera_rotate_deg:
        batch |= _warp(batch, config, generator)
    if "clip" not in batch:
        batch["image"] = _recolour(batch["image"], config, generator)
        return batch
    # the frames of a clip below each other are one tall image, with one mean grey
    frames = batch["clip"].transpose(1, 2)
    tall = _recolour(frames.flatten(2, 3), config, generator)
    batch["clip"] = tall.view(frames.shape).transpose(1, 2).contiguous()
    batch["image"] = batch["clip"][:, 0].contiguous()
    return batch


# -------------------------------------------------------------------------------------- geometry


def _warp(
    batch: dict[str, Tensor], config: AugmentConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    size, height, width = len(batch["image"]), *batch["image"].shape[-2:]
    labels = torch.cat([batch["ee_position"][:, None], batch["waypoints"]], dim=1)

    # Candidates (attempts, B); the last one is no warp, so that there is always one to accept.
    affine = _affines(ATTEMPTS * size, width, height, config, generator)
    turn = _camera_turns(ATTEMPTS * size, config, generator)
    identity = torch.eye(3, device=affine.device).expand(1, size, 3, 3)
    affine = torch.cat([affine.view(ATTEMPTS, size, 3, 3), identity])
    turn = torch.cat([turn.view(ATTEMPTS, size, 3, 3), identity])

    camera = Camera(batch["intrinsics"], batch["T_world_camera"], width, height)
    repeated = Camera(
        camera.intrinsics.expand(ATTEMPTS + 1, -1, -1, -1),
        camera.T_world_camera.expand(ATTEMPTS + 1, -1, -1, -1),
        width,
        height,
    )
    turned, homography = repeated.rotated(turn)
    candidate = turned.warped(affine)
    was_in_view = camera.in_view(*camera.project(labels))
    in_view = candidate.in_view(*candidate.project(labels.expand(ATTEMPTS + 1, -1, -1, -1)))
    keeps_labels = (in_view | ~was_in_view).all(-1)
    keeps_labels[-1] = True
    chosen = keeps_labels.to(torch.uint8).argmax(0), torch.arange(size, device=affine.device)

    new_to_old = torch.linalg.inv((affine @ homography)[chosen])
    moved = {
        "intrinsics": candidate.intrinsics[chosen],
        "T_world_camera": candidate.T_world_camera[chosen],
    }
    if "clip" not in batch:
        return {"image": resample(batch["image"], new_to_old)} | moved
    clip = batch["clip"]
    frames = resample(clip.flatten(0, 1), new_to_old.repeat_interleave(clip.shape[1], 0))
    return {"clip": frames.view(clip.shape)} | moved


def resample(image: Tensor, new_to_old: Tensor) -> Tensor:
    """Warp images (B, C, H, W) by homographies (B, 3, 3) of pixel coordinates; edges repeat.

    The centre of pixel (i, j) is (u, v) = (j + 0.5, i + 0.5). In `grid_sample`'s coordinates with
    align_corners=False, -1 and 1 are the outer edges u = 0 and u = W: the same convention.
    """
    height, width = image.shape[-2:]
    v, u = torch.meshgrid(
        torch.arange(height, device=image.device) + 0.5,
        torch.arange(width, device=image.device) + 0.5,
        indexing="ij",
    )
    new = torch.stack([u, v, torch.ones_like(u)], 0).reshape(3, -1)
    to_grid = torch.tensor(
        [[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]], device=image.device
    )
    old = (to_grid @ new_to_old) @ new
    grid = (old[:, :2] / old[:, 2:]).view(-1, 2, height, width).permute(0, 2, 3, 1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def _affines(
    n: int, width: int, height: int, config: AugmentConfig, generator: torch.Generator
) -> Tensor:
    """Random affine maps of pixel coordinates, old to new: (n, 3, 3)."""
    draw = _uniform(7, n, generator)
    kept = 1 - config.crop * draw[0].abs()  # side of the crop, as a fraction of the image's
    zoom = (1 + config.scale * draw[1]) / kept
    angle = math.radians(config.rotate_deg) * draw[2]
    # The crop window moves within the image by up to half of what is cut away.
    right = width * (config.shift * draw[3] - zoom * 0.5 * (1 - kept) * draw[5])
    down = height * (config.shift * draw[4] - zoom * 0.5 * (1 - kept) * draw[6])
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    cx, cy = 0.5 * width, 0.5 * height
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [cos, -sin, cx + right - cos * cx + sin * cy]
    rows += [sin, cos, cy + down - sin * cx - cos * cy]
    return torch.stack([*rows, zero, zero, one], -1).view(n, 3, 3)


def _camera_turns(n: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Random pan and tilt, old camera frame to new camera frame: (n, 3, 3)."""
    pan, tilt = math.radians(config.camera_rotate_deg) * _uniform(2, n, generator)
    zero, one = torch.zeros_like(pan), torch.ones_like(pan)
    cp, sp, ct, st = pan.cos(), pan.sin(), tilt.cos(), tilt.sin()
    about_y = torch.stack([cp, zero, sp, zero, one, zero, -sp, zero, cp], -1).view(n, 3, 3)
    about_x = torch.stack([one, zero, zero, zero, ct, -st, zero, st, ct], -1).view(n, 3, 3)
    return about_x @ about_y


# ---------------------------------------------------------------------------------------- colour


def _recolour(image: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue as one colour matrix per sample, then noise.

    Contrast scales about the image's mean grey, saturation about each pixel's grey; hue rotates
    about the grey axis.
    """
    size = len(image)
    matrices = any((config.brightness, config.contrast, config.saturation, config.hue))
    if matrices:
        draw = _uniform(4, size, generator)[..., None, None]
        brightness = 1 + config.brightness * draw[0]
        contrast = 1 + config.contrast * draw[1]
        saturation = 1 + config.saturation * draw[2]
        angle = 2 * math.pi * config.hue * draw[3]
        identity = torch.eye(3, device=image.device)
        grey = torch.tensor([0.299, 0.587, 0.114], device=image.device).expand(3, 3)
        turn = _about_grey_axis(angle)
        matrix = brightness * contrast * (saturation * (identity - grey) + grey) @ turn
        mean = image.mean((2, 3))[..., None]
        offset = (1 - contrast) * brightness * (grey @ mean)
        flat = torch.baddbmm(offset, matrix, image.flatten(2))
        image = flat.view(image.shape)
    if config.noise:
        noise = torch.empty_like(image).normal_(0, config.noise, generator=generator)
        image = noise.add_(image)
    return image.clamp_(0, 1) if matrices or config.noise else image  # in place: it is ours


def _about_grey_axis(angle: Tensor) -> Tensor:
    """Rotation of RGB space about (1, 1, 1) by angles (B, 1, 1): (B, 3, 3) (Rodrigues)."""
    k = 1 / math.sqrt(3)
    cross = torch.tensor([[0, -k, k], [k, 0, -k], [-k, k, 0]], device=angle.device)
    return (
        torch.eye(3, device=angle.device)
        + angle.sin() * cross
        + (1 - angle.cos()) * (cross @ cross)
    )


def _uniform(rows: int, n: int, generator: torch.Generator) -> Tensor:
    """(rows, n) uniform in [-1, 1)."""
    return 2 * torch.rand(rows, n, generator=generator, device=generator.device) - 1
