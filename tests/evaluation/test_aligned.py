"""Views that are shown as the usual one: what lies where, and that labels in pixels follow."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.base import EnvConfig, load_task
from envs.table.viewpoints import viewpoint_camera
from para.camera import Camera
from para.evaluation.aligned import STEP, aligned, alignment
from para.evaluation.rollout import rollout
from para.types import ActionChunk, Inference, Observation
from tests.markers import drawn, found

CONFIG = EnvConfig(image_size=96)
USUAL = viewpoint_camera(CONFIG)
WORKSPACE = np.array([-0.2, -0.1]), np.array([0.1, 0.3])
MIDDLE = np.array([-0.05, 0.1, 0.0])
TASK = load_task("bowl_on_plate")
START = TASK.place([np.array((0.02, 0.03))], "together")


def _seen_by(camera: Camera, image: np.ndarray | None = None) -> Observation:
    size = camera.height, camera.width, 3
    return Observation(np.zeros(size, np.uint8) if image is None else image, camera, MIDDLE, 1.0)


views = st.builds(
    lambda theta, phi, distance, fovy: viewpoint_camera(
        replace(CONFIG, camera_distance=distance, camera_fovy_deg=fovy), theta, phi
    ),
    *(st.floats(0, 35), st.floats(0, 360), st.floats(1.0, 2.5), st.floats(35, 60)),
)


@given(views)
def test_the_middle_lies_points_and_measures_as_usual(camera):
    shown = aligned(_seen_by(camera), USUAL, WORKSPACE).camera.validate()
    points = MIDDLE + np.array([[0, 0, 0], [0, STEP, 0]])
    np.testing.assert_allclose(shown.project(points)[0], USUAL.project(points)[0], atol=1e-6)


@given(views, st.floats(-0.15, 0.15), st.floats(-0.15, 0.15), st.floats(0, 0.1))
def test_the_ray_of_a_moved_pixel_is_the_same_ray(camera, x, y, z):
    point = MIDDLE + np.array([x, y, z])
    shown = aligned(_seen_by(camera), USUAL, WORKSPACE).camera
    pixels, _ = shown.project(point[None])
    np.testing.assert_allclose(shown.unproject_to_height(pixels, point[2:]), [point], atol=1e-6)
    np.testing.assert_array_equal(shown.T_world_camera, camera.T_world_camera)


@pytest.mark.parametrize("azimuth_deg", [-160, -45, -15, 15, 30, 75, 180])
def test_what_is_drawn_moves_to_where_the_camera_says(azimuth_deg):
    """Around the middle at the same height: a marker is found where it projects."""
    low, high = WORKSPACE
    way = np.radians(azimuth_deg)
    eye = MIDDLE + np.array([1.2 * np.cos(way), 1.2 * np.sin(way), 1.0])
    camera = Camera.look_at(eye, MIDDLE, 45, 96, 96)
    corners = [MIDDLE, [*low, 0.0], [*high, 0.1]]
    for point in np.array(corners):
        (pixel,), _ = camera.project(point[None])
        shown = aligned(_seen_by(camera, drawn(pixel, 96)), USUAL, WORKSPACE)
        (expected,), _ = shown.camera.project(point[None])
        if ((expected < 5) | (expected > 91)).any():
            continue  # turned out of the image
        np.testing.assert_allclose(found(shown.image), expected, atol=0.3)


def test_the_usual_view_stays_to_the_bit():
    seen = _seen_by(USUAL)
    assert aligned(seen, USUAL, WORKSPACE) is seen


def test_a_camera_that_does_not_see_the_middle_is_left_alone():
    away = Camera.look_at([1.0, 0.0, 1.0], [2.0, 0.0, 0.0], 45, 96, 96)
    np.testing.assert_array_equal(alignment(away, USUAL, WORKSPACE), np.eye(3))
    seen = _seen_by(away)
    assert aligned(seen, USUAL, WORKSPACE) is seen


class _Watch:
    """Stays where it is, and remembers what it is shown."""

    def __init__(self):
        self.shown = []

    def predict(self, observations, inference):
        self.shown += observations
        return [ActionChunk(o.ee_position[None], np.ones(1)) for o in observations]


@pytest.mark.parametrize("align_view", [False, True])
def test_policies_and_films_are_shown_the_same_view(align_view):
    env = TASK.environment("hand", "together", replace(CONFIG, image_size=32, max_steps=10))
    policy, filmed = _Watch(), _Watch()
    filmed.start = filmed.step = filmed.waypoint = lambda _: None
    filmed.plan = lambda observation, _: filmed.shown.append(observation)
    start = replace(START, theta_deg=20.0, phi_deg=45.0)
    rollout(policy, [env], [start], Inference(align_view=align_view), {0: filmed})
    env.begin(start)
    cameras = [seen.camera for seen in policy.shown]
    assert cameras
    assert [*map(id, filmed.shown)] == [*map(id, policy.shown)]
    for camera in cameras:
        same = np.array_equal(camera.intrinsics, env.camera.intrinsics)
        assert same is not align_view
    env.begin(START)
    np.testing.assert_array_equal(env.usual_camera.T_world_camera, env.camera.T_world_camera)
    np.testing.assert_array_equal(env.usual_camera.intrinsics, env.camera.intrinsics)
