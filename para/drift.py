"""Has the camera moved? The end effector's pixel as it is tracked, and as it is projected.

A tripod that was knocked shows everything elsewhere, while the policy is still told the old camera:
the hand then goes aside by just so much, and the plan looks as sure as ever. So corners of the
first image are followed into each later one (pyramidal Lucas-Kanade, Bouguet 2001, there and back
again), and a similarity p -> A p + b is fitted to them that most agree on (RANSAC, Fischler &
Bolles 1981): what stands still. Hand and objects move otherwise, and are outvoted. A place X of the
world that the told camera projects to the pixel p is then seen at q = A p + b, and

    drift(X) = z |K^-1 (q - p)|,    z = depth of X

is how far off X is taken to be, across its ray, in metres. A camera that turns or is shifted by
little moves the picture nearly by a similarity; `benchmarks/drift.py` measures what is left.

The first image is believed: a camera that had moved before it is for `scripts/check_data.py` and
`scripts/calibrate.py`. A camera that is told anew, such as one on the wrist, begins again.
"""

from __future__ import annotations

import cv2
import numpy as np

from para.camera import Camera
from para.types import ActionChunk, Observation

SIDE = 128
"""Images are compared at this size [px]; the lengths below belong to it."""
BLUR = 0.7
"""Standard deviation of the blur before [px]: edges that a renderer or a chip left jagged."""
CORNERS, QUALITY, APART = 200, 0.003, 3.2
"""Corners of the first image: at most so many, the weakest in parts of the strongest (Shi & Tomasi
1994), and their least distance [px]."""
WINDOW, LEVELS = 15, 2
"""What is compared around a corner [px], and how often the image is halved: steps of up to a sixth
of the image are found."""
BACK = 0.5
"""A corner that is followed back ends so close to where it was, or is not believed [px]."""
AGREE = 1.3
"""Corners agree with a similarity that are so close to where it puts them [px]."""
FEWEST = 10
"""So many corners must agree, and half of those that were followed, or nothing is known."""


class DriftWatch:
    """Follows one camera's images; see the module."""

    def __init__(self) -> None:
        self._camera: Camera | None = None
        self._first = np.zeros((SIDE, SIDE), np.uint8)
        self._corners: np.ndarray | None = None

    def drift(self, observation: Observation, places: np.ndarray) -> float | None:
        """How far off places of the world are taken to be, at most [m].

        Args:
            observation: Its camera is the one that is told. The first image is only remembered.
            places: (N, 3) where it matters, such as the hand and where it goes, world frame [m];
                those that are NaN or behind the camera do not count.

        Returns:
            The largest drift; 0 for the first image. None where too little is recognised: another
            light, much noise, an even picture, or a camera that moved too far at once.
        """
        grey = cv2.cvtColor(observation.image, cv2.COLOR_RGB2GRAY)
        grey = cv2.GaussianBlur(
            cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), (0, 0), BLUR
        )
        if self._camera is None or not _alike(self._camera, observation.camera):
            self._camera, self._first = observation.camera, grey
            self._corners = cv2.goodFeaturesToTrack(grey, CORNERS, QUALITY, APART)
            return 0.0
        moved = self._similarity(grey)
        if moved is None:
            return None
        camera = observation.camera.resized(SIDE, SIDE)
        pixels, depth = camera.project(np.asarray(places, np.float64))
        ahead = depth > 0  # False for NaN
        if not ahead.any():
            return None
        shift = pixels[ahead] @ (moved[:, :2] - np.eye(2)).T + moved[:, 2]
        across = shift @ np.linalg.inv(camera.intrinsics)[:2, :2].T
        return float((depth[ahead] * np.linalg.norm(across, axis=1)).max())

    def _similarity(self, grey: np.ndarray) -> np.ndarray | None:
        """(2, 3): pixels of the first image -> pixels of this one, for what stands still."""
        if self._corners is None or len(self._corners) < FEWEST:
            return None
        search = {"winSize": (WINDOW, WINDOW), "maxLevel": LEVELS}
        there, found, _ = cv2.calcOpticalFlowPyrLK(self._first, grey, self._corners, None, **search)
        back, again, _ = cv2.calcOpticalFlowPyrLK(grey, self._first, there, None, **search)
        returned = np.linalg.norm((back - self._corners)[:, 0], axis=1) < BACK
        kept = (found[:, 0] == 1) & (again[:, 0] == 1) & returned
        if kept.sum() < FEWEST:
            return None
        moved, agree = cv2.estimateAffinePartial2D(
            self._corners[kept], there[kept], ransacReprojThreshold=AGREE
        )
        if moved is None or agree.sum() < max(FEWEST, kept.sum() / 2):
            return None
        return moved


def places(observation: Observation, chunk: ActionChunk, execute: int) -> np.ndarray:
    """(1 + execute, 3): where the hand is and where it is sent, world frame [m]."""
    return np.vstack([observation.ee_position, chunk.positions[:execute]])


def _alike(a: Camera, b: Camera) -> bool:
    """Are two cameras told alike?"""
    matrices = (a.intrinsics, b.intrinsics), (a.T_world_camera, b.T_world_camera)
    return (a.width, a.height) == (b.width, b.height) and all(
        np.array_equal(one, other) for one, other in matrices
    )
