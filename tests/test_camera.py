"""The pixel convention: algebra on random cameras, and against pictures of rendered markers."""

import functools

import cv2
import mujoco
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.base import EnvConfig
from envs.table.rendering import Renderer
from envs.table.viewpoints import PHIS_DEG, THETAS_DEG, viewpoint_camera
from para.camera import FARTHEST, Camera, CameraError

quick = settings(max_examples=40, deadline=None)


def _number(low, high):
    return st.floats(low, high, allow_nan=False, width=64)


@st.composite
def cameras(draw):
    """Cameras that look down at the table from anywhere above it, with any lens."""
    azimuth, elevation = draw(_number(-3.1, 3.1)), draw(_number(0.3, 1.4))
    distance = draw(_number(0.5, 3.0))
    direction = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    width, height = draw(st.integers(16, 640)), draw(st.integers(16, 640))
    camera = Camera.look_at(distance * direction, (0, 0, 0), draw(_number(20, 80)), width, height)
    K = camera.intrinsics.copy()
    K[0, 0] *= draw(_number(0.7, 1.4))
    K[:2, 2] += draw(_number(-20, 20))
    return Camera(K, camera.T_world_camera, width, height)


points_near_origin = st.lists(_number(-0.2, 0.2), min_size=3, max_size=3).map(np.array)


@quick
@given(cameras(), points_near_origin)
def test_unprojecting_a_projection_returns_the_point(camera, point):
    pixel, depth = camera.project(point)
    origin, ray = camera.rays(pixel)
    assert np.allclose(origin + depth * ray, point, atol=1e-9)
    assert np.allclose(camera.unproject_to_height(pixel, point[2]), point, atol=1e-7)


@quick
@given(cameras(), _number(0, 1), _number(0, 1), _number(-0.1, 0.3))
def test_projecting_an_unprojection_returns_the_pixel(camera, u, v, height):
    pixel = np.array([u * camera.width, v * camera.height])
    origin, ray = camera.rays(pixel)
    # (almost) parallel to the table, upwards, from below the plane, too far: no such point
    if ray[2] > -0.05 or not 0.01 < (height - origin[2]) / ray[2] < FARTHEST - 0.01:
        return
    point = camera.unproject_to_height(pixel, np.float64(height))
    again, _ = camera.project(point)
    assert np.isclose(point[2], height, atol=1e-9)
    assert np.allclose(again, pixel, atol=1e-6)


@quick
@given(cameras(), points_near_origin, _number(-5, 5), _number(-5, 5))
def test_the_nearest_point_on_a_ray_is_on_it_and_square_to_it(camera, point, du, dv):
    pixel = camera.project(point)[0] + [du, dv]
    nearest = camera.nearest_on_rays(pixel, point)
    assert np.allclose(camera.project(nearest)[0], pixel, atol=1e-6)
    _, ray = camera.rays(pixel)
    assert abs((point - nearest) @ ray) < 1e-9
    if du == dv == 0:
        assert np.allclose(nearest, point, atol=1e-9)


@quick
@given(cameras(), points_near_origin, st.integers(8, 900), st.integers(8, 900))
def test_resizing_scales_pixels_about_the_image_corner(camera, point, width, height):
    before, depth = camera.project(point)
    resized = camera.resized(width, height)
    after, depth_after = resized.project(point)
    assert (resized.width, resized.height) == (width, height)
    assert np.allclose(after, before * [width / camera.width, height / camera.height], atol=1e-7)
    assert depth_after == pytest.approx(depth)
    corners = np.array([[0.0, 0.0], [width, height]])
    old_corners = np.array([[0.0, 0.0], [camera.width, camera.height]])
    assert np.allclose(resized.rays(corners)[1], camera.rays(old_corners)[1], atol=1e-9)


@quick
@given(cameras(), points_near_origin, _number(-50, 50), _number(-50, 50))
def test_cropping_shifts_pixels(camera, point, left, top):
    before, _ = camera.project(point)
    after, _ = camera.cropped(left, top, 40, 30).project(point)
    assert np.allclose(after, before - [left, top], atol=1e-9)


@quick
@given(cameras(), points_near_origin, st.lists(_number(-0.3, 0.3), min_size=6, max_size=6))
def test_an_affine_warp_moves_pixels_and_keeps_unprojection(camera, point, numbers):
    warp = np.eye(3)
    warp[:2] += np.array(numbers).reshape(2, 3) * [1, 1, 30]
    before, _ = camera.project(point)
    warped = camera.warped(warp)
    after, _ = warped.project(point)
    assert np.allclose(after, (warp @ [*before, 1.0])[:2], atol=1e-7)
    assert np.allclose(warped.unproject_to_height(after, point[2]), point, atol=1e-6)


@quick
@given(cameras(), points_near_origin, st.lists(_number(-0.2, 0.2), min_size=3, max_size=3))
def test_rotation_about_the_centre_is_its_homography(camera, point, angles):
    rotation, _ = cv2.Rodrigues(np.array(angles))
    rotated, homography = camera.rotated(rotation)
    before, _ = camera.project(point)
    after, depth = rotated.project(point)
    if depth < 0.05:
        return
    mapped = homography @ [*before, 1.0]
    assert np.allclose(after, mapped[:2] / mapped[2], atol=1e-6)
    assert np.array_equal(rotated.T_world_camera[:3, 3], camera.T_world_camera[:3, 3])
    rotated.validate()


@quick
@given(st.lists(cameras(), min_size=3, max_size=3), st.integers(0, 2**31))
def test_batched_torch_equals_numpy_one_by_one(singles, seed):
    points = np.random.default_rng(seed).uniform(-0.2, 0.2, (3, 5, 3))
    batch = Camera(
        torch.tensor(np.stack([c.intrinsics for c in singles])),
        torch.tensor(np.stack([c.T_world_camera for c in singles])),
        100,
        100,
    )
    pixels, depths = batch.project(torch.tensor(points))
    back = batch.unproject_to_height(pixels, torch.tensor(points[..., 2]))
    warp = torch.eye(3, dtype=torch.float64).repeat(3, 1, 1)
    warp[:, 0, 2] = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    warped, _ = batch.warped(warp).project(torch.tensor(points))
    for i, camera in enumerate(singles):
        expected, expected_depth = camera.project(points[i])
        assert np.allclose(pixels[i].numpy(), expected, atol=1e-7)
        assert np.allclose(depths[i].numpy(), expected_depth, atol=1e-9)
        assert np.allclose(warped[i].numpy(), expected + np.array([i + 1.0, 0.0]), atol=1e-7)
    assert np.allclose(back.numpy(), points, atol=1e-6)


@st.composite
def cameras_anywhere(draw):
    """Cameras that look in any direction, from any height: up, level, from below the table."""
    eye = np.array([draw(_number(-2, 2)) for _ in range(3)])
    angles = np.array([draw(_number(-3.1, 3.1)) for _ in range(3)])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(angles)[0], eye
    f = draw(_number(50, 300))
    return Camera(np.array([[f, 0, 64], [0, f, 64], [0, 0, 1]]), T, 128, 128)


def _as_torch(camera, dtype=torch.float64):
    matrices = (torch.tensor(m, dtype=dtype) for m in (camera.intrinsics, camera.T_world_camera))
    return Camera(*matrices, camera.width, camera.height)


@quick
@given(cameras_anywhere(), _number(0, 128), _number(0, 128), _number(-0.5, 0.5))
def test_a_ray_meets_a_plane_in_front_of_the_camera_or_is_flagged(camera, u, v, height):
    pixel = np.array([u, v])
    origin, ray = camera.rays(pixel)
    point = camera.unproject_to_height(pixel, np.float64(height))
    found = _as_torch(camera).unproject_to_height(
        torch.tensor(pixel), torch.tensor(height, dtype=torch.float64)
    )
    up, rise = ray[2], height - origin[2]
    if min(abs(up), abs(rise), abs(abs(rise) - FARTHEST * abs(up))) < 1e-8:
        return  # on the edge between the cases, where rounding decides
    if up * rise > 0 and abs(rise) < FARTHEST * abs(up):
        again, depth = camera.project(point)
        assert np.isclose(point[2], height, atol=1e-7)
        assert 0 < depth <= FARTHEST * (1 + 1e-9)
        assert np.allclose(again, pixel, atol=1e-3)
        assert camera.in_view(pixel, depth) == ((pixel < 128).all())
        assert np.allclose(found.numpy(), point, atol=1e-9)
    else:
        assert np.isnan(point).all()
        assert found.isnan().all()


LEVEL = Camera(
    np.array([[100.0, 0, 64], [0, 100, 64], [0, 0, 1]]),
    np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, 0, 1]]),
    128,
    128,
)
"""Half a metre above the table, looking along world x: row 64 is the horizon."""


@pytest.mark.parametrize("kind", [np, torch])
@pytest.mark.parametrize(
    ("case", "v", "height"),
    [
        ("parallel", 64.0, 0.0),
        ("upwards", 20.0, 0.0),
        ("the plane is above, the ray goes down", 100.0, 0.8),
        ("beyond any table", 64.5, 0.0),
        ("the plane holds the camera", 100.0, 0.5),
        ("the ray lies in the plane", 64.0, 0.5),
        ("no height", 100.0, np.nan),
        ("no pixel", np.nan, 0.0),
    ],
)
def test_every_way_to_miss_is_nan_and_spoils_no_neighbour(kind, case, v, height):
    camera = LEVEL if kind is np else _as_torch(LEVEL, torch.float32)
    pixels, heights = [[64.0, 100.0], [64.0, v]], [0.0, height]
    if kind is np:
        points = LEVEL.unproject_to_height(np.array(pixels), np.array(heights))
    else:
        points = camera.unproject_to_height(torch.tensor(pixels), torch.tensor(heights)).numpy()
    assert np.isnan(points[1]).all(), case
    assert np.allclose(points[0], [0.5 * 100 / 36, 0.0, 0.0], atol=1e-6)


@quick
@given(cameras_anywhere(), st.lists(_number(-3, 3), min_size=3, max_size=3).map(np.array))
def test_a_point_is_in_view_only_in_front_of_the_camera(camera, point):
    pixel, depth = camera.project(point)
    R, t = camera.T_world_camera[:3, :3], camera.T_world_camera[:3, 3]
    ahead = (R.T @ (point - t))[2]
    inside = ((pixel >= 0) & (pixel < 128)).all()
    assert camera.in_view(pixel, depth) == (inside and ahead > 0)
    mirrored, behind = camera.project(2 * t - point)
    assert behind == pytest.approx(-depth, abs=1e-9)
    if abs(ahead) > 1e-3:  # it has the same pixel, and only one of the two is there
        assert np.allclose(mirrored, pixel, rtol=1e-6, atol=1e-6)
        assert not (camera.in_view(pixel, depth) and camera.in_view(mirrored, behind))


def test_the_centre_of_the_first_pixel_is_half_half():
    camera = viewpoint_camera(EnvConfig(), size=64)
    assert camera.in_view(np.array([0.0, 0.0]), np.array(1.0))
    assert not camera.in_view(np.array([64.0, 3.0]), np.array(1.0))
    assert not camera.in_view(np.array([3.0, 3.0]), np.array(-1.0))
    # The optical axis meets the corner between the four middle pixels.
    target, _ = camera.project(np.array([0.0, 0.0, 0.03]))
    assert np.allclose(target, [32.0, 32.0])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda K, T: (np.diag([0.0, 100.0, 1.0]), T), "singular"),
        (lambda K, T: (K * np.nan, T), "NaN"),
        (lambda K, T: (K, np.diag([2.0, 1.0, 1.0, 1.0])), "rotation"),
        (lambda K, T: (K, np.diag([-1.0, 1.0, 1.0, 1.0])), "rotation"),
        (lambda K, T: (K[:2], T), "3, 3"),
        (lambda K, T: (K.T, T), "last row of intrinsics must be .0, 0, 1.: is it transposed"),
        (lambda K, T: (K, T.T), "last row of T_world_camera must be .0, 0, 0, 1."),
    ],
)
def test_matrices_that_are_no_camera_are_refused(spoil, words):
    good = viewpoint_camera(EnvConfig())
    assert good.validate() is good
    with pytest.raises(CameraError, match=words):
        Camera(*spoil(good.intrinsics, good.T_world_camera), 128, 128).validate()


def test_looking_along_up_is_refused():
    with pytest.raises(CameraError, match="parallel"):
        Camera.look_at((0, 0, 2), (0, 0, 0), 45, 64, 64)


# Against rendered pictures ------------------------------------------------------------------------

MARKERS = {0: (0.02, -0.01, 0.02), 1: (0.16, 0.20, 0.06), 2: (-0.17, -0.22, 0.10)}
"""Self-luminous spheres, one per colour channel: channel -> centre [m]. On a black background the
channel's value is how much of the pixel the sphere covers, whatever the smoothing."""
MARKER_RADIUS = 0.055


@functools.cache
def _marker_scene():
    spheres = "".join(
        f'<material name="m{i}" rgba="{i == 0:d} {i == 1:d} {i == 2:d} 1" emission="1" '
        'specular="0" shininess="0"/>'
        for i in MARKERS
    )
    geoms = "".join(
        f'<geom type="sphere" size="{MARKER_RADIUS}" pos="{x} {y} {z}" material="m{i}"/>'
        for i, (x, y, z) in MARKERS.items()
    )
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><visual><quality numslices="48" numstacks="48"/>'
        '<headlight ambient="0 0 0" diffuse="0 0 0" specular="0 0 0"/>'
        f"</visual><asset>{spheres}</asset><worldbody>{geoms}</worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@functools.cache
def _renderer(width, height, preset="fast"):
    return Renderer(_marker_scene()[0], preset, width, height)


def _render(camera, preset="fast"):
    renderer = _renderer(camera.width, camera.height, preset)
    return renderer.render(_marker_scene()[1], camera)


def _centroid(image, channel):
    """(u, v) of the light in one channel, in the convention that pixel centres are at + 0.5."""
    weight = image[..., channel].astype(float)
    v, u = np.indices(weight.shape) + 0.5
    return np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()


def _sphere_centre(camera, point):
    """Centre (u, v) of the outline of a marker: not quite the projection of its centre.

    The cone of rays that touch a sphere with centre c (camera frame) and radius r is
    d^T Q d = 0 with Q = c c^T - (|c|^2 - r^2) I; its image is the conic K^-T Q K^-1, whose centre
    follows from the dual conic (Hartley & Zisserman, sections 8.3 and 2.2.3).
    """
    R, t = camera.T_world_camera[:3, :3], camera.T_world_camera[:3, 3]
    c = R.T @ (np.asarray(point) - t)
    cone = np.outer(c, c) - (c @ c - MARKER_RADIUS**2) * np.eye(3)
    K_inv = np.linalg.inv(camera.intrinsics)
    dual = np.linalg.inv(K_inv.T @ cone @ K_inv)
    return dual[:2, 2] / dual[2, 2]


def _errors(image, camera):
    """Distance [px] between every marker in view and where the camera says that it is."""
    errors = []
    for channel, point in MARKERS.items():
        expected = _sphere_centre(camera, point)
        centre, depth = camera.project(np.array(point))
        margin = 1.2 * MARKER_RADIUS * camera.intrinsics[0, 0] / depth
        inside = (expected > margin).all()
        if inside and (expected < np.array([camera.width, camera.height]) - margin).all():
            # The correction is a small one: about f (radius / distance)^2.
            assert np.linalg.norm(expected - centre) < 0.002 * camera.intrinsics[0, 0]
            errors.append(np.linalg.norm(_centroid(image, channel) - expected))
    return errors


# At 128 px the outline of a marker without antialiasing is too coarse to say where its centre is.
@pytest.mark.parametrize(("size", "preset"), [(128, "beauty"), (224, "fast"), (448, "fast")])
def test_markers_appear_where_the_projection_says_at_all_viewpoints(size, preset):
    errors = []
    for theta in THETAS_DEG:
        for phi in PHIS_DEG:
            camera = viewpoint_camera(EnvConfig(), theta, phi, size)
            errors += _errors(_render(camera, preset), camera)
    assert len(errors) > 64 * 2
    assert max(errors) < 0.25


def test_markers_in_a_picture_that_is_not_square_with_the_beauty_preset():
    camera = Camera.look_at((0.9, 0.3, 1.1), (0, 0, 0.03), 40.0, 320, 200)
    errors = _errors(_render(camera, "beauty"), camera)
    assert len(errors) == len(MARKERS)
    assert max(errors) < 0.1


def test_markers_with_an_off_centre_principal_point_and_two_focal_lengths():
    camera = viewpoint_camera(EnvConfig(), 14.0, 45.0, 256)
    K = camera.intrinsics.copy()
    K[0, 0] *= 1.2
    K[:2, 2] += [17.3, -9.8]
    camera = Camera(K, camera.T_world_camera, 256, 256)
    errors = _errors(_render(camera), camera)
    assert len(errors) == len(MARKERS)
    assert max(errors) < 0.25


@pytest.mark.parametrize(("theta", "phi"), [(0.0, 0.0), (25.0, 135.0), (14.3, 270.0)])
def test_markers_after_crop_and_resize(theta, phi):
    camera = viewpoint_camera(EnvConfig(), theta, phi, 448)
    left, top, width, height, new = 37, 61, 350, 330, (224, 198)
    image = _render(camera)[top : top + height, left : left + width]
    image = cv2.resize(image, new, interpolation=cv2.INTER_AREA)
    errors = _errors(image, camera.cropped(left, top, width, height).resized(*new))
    assert len(errors) >= 2
    assert max(errors) < 0.25


def test_markers_after_a_camera_rotation_by_homography():
    camera = viewpoint_camera(EnvConfig(), 10.0, 90.0, 448)
    rotation, _ = cv2.Rodrigues(np.array([0.05, -0.04, 0.06]))
    rotated, homography = camera.rotated(rotation)
    # OpenCV's pixel centres are at integers: go there and back.
    half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    image = cv2.warpPerspective(
        _render(camera), half @ homography @ np.linalg.inv(half), (448, 448)
    )
    errors = _errors(image, rotated)
    assert len(errors) >= 2
    assert max(errors) < 0.25


@quick
@given(cameras(), points_near_origin, _number(-180, 180), _number(0.5, 2.0))
def test_upright_is_the_same_camera_with_triangular_intrinsics(camera, point, angle, zoom):
    """A turn of the image in its plane becomes a roll of the camera; no pixel moves."""
    cos, sin = zoom * np.cos(np.radians(angle)), zoom * np.sin(np.radians(angle))
    turned = camera.warped(np.array([[cos, -sin, 5.0], [sin, cos, -3.0], [0, 0, 1]]))
    upright = turned.upright().validate()
    assert np.allclose(upright.intrinsics, np.triu(upright.intrinsics), atol=1e-9)
    assert (np.diagonal(upright.intrinsics) > 0).all()
    for expected, found in zip(turned.project(point), upright.project(point), strict=True):
        assert np.allclose(found, expected, atol=1e-6)
    if abs(angle) > 1:
        assert not np.allclose(upright.T_world_camera, camera.T_world_camera, atol=1e-3)
    again = upright.upright()
    assert np.allclose(again.T_world_camera, upright.T_world_camera, atol=1e-12)
    batch = Camera(
        *(torch.from_numpy(m)[None] for m in (turned.intrinsics, turned.T_world_camera)), 1, 1
    )
    assert np.allclose(batch.upright().T_world_camera[0], upright.T_world_camera, atol=1e-9)


@quick
@given(cameras(), points_near_origin)
def test_points_in_the_camera_frame_and_back(camera, point):
    seen = camera.in_camera(point)
    assert np.isclose(seen[2], camera.project(point)[1])
    assert np.isclose(np.linalg.norm(seen), np.linalg.norm(point - camera.T_world_camera[:3, 3]))
    assert np.allclose(camera.in_world(seen), point, atol=1e-9)
