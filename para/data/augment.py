"""Augmentation on whole batches: the camera moves with the image, so world labels stay exact.

Crop, shift, scale and in-plane rotation are affine maps of pixel coordinates: they move the
intrinsics. Panning and tilting the camera about its centre is a homography: it moves the
extrinsics. All of them compose into one 3 x 3 map per sample, and the image is resampled once.

Decisions are made for the whole batch; then its images are redrawn one after the other, so that
what is between two operations stays in the processor's cache: on whole batches the same operations
take three times as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from para.camera import Camera, between_centres
from para.data.config import AugmentConfig
from para.doubles import double_array

ATTEMPTS = 8
"""Warps drawn per sample; the first that keeps the labels in view is taken, else none."""


def augment(
    batch: dict[str, Tensor], config: AugmentConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Augment a batch as made by `para.data.dataset.DemoDataset.batch`, on the CPU.

    Changes `image`, `intrinsics` and `T_world_camera`; labels are world points and stay. All frames
    of a `clip` change alike, and `image` stays its first frame. A warp that would push the end
    effector or a waypoint that was in view out of the image is drawn again, `ATTEMPTS` times at
    most; then the sample stays unwarped. An error of the told camera moves `T_world_camera` alone,
    as a bad calibration would.

    Args:
        batch: The batch; it is not modified.
        config: Ranges; a range of 0 switches that augmentation off.
        generator: Source of all randomness.
    """
    batch = dict(batch)
    new_to_old = None
    geometric = (config.crop, config.shift, config.scale, config.rotate_deg)
    if any(geometric) or config.camera_rotate_deg:
        moved, new_to_old = _move_cameras(batch, config, generator)
        batch |= moved
    if config.camera_error_deg or config.camera_error_mm:
        batch["T_world_camera"] = _wrongly_told(batch["T_world_camera"], config, generator)
    frames = batch["clip"] if "clip" in batch else batch["image"][:, None]
    colours = _colours(len(frames), config, generator)
    noise = None
    if config.noise:
        noise = torch.empty_like(frames).normal_(0, config.noise, generator=generator)
    frames = redraw(frames, new_to_old, colours, noise)
    if "clip" in batch:
        batch["clip"] = frames.contiguous()
    return batch | {"image": frames[:, 0].contiguous(memory_format=torch.channels_last)}


def redraw(
    frames: Tensor,
    new_to_old: Tensor | None = None,
    colours: Colours | None = None,
    noise: Tensor | None = None,
) -> Tensor:
    """Warp, recolour and roughen frames (B, F, 3, H, W) in [0, 1]; those of a sample change alike.

    Args:
        frames: On the CPU; they are not modified.
        new_to_old: Homographies (B, 3, 3) of pixel coordinates; edges repeat.
        colours: Of each sample.
        noise: (B, F, 3, H, W), is added.

    Returns:
        (B, F, 3, H, W), RGB beside each other in memory (channels last).
    """
    old, grain = _pixels(frames), None if noise is None else _pixels(noise)
    new = np.empty_like(old)
    count, length, height, width, _ = old.shape
    if new_to_old is not None:
        maps = between_centres(double_array(new_to_old))
        warped = np.empty_like(old[0])
    for i in range(count):
        drawn = old[i]
        if new_to_old is not None:
            drawn = new[i] if colours is None else warped
            for before, after in zip(old[i], drawn, strict=True):
                cv2.warpPerspective(
                    before.copy(),  # into the cache, in order: the warp reads across
                    *(maps[i], (width, height), after),
                    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                    borderMode=cv2.BORDER_REPLICATE,
                )
        # frames below each other are one tall image, with one mean
        tall = (length * height, width, 3)
        if colours is not None:
            drawn = drawn.reshape(tall)
            cv2.transform(drawn, colours.seen_on(i, cv2.mean(drawn)), new[i].reshape(tall))
        elif new_to_old is None:
            new[i] = drawn
        if grain is not None:
            new[i] += grain[i]
        if colours is not None or grain is not None:
            np.clip(new[i], 0, 1, out=new[i])
    return torch.from_numpy(new).permute(0, 1, 4, 2, 3)


def _pixels(frames: Tensor) -> np.ndarray:
    """(B, F, 3, H, W) -> (B, F, H, W, 3), copied only where memory is not in that order."""
    return frames.permute(0, 1, 3, 4, 2).contiguous().numpy()


# -------------------------------------------------------------------------------------- geometry


def _move_cameras(
    batch: dict[str, Tensor], config: AugmentConfig, generator: torch.Generator
) -> tuple[dict[str, Tensor], Tensor]:
    """Where the cameras go, and where their images come from: homographies (B, 3, 3)."""
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
    return moved, new_to_old


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


def _wrongly_told(
    T_world_camera: Tensor, config: AugmentConfig, generator: torch.Generator
) -> Tensor:
    """Cameras (B, 4, 4) turned about their centres and shifted, each in a direction of its own."""
    size = len(T_world_camera)
    axis, way = torch.randn(2, size, 3, generator=generator)
    amount = torch.rand(2, size, 1, generator=generator)
    x, y, z = (math.radians(config.camera_error_deg) * amount[0] * normalize(axis)).T
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).view(size, 3, 3)
    told = T_world_camera.clone()
    told[:, :3, :3] = told[:, :3, :3] @ torch.linalg.matrix_exp(cross)
    told[:, :3, 3] += config.camera_error_mm / 1000 * amount[1] * normalize(way)
    return told


# ---------------------------------------------------------------------------------------- colour


_GREY = (0.299, 0.587, 0.114)


class Colours(NamedTuple):
    """How the colours of samples change.

    Attributes:
        matrices: (B, 3, 3), what becomes of RGB.
        lifts: (B,), part of the image's mean grey that is added to each channel.
    """

    matrices: np.ndarray
    lifts: np.ndarray

    def seen_on(self, sample: int, mean: Sequence[float]) -> np.ndarray:
        """The affine map (3, 4) of RGB for an image with these means of R, G and B."""
        lift = self.lifts[sample] * float(np.dot(_GREY, mean[:3]))
        return np.column_stack([self.matrices[sample], np.full(3, lift)])


def _colours(size: int, config: AugmentConfig, generator: torch.Generator) -> Colours | None:
    """Brightness, contrast, saturation and hue as one colour matrix per sample.

    Contrast scales about the image's mean grey, saturation about each pixel's grey; hue rotates
    about the grey axis.
    """
    if not any((config.brightness, config.contrast, config.saturation, config.hue)):
        return None
    draw = _uniform(4, size, generator)[..., None, None]
    brightness = 1 + config.brightness * draw[0]
    contrast = 1 + config.contrast * draw[1]
    saturation = 1 + config.saturation * draw[2]
    angle = 2 * math.pi * config.hue * draw[3]
    grey = torch.tensor(_GREY).expand(3, 3)
    matrix = saturation * (torch.eye(3) - grey) + grey
    matrix = brightness * contrast * matrix @ _about_grey_axis(angle)
    lift = (1 - contrast) * brightness
    return Colours(matrix.numpy(), lift.flatten().numpy())


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
