"""Frames in which a policy is told positions, and answers: the world, the camera, the image.

Torch tensors, on any device; decode in 64 bits on the CPU. Positions (B, ..., 3) are world points
[m], cameras are batches (B,).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from para.camera import Camera


class Frame(ABC):
    """Coordinates (..., 3) of points. `prefix` begins the names of their statistics."""

    prefix: ClassVar[str]

    @abstractmethod
    def encode(self, camera: Camera, positions: Tensor) -> tuple[Tensor, Tensor]:
        """World points (B, ..., 3) -> coordinates (B, ..., 3), and (B, ...) bool: can be learned.

        Coordinates are always finite.
        """

    @abstractmethod
    def decode(self, camera: Camera, coordinates: Tensor) -> tuple[Tensor, Tensor | None]:
        """Inverse of `encode`: world points (B, ..., 3), NaN where there is none; and pixels.

        Pixels (B, ..., 2) as (u, v), where the coordinates name some; else None.
        """

    def of_camera(self, camera: Camera) -> Camera:
        """The camera as it stands in this frame: what its rays are, to who thinks in it."""
        return camera


class WorldFrame(Frame):
    """x, y, z [m] of the world. A moved image changes nothing of them."""

    prefix = ""

    def encode(self, camera: Camera, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `Frame`."""
        return positions, torch.ones_like(positions[..., 0], dtype=torch.bool)

    def decode(self, camera: Camera, coordinates: Tensor) -> tuple[Tensor, None]:
        """See `Frame`."""
        return coordinates, None


class CameraFrame(Frame):
    """x right, y down, z forward [m] of the camera, rolled so that its intrinsics are triangular.

    As in OC-VLA (arXiv 2508.13103): what is predicted is where things are seen, and the extrinsics
    turn that into the world.
    """

    prefix = "camera_"

    def encode(self, camera: Camera, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `Frame`."""
        return (
            camera.upright().in_camera(positions),
            torch.ones_like(positions[..., 0], dtype=torch.bool),
        )

    def decode(self, camera: Camera, coordinates: Tensor) -> tuple[Tensor, None]:
        """See `Frame`."""
        return camera.upright().in_world(coordinates), None

    def of_camera(self, camera: Camera) -> Camera:
        """See `Frame`: at the origin."""
        upright = camera.upright()
        origin = torch.eye(4, dtype=upright.T_world_camera.dtype, device=upright.intrinsics.device)
        return replace(upright, T_world_camera=origin.expand_as(upright.T_world_camera))


class ImageFrame(Frame):
    """u / width, v / height and the world's z [m]: the pixel's ray meets the plane at that height.

    Points outside the image cannot be learned; they are kept within one image's size of it.
    """

    prefix = "image_"

    def encode(self, camera: Camera, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `Frame`."""
        pixels, depth = camera.project(positions)
        fractions = torch.stack([pixels[..., 0] / camera.width, pixels[..., 1] / camera.height], -1)
        fractions = torch.where(depth[..., None] > 0, fractions.clamp(-1, 2), -1)
        return torch.cat([fractions, positions[..., 2:]], -1), camera.in_view(pixels, depth)

    def decode(self, camera: Camera, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """See `Frame`; NaN where the ray misses, see `Camera.unproject_to_height`."""
        u, v, height = coordinates.unbind(-1)
        pixels = torch.stack([u * camera.width, v * camera.height], -1)
        return camera.unproject_to_height(pixels, height), pixels


WORLD, CAMERA, IMAGE = WorldFrame(), CameraFrame(), ImageFrame()
FRAMES: tuple[Frame, ...] = (WORLD, CAMERA, IMAGE)
"""All of them; a data set has the statistics of its positions in each."""
