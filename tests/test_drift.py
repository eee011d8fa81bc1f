"""A camera that moves is seen, and what else moves is not taken for it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from para.camera import Camera
from para.drift import DriftWatch, places
from para.types import ActionChunk, Observation

SIZE = 160
CAMERA = Camera.look_at((0.96, 0, 1.15), (0, 0, 0), 45, SIZE, SIZE)
PLACES = np.array([[0.0, 0.0, 0.2], [0.1, -0.1, 0.03], [np.nan, 0, 0]])


def scene(seed: int = 0) -> np.ndarray:
    """Soft blots of many colours (SIZE, SIZE, 3) uint8."""
    blots = np.random.default_rng(seed).normal(128, 400, (SIZE, SIZE, 3))
    return cv2.GaussianBlur(blots, (0, 0), 3).clip(0, 255).astype(np.uint8)


def seen(image: np.ndarray, camera: Camera = CAMERA) -> Observation:
    return Observation(image, camera, PLACES[0], 1.0)


def turned(image: np.ndarray, degrees: float, axis: tuple[float, ...]) -> tuple[np.ndarray, float]:
    """The image after the camera turned by so much, and how far PLACES then look off [m]."""
    real, homography = CAMERA.rotated(Rotation.from_rotvec(axis, degrees=True).as_matrix())
    (before, depth), (after, _) = CAMERA.project(PLACES[:2]), real.project(PLACES[:2])
    off = depth * np.linalg.norm(after - before, axis=1) / CAMERA.intrinsics[0, 0]
    return cv2.warpPerspective(
        image, homography, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT
    ), off.max()


@pytest.mark.parametrize("axis", [(0.3, 0, 0), (0, 1, 0), (0.5, -0.8, 1), (0, 0, 3), (0, 3, 0)])
def test_a_camera_that_turns_is_measured(axis):
    watch = DriftWatch()
    assert watch.drift(seen(scene()), PLACES) == 0
    image, off = turned(scene(), np.linalg.norm(axis), axis)
    assert watch.drift(seen(image), PLACES) == pytest.approx(off, rel=0.1, abs=0.001)


def test_what_moves_in_front_of_a_camera_is_not_its_drift():
    watch, hand = DriftWatch(), scene(1)[:70, :50]
    rng = np.random.default_rng(0)
    for k in range(6):
        image = scene()
        image[10 * k : 10 * k + 70, 15 * k : 15 * k + 50] = hand
        image = (image + rng.normal(0, 5, image.shape)).clip(0, 255).astype(np.uint8)
        assert watch.drift(seen(image), PLACES) < 0.002


def test_where_nothing_is_recognised_nothing_is_said():
    for first, then in (
        (scene(), scene(1)),
        (np.full_like(scene(), 90), scene()),
        (scene(), scene() * 0),
    ):
        watch = DriftWatch()
        watch.drift(seen(first), PLACES)
        assert watch.drift(seen(then), PLACES) is None
    watch = DriftWatch()
    watch.drift(seen(scene()), PLACES)
    assert watch.drift(seen(scene()), PLACES[2:]) is None


def test_a_camera_that_is_told_anew_begins_again():
    watch = DriftWatch()
    image, off = turned(scene(), 2, (0, 2, 0))
    watch.drift(seen(scene()), PLACES)
    assert watch.drift(seen(image), PLACES) > 0.8 * off > 0.02
    moved = replace(CAMERA, T_world_camera=CAMERA.T_world_camera + 1e-3 * np.eye(4, k=3))
    assert watch.drift(seen(image, moved), PLACES) == 0
    assert watch.drift(seen(image, moved), PLACES) < 0.001


def test_it_matters_at_the_hand_and_where_it_goes():
    chunk = ActionChunk(np.arange(18.0).reshape(6, 3), np.ones(6))
    where = places(seen(scene()), chunk, 2)
    assert np.array_equal(where, [PLACES[0], [0, 1, 2], [3, 4, 5]])
