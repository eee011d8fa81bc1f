"""Refusals: each has its reason, and a plan that is not refused goes where the policy says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from para.safety import (
    RADIUS,
    SafetyConfig,
    Watch,
    judge,
    second_peaks,
    unfit_image,
    waypoint_confidence,
)
from para.types import ActionChunk, Observation
from tests.models.model_fixtures import default_camera

SIZE, CELLS, T = 128, 32, 6
SIGMA = 1.5


def blob(column: float, row: float, sigma: float = SIGMA) -> np.ndarray:
    x, y = np.arange(CELLS) - column, np.arange(CELLS)[:, None] - row
    heat = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return heat / heat.sum()


def plan(heatmap: np.ndarray | None = None) -> ActionChunk:
    """A straight way to the right, whose heatmaps are Gaussian unless told otherwise."""
    positions = np.linspace([0.0, 0.0, 0.2], [0.1, 0.1, 0.1], T)
    heat = np.tile(blob(15, 12) if heatmap is None else heatmap, (T, 1, 1))
    pixels = np.tile([15.5 * SIZE / CELLS, 12.5 * SIZE / CELLS], (T, 1))
    return ActionChunk(positions, np.ones(T, np.float32), None, heat, pixels)


def seen(**changes) -> Observation:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    start = np.array([0.0, 0.0, 0.22])
    return replace(Observation(noise, default_camera(SIZE), start, 0.3), **changes)


def verdict(chunk: ActionChunk, execute: int = 4, **bounds):
    return judge(SafetyConfig(**bounds), seen(), chunk, execute, 0.3)


def test_confidence_of_a_gaussian_is_that_of_the_formula():
    expected = 1 - np.exp(-(RADIUS**2) / (2 * SIGMA**2))
    np.testing.assert_allclose(waypoint_confidence(plan(), SIZE), expected, atol=0.02)
    even = np.full((CELLS, CELLS), 1 / CELLS**2)
    assert waypoint_confidence(plan(even), SIZE).max() < 0.03
    assert waypoint_confidence(replace(plan(), heatmaps=None), SIZE) is None
    two = 0.7 * blob(15, 12) + 0.3 * blob(15, 25)
    np.testing.assert_allclose(second_peaks(plan(two), SIZE, 0.2), 3 / 7, atol=1e-3)
    assert second_peaks(plan(), SIZE, 0.2).max() < 1e-3


def test_a_good_plan_is_left_as_it_is():
    judged = verdict(plan(), min_confidence=0.8, max_second=0.1)
    assert judged.refused == ""
    assert judged.plan is not None
    assert np.array_equal(judged.plan.positions, plan().positions)
    np.testing.assert_allclose(judged.seconds, 0.3)
    slow = verdict(plan(), max_speed=0.02)
    lengths = np.linalg.norm(np.diff(plan().positions, axis=0), axis=1)
    np.testing.assert_allclose(slow.seconds[1:], lengths / 0.02)


def moved(k: int, place) -> ActionChunk:
    positions = plan().positions
    positions[k] = place
    return replace(plan(), positions=positions)


@pytest.mark.parametrize(
    ("chunk", "bounds", "part"),
    [
        (moved(2, [0.5, 0, 0.1]), {}, "waypoint 3 leaves the workspace: x = 0.500"),
        (moved(0, [0, 0, -0.05]), {}, "waypoint 1 leaves the workspace: z = -0.050"),
        (moved(3, np.nan), {}, "the ray of waypoint 4 meets its height nowhere"),
        (replace(plan(), gripper=np.full(T, np.nan)), {}, "waypoint 1 is NaN"),
        (moved(2, [np.inf, 0, 0]), {}, "waypoint 3 is NaN or infinite"),
        (plan(np.full((CELLS, CELLS), np.nan)), {}, "confidence nan is below"),
        (moved(1, [0.3, 0.3, 0.1]), {"max_step": 0.2}, "waypoint 2 is 0."),
        (plan(blob(15, 12, 6)), {"min_confidence": 0.5}, "waypoint 1 is diffuse"),
        (plan(blob(15, 12) + blob(28, 12)), {"max_second": 0.5}, "two peaks far apart"),
    ],
)
def test_what_is_unsafe_is_refused_and_the_hand_stays(chunk, bounds, part):
    judged = verdict(chunk, **bounds)
    assert part in judged.refused
    assert np.array_equal(judged.plan.positions, np.tile(seen().ee_position, (T, 1)))
    assert not judged.plan.gripper.any()


@pytest.mark.parametrize(("opening", "sent"), [(1.0, 1.0), (0.55, 0.0), (0.02, 0.0)])
def test_a_refusal_does_not_drop_what_the_hand_holds(opening, sent):
    """A block of 44 mm in a hand of 80 mm: more than half open, and closed around it."""
    holding = replace(seen(), gripper=opening)
    judged = judge(SafetyConfig(), holding, moved(0, [9, 9, 9]), 4, 0.3)
    assert judged.refused
    assert judged.plan.gripper.tolist() == [sent] * T


def test_a_camera_that_moved_is_warned_of_and_from_twice_that_on_refused():
    for drift, warned, refused in (
        (None, False, False),
        (0.009, False, False),
        (0.012, True, False),
        (0.021, True, True),
    ):
        judged = judge(SafetyConfig(warn_drift=0.01), seen(), plan(), 4, 0.3, drift=drift)
        assert ("camera has moved" in judged.warning) == warned
        assert ("camera has moved" in judged.refused) == refused
        assert np.array_equal(judged.plan.positions, plan().positions) == (not refused)


def test_what_is_unsafe_later_is_not_reached():
    judged = verdict(moved(4, np.nan))
    assert judged.refused == ""
    assert np.array_equal(judged.plan.positions[4:], np.tile(plan().positions[3], (2, 1)))
    assert "waypoint 5" in verdict(moved(4, np.nan), execute=5).refused
    turned = replace(moved(0, np.nan), rotations=np.full((T, 3), np.nan))
    judged = judge(SafetyConfig(), seen(), turned, 4, 0.3, rotation=np.array([0.0, 0.0, 0.5]))
    assert "no place" in judged.refused
    assert (judged.plan.rotations == [0.0, 0.0, 0.5]).all()


def test_images_that_show_nothing():
    assert "black" in unfit_image(np.zeros((8, 8, 3), np.uint8))
    assert "one colour" in unfit_image(np.full((8, 8, 3), 200, np.uint8))
    assert unfit_image(seen().image) == ""


def test_a_frozen_camera_is_noticed_once_the_hand_has_moved():
    watch = Watch()
    assert watch.stale(seen()) == ""
    assert watch.stale(seen()) == ""  # the hand stands: the same image is right
    assert "moved by 50 mm" in watch.stale(seen(ee_position=np.array([0.05, 0.0, 0.22])))
    assert "stale" in watch.stale(seen(ee_position=np.array([0.05, 0.0, 0.22])))
    fresh = seen().image.copy()
    fresh[0, 0, 0] ^= 1
    assert watch.stale(seen(image=fresh, ee_position=np.array([0.05, 0.0, 0.22]))) == ""
