"""Pictures of a run: an augmented batch with its labels drawn, and predicted heatmaps."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from para.camera import Camera
from para.data.observations import observations_of
from para.doubles import double_array
from para.types import ActionChunk, Observation

_TILE = 256


def draw_batch(batch: dict[str, Tensor], most: int = 16) -> np.ndarray:
    """(H, W, 3) uint8 mosaic: each sample with its waypoints and end effector projected into it.

    Waypoints go from yellow (next) to red (last); the white ring is the end effector now. If
    augmentation moved an image without its camera, the drawn labels leave the gripper's path.
    """
    waypoints = double_array(batch["waypoints"])
    tiles = []
    for observation, points in zip(observations_of(batch)[:most], waypoints, strict=False):
        tile, scale = _tile(observation.image)
        for k, pixel in enumerate(_pixels(observation.camera, points)):
            fraction = k / max(1, len(points) - 1)
            _dot(tile, pixel * scale, (255, int(220 * (1 - fraction)), 0))
        ee = _pixels(observation.camera, observation.ee_position[None])[0] * scale
        _dot(tile, ee, (255, 255, 255), radius=6, thickness=1)
        tiles.append(tile)
    return _mosaic(tiles)


def draw_heatmaps(
    observations: Sequence[Observation], chunks: Sequence[ActionChunk], most: int = 8
) -> np.ndarray | None:
    """(H, W, 3) uint8 mosaic of predicted heatmaps over their images; None without heatmaps."""
    tiles = []
    for observation, chunk in list(zip(observations, chunks, strict=True))[:most]:
        if chunk.heatmaps is None:
            return None
        tile, scale = _tile(observation.image)
        heat = chunk.heatmaps / chunk.heatmaps.max(axis=(1, 2), keepdims=True).clip(1e-9)
        heat = cv2.resize(heat.max(axis=0).astype(np.float32), (tile.shape[1], tile.shape[0]))
        colour = cv2.applyColorMap((heat * 255).clip(0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
        alpha = 0.7 * heat[..., None].clip(0, 1)
        tile = (tile * (1 - alpha) + colour[..., ::-1] * alpha).astype(np.uint8)
        for pixel in _pixels(observation.camera, chunk.positions):
            _dot(tile, pixel * scale, (0, 255, 255), radius=2)
        tiles.append(tile)
    return _mosaic(tiles)


def _tile(image: np.ndarray) -> tuple[np.ndarray, float]:
    scale = max(1, round(_TILE / image.shape[0]))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), scale


def _pixels(camera: Camera, points: np.ndarray) -> np.ndarray:
    return camera.project(np.asarray(points, dtype=np.float64))[0]


def _dot(
    image: np.ndarray, pixel: np.ndarray, colour: tuple, radius: int = 3, thickness: int = -1
) -> None:
    if np.isfinite(pixel).all() and (np.abs(pixel) < 1e5).all():
        centre = tuple(int(v) for v in np.floor(pixel))
        cv2.circle(image, centre, radius, colour, thickness, cv2.LINE_AA)


def _mosaic(tiles: list[np.ndarray]) -> np.ndarray:
    columns = int(np.ceil(np.sqrt(len(tiles))))
    blank = np.zeros_like(tiles[0])
    tiles = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows, axis=0)
