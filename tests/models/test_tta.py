"""Test-time augmentation: looks are true images of other cameras, and the median is the plan."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_fixtures import (
    MODELS,
    apart,
    backbone_config,
    default_camera,
    make_batch,
    observations,
    turning_config,
)

from para.camera import Camera
from para.policies.base import POLICIES, ObservationError, build_policy
from para.policies.tta import NEEDED, agreed, looks
from para.types import ActionChunk, Inference, Observation
from tests.markers import drawn, found

SIZE, HORIZON = 96, 3


def _seen(image: np.ndarray, camera: Camera) -> Observation:
    return Observation(image, camera, np.array([0.0, 0.0, 0.2]), 1.0)


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.0), (-0.15, 0.2, 0.05), (0.12, -0.22, 0.1)])
def test_what_is_drawn_is_where_the_camera_of_each_look_says(place):
    camera = default_camera(SIZE)
    (pixel,), _ = camera.project(np.array([place]))
    pixels = []
    for look in looks(_seen(drawn(pixel, SIZE), camera), 12):
        pixels.append(found(look.image))
        expected, _ = look.camera.validate().project(np.array([place]))
        np.testing.assert_allclose(pixels[-1], expected[0], atol=0.2)
        point = look.camera.unproject_to_height(pixels[-1][None], np.array([place[2]]))
        np.testing.assert_allclose(point, [place], atol=0.005)
    assert np.ptp(pixels, axis=0).min() > 5, "the looks differ"


def test_the_first_look_is_the_observation_and_more_looks_are_further_ones():
    seen = _seen(np.zeros((SIZE, SIZE, 3), np.uint8), default_camera(SIZE))
    few, many = looks(seen, 3), looks(seen, 6)
    assert few[0] is seen
    for one, same in zip(few, many, strict=False):
        np.testing.assert_array_equal(one.camera.intrinsics, same.camera.intrinsics)
    assert len({look.camera.intrinsics.tobytes() for look in many}) == 6


@given(st.integers(1, 9), st.tuples(*(st.floats(-0.3, 0.3),) * 3), st.floats(-1.5, 1.5))
def test_looks_that_agree_say_what_they_agree_on(count, place, yaw):
    """Also where some of them call the same grasp by its other name."""
    place = np.array(place)
    chunks = [
        ActionChunk(
            *(place[None], np.ones(1)),
            # half a turn about the hand's own axis: roll and pitch change their signs
            rotations=np.array([[-0.1, 0.2, yaw - np.pi] if i % 2 else [0.1, -0.2, yaw]]),
        )
        for i in range(count)
    ]
    plan = agreed(chunks)
    np.testing.assert_allclose(plan.positions, [place])
    np.testing.assert_allclose(plan.rotations, [[0.1, -0.2, yaw]], atol=1e-9)


def test_one_look_that_is_far_off_pulls_nothing_and_one_without_a_place_does_not_count():
    right, wrong, nowhere = np.zeros((1, 3)), np.full((1, 3), 0.5), np.full((1, 3), np.nan)
    pixels = np.zeros((1, 2))

    def chunk(place: np.ndarray, gripper: float = 0.0) -> ActionChunk:
        turns = np.where(np.isnan(place), np.nan, 0.3)
        return ActionChunk(place, np.array([gripper], np.float32), turns, pixels=pixels)

    plan = agreed([chunk(nowhere, 1.0), chunk(wrong, 1.0), *[chunk(right)] * 3])
    np.testing.assert_array_equal(plan.positions, right)
    np.testing.assert_allclose(plan.rotations, np.full((1, 3), 0.3))
    assert plan.gripper == 0
    assert not plan.missed.any()
    lost = agreed([chunk(nowhere)] * 3)
    assert lost.missed.all()
    assert np.isnan(lost.rotations).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_policy_looks_several_times_or_says_why_it_cannot(model):
    torch.manual_seed(0)
    policy = build_policy(turning_config(model, HORIZON), backbone_config(), SIZE)
    seen = observations(make_batch(2, HORIZON, SIZE))
    asked = Inference(tta=4)
    if not POLICIES[policy.cfg.kind].follows >= NEEDED:
        with pytest.raises(ObservationError, match="do not follow a shifted, turned and zoomed"):
            policy.predict(seen, asked)
        return
    alone = [agreed(policy.predict(looks(one, 4))) for one in seen]
    together = policy.predict(seen, asked)
    assert len(together) == len(seen)
    for one, plan in zip(alone, together, strict=True):
        np.testing.assert_allclose(plan.positions, one.positions, atol=1e-4)
        assert apart(plan.rotations, one.rotations) < 1e-3
    for first, plan in zip(policy.predict(seen), together, strict=True):
        if first.pixels is not None:
            np.testing.assert_allclose(plan.pixels, first.pixels, atol=1e-3)
        assert not np.array_equal(plan.positions, first.positions)
