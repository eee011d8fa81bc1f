"""How well projected poses move with the image: what all checks of geometry rest on.

Between two frames the image moves at the tool as the tool moves. With the optical flow f_t at the
projected tool p_t (mean of a window) and the projected motion d_t = p_{t+1} - p_t, the agreement

    A = sum f_t . d_t / sqrt(sum |f_t|^2  sum |d_t|^2)        in [-1, 1]

is near 1 where poses, cameras and images belong together, and falls when the tool is projected
elsewhere (there is no motion) or moves another way. It needs no marker and no model of the robot.
Flow: DIS (Kroeger et al., ECCV 2016), from OpenCV.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from para.camera import Camera
from para.data.format import Episode

SIDE = 160
"""Flow is measured in images of at most so many px."""
WINDOW = 0.03
"""Half a window's side, as a part of the image's width."""


@dataclass(frozen=True)
class Seen:
    """A demo as the checks look at it.

    Attributes:
        positions: (N, 3) tool centre [m].
        intrinsics: (N, 3, 3) [px of the original image].
        T_world_camera: (N, 4, 4) [m].
        width: Of the original image [px].
        height: Of the original image [px].
        flow: (N - 1, h, w, 2) motion from each frame to the next [px of the reduced image].
    """

    positions: np.ndarray
    intrinsics: np.ndarray
    T_world_camera: np.ndarray
    width: int
    height: int
    flow: np.ndarray

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Projected tool (N, 2) [px] and depths (N,) [m]."""
        cameras = Camera(self.intrinsics, self.T_world_camera, self.width, self.height)
        return cameras.project(self.positions)

    def in_view(self) -> np.ndarray:
        """(N,) bool: is the tool in the image?"""
        cameras = Camera(self.intrinsics, self.T_world_camera, self.width, self.height)
        return cameras.in_view(*self.pixels())


Change = Callable[[Seen], Seen]
"""A demo as it would be without a fault."""


def look(episode: Episode) -> Seen:
    """What the checks see of a demo."""
    images = episode.images()
    height, width = images.shape[1:3]
    scale = min(1.0, SIDE / max(height, width))
    size = (round(width * scale), round(height * scale))
    grey = [cv2.cvtColor(cv2.resize(i, size), cv2.COLOR_RGB2GRAY) for i in images]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = [dis.calc(a, b, None) for a, b in itertools.pairwise(grey)]
    return Seen(
        positions=episode.arrays["obs/ee_pose"][:, :3].astype(np.float64),
        intrinsics=episode.arrays["obs/intrinsics"],
        T_world_camera=episode.arrays["obs/T_world_camera"],
        width=width,
        height=height,
        flow=np.stack(flow) if flow else np.zeros((0, size[1], size[0], 2), np.float32),
    )


def agreement(demos: Sequence[Seen], lag: int = 0) -> float:
    """A of some demos together, with poses taken `lag` frames later than the images.

    0 where nothing moves.
    """
    product = measured = projected = 0.0
    for demo in demos:
        pixels, depth = demo.pixels()
        scale = demo.flow.shape[2] / demo.width
        moved = np.diff(pixels, axis=0) * scale
        frames = np.arange(max(0, -lag), min(len(moved), len(moved) - lag))
        for t in frames:
            d = moved[t + lag] if depth[t + lag] > 0 else np.zeros(2)
            f = _at(demo.flow[t], pixels[t + lag] * scale) if depth[t + lag] > 0 else d
            product += f @ d
            measured += f @ f
            projected += d @ d
    return float(product / np.sqrt(max(measured * projected, 1e-9)))


def best_lag(demos: Sequence[Seen], most: int = 6) -> tuple[float, float, float]:
    """By how many frames poses lag behind the images, and A there and without.

    Positive: frame t's image shows what the pose says only at t + lag. A parabola through the
    highest A and its neighbours gives parts of a frame.
    """
    lags = np.arange(-most, most + 1)
    values = np.array([agreement(demos, int(lag)) for lag in lags])
    k = int(values[1:-1].argmax()) + 1
    before, top, after = values[k - 1 : k + 2]
    bend = before - 2 * top + after
    part = 0.5 * (before - after) / bend if bend < -1e-9 else 0.0
    return float(lags[k] + np.clip(part, -0.5, 0.5)), float(top), float(values[most])


def _at(flow: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Mean flow in the window around a pixel; zero outside the image."""
    height, width = flow.shape[:2]
    if not (0 <= pixel[0] < width and 0 <= pixel[1] < height):
        return np.zeros(2)
    j, i, reach = int(pixel[0]), int(pixel[1]), max(1, round(WINDOW * width))
    window = flow[max(i - reach, 0) : i + reach + 1, max(j - reach, 0) : j + reach + 1]
    return window.reshape(-1, 2).mean(0).astype(np.float64)
