"""Images of any size as what a policy reads: cut to the middle square, resized, camera and all."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from para.camera import Camera
from para.data.format import Episode, decode_image, encode_image


def fitted(image: np.ndarray, camera: Camera, size: int) -> tuple[np.ndarray, Camera]:
    """An image (H, W, 3) and its camera, cut to the middle square and resized to size x size."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    if (height, width) != (side, side):
        image = image[top : top + side, left : left + side]
        camera = camera.cropped(left, top, side, side)
    if side != size:
        how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        image = cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=how)
        camera = camera.resized(size, size)
    return image, camera


def fitted_episode(episode: Episode, size: int) -> Episode:
    """An episode whose images are `fitted`; itself where they have that size already."""
    frames, matrices = [], []
    for encoded, K in zip(episode.frames, episode.arrays["obs/intrinsics"], strict=True):
        image = decode_image(encoded)
        height, width = image.shape[:2]
        if (height, width) == (size, size):
            return episode
        image, camera = fitted(image, Camera(K, np.eye(4), width, height), size)
        frames.append(encode_image(image))
        matrices.append(camera.intrinsics)
    return replace(
        episode, frames=frames, arrays=episode.arrays | {"obs/intrinsics": np.stack(matrices)}
    )
