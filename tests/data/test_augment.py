"""Every augmentation changes the batch, and image, camera and labels still agree."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest
import torch
from synthetic_demos import camera as default_camera

from envs.table.rendering import Renderer
from para.camera import Camera
from para.data.augment import augment, redraw
from para.data.config import AugmentConfig

SIZE = 96
GEOMETRIC = {
    "crop": AugmentConfig(crop=0.3),
    "shift": AugmentConfig(shift=0.1),
    "scale": AugmentConfig(scale=0.2),
    "rotate": AugmentConfig(rotate_deg=15),
    "camera": AugmentConfig(camera_rotate_deg=5),
    "all": AugmentConfig(crop=0.2, shift=0.05, scale=0.1, rotate_deg=10, camera_rotate_deg=3),
}
PHOTOMETRIC = {
    "brightness": AugmentConfig(brightness=0.3),
    "contrast": AugmentConfig(contrast=0.3),
    "saturation": AugmentConfig(saturation=0.5),
    "hue": AugmentConfig(hue=0.1),
    "noise": AugmentConfig(noise=0.05),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(size: int = 16, waypoints: int = 5, spread: float = 0.15) -> dict:
    """Images with a bright dot at the first waypoint, on a dark background."""
    view = default_camera(SIZE)
    rng = np.random.default_rng(0)
    points = rng.uniform([-spread, -spread, 0.0], [spread, spread, 0.2], (size, waypoints + 1, 3))
    pixels = view.project(points[:, 1])[0]
    image = draw_dots(pixels)
    return {
        "image": image,
        "intrinsics": tile(view.intrinsics, size),
        "T_world_camera": tile(view.T_world_camera, size),
        "ee_position": torch.tensor(points[:, 0], dtype=torch.float32),
        "waypoints": torch.tensor(points[:, 1:], dtype=torch.float32),
        "gripper": torch.ones(size),
    }


def tile(matrix: np.ndarray, size: int) -> torch.Tensor:
    return torch.tensor(matrix, dtype=torch.float32).expand(size, *matrix.shape).contiguous()


def draw_dots(pixels: np.ndarray) -> torch.Tensor:
    """(B, 3, SIZE, SIZE): a Gaussian dot of standard deviation 2 px at pixels (B, 2)."""
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    squared = (u - pixels[:, 0, None, None]) ** 2 + (v - pixels[:, 1, None, None]) ** 2
    dots = np.exp(-squared / 8)[:, None].repeat(3, axis=1)
    return torch.tensor(dots, dtype=torch.float32)


def centroids(image: torch.Tensor) -> torch.Tensor:
    """Centre of mass (B, 2) as (u, v) of images of one bright dot."""
    mass = image.mean(1)
    centre = torch.arange(SIZE) + 0.5
    total = mass.sum((1, 2))
    return torch.stack(
        [(mass.sum(1) * centre).sum(1) / total, (mass.sum(2) * centre).sum(1) / total], -1
    )


def camera_of(batch: dict) -> Camera:
    return Camera(batch["intrinsics"], batch["T_world_camera"], SIZE, SIZE)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_image_moves_with_the_camera(name):
    batch = make_batch()
    warped = augment(batch, GEOMETRIC[name], generator())
    expected = camera_of(warped).project(batch["waypoints"][:, 0])[0]
    moved = (expected - camera_of(batch).project(batch["waypoints"][:, 0])[0]).norm(dim=-1)
    assert moved.max() > 1.0  # else this test says nothing
    np.testing.assert_allclose(centroids(warped["image"]), expected, atol=0.25)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_labels_unproject_to_the_same_world_points(name):
    batch = make_batch()
    warped = augment(batch, GEOMETRIC[name], generator(1))
    assert torch.equal(warped["waypoints"], batch["waypoints"])
    view = camera_of(warped)
    pixels, depth = view.project(warped["waypoints"])
    points = view.unproject_to_height(pixels, warped["waypoints"][..., 2])
    np.testing.assert_allclose(points, batch["waypoints"], atol=1e-5)
    assert (depth > 0).all()
    view.validate()


def test_error_of_the_told_camera():
    batch = make_batch(256)
    config = AugmentConfig(camera_error_deg=3, camera_error_mm=20)
    told = augment(batch, config, generator())
    assert torch.equal(told["image"], batch["image"])
    assert torch.equal(told["intrinsics"], batch["intrinsics"])
    camera_of(told).validate()
    change = torch.linalg.inv(batch["T_world_camera"]) @ told["T_world_camera"]
    cos = (change[:, :3, :3].diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    angles, shifts = cos.clamp(-1, 1).arccos().rad2deg(), 1000 * change[:, :3, 3].norm(dim=1)
    for errors, most in ((angles, 3), (shifts, 20)):
        assert 0.9 * most < errors.max() <= most + 0.05
        assert 0.4 * most < errors.mean() < 0.6 * most
    ways = torch.nn.functional.normalize(change[:, :3, 3], dim=1)
    assert ways.mean(0).norm() < 0.2  # no direction is preferred


@pytest.fixture(scope="module")
def bars():
    """A batch of rendered flat bars (N, 3, SIZE, SIZE), and the yaw of each, along its local y."""
    spec = mujoco.MjSpec()
    spec.worldbody.add_light(pos=(0, 0, 3))
    spec.worldbody.add_body(name="bar", mocap=True).add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.012, 0.10, 0.001), rgba=(1, 1, 1, 1)
    )
    model = spec.compile()
    data, view, rng = mujoco.MjData(model), default_camera(SIZE), np.random.default_rng(1)
    renderer = Renderer(model, "beauty", SIZE, SIZE)
    yaws = np.linspace(-1.5, 1.5, 8)
    places = np.column_stack([rng.uniform(-0.1, 0.1, (8, 2)), rng.uniform(0, 0.1, 8)])
    images = []
    for yaw, place in zip(yaws, places, strict=True):
        data.mocap_pos[0] = place
        data.mocap_quat[0] = np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)
        mujoco.mj_forward(model, data)
        images.append(renderer.render(data, view))
    batch = {
        "image": torch.tensor(np.stack(images)).permute(0, 3, 1, 2) / 255,
        "intrinsics": tile(view.intrinsics, 8),
        "T_world_camera": tile(view.T_world_camera, 8),
        "ee_position": torch.tensor(places, dtype=torch.float32),
        "waypoints": torch.tensor(places[:, None], dtype=torch.float32),
        "gripper": torch.ones(8),
    }
    return batch, torch.tensor(yaws, dtype=torch.float32)


def main_axes(image: torch.Tensor) -> torch.Tensor:
    """Angle (B,) of the longest axis of what is bright, from u towards v [rad]."""
    mass = image.mean(1).numpy()
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    angles = []
    for weight in np.where(mass > 0.1, mass, 0):
        points = np.stack([u.ravel(), v.ravel()])
        angles.append(np.linalg.eigh(np.cov(points, aweights=weight.ravel()))[1][:, -1])
    return torch.tensor([np.arctan2(axis[1], axis[0]) for axis in angles])


@pytest.mark.parametrize("name", ["none", *GEOMETRIC])
def test_yaws_are_seen_where_the_warped_image_shows_them(bars, name):
    """The label in the image turns with it; decoded with the warped camera it is the same yaw."""
    batch, yaws = bars
    warped = augment(batch, GEOMETRIC.get(name, AugmentConfig()), generator(2))
    view, points = camera_of(warped), batch["waypoints"][:, 0]
    angles = view.turn_in_image(points, yaws)
    period = torch.pi
    seen = main_axes(warped["image"])
    difference = (seen - angles + period / 2).remainder(period) - period / 2
    assert difference.abs().max() < np.radians(2.5)
    back = view.turn_in_world(points, angles)
    torch.testing.assert_close(
        (back - yaws + period / 2).remainder(period),
        torch.full((8,), period / 2),
        atol=1e-3,
        rtol=0,
    )
    if name in ("rotate", "all"):  # else this test says nothing
        before = camera_of(batch).turn_in_image(points, yaws)
        assert (torch.sin(angles - before)).abs().max() > np.sin(np.radians(4))


@pytest.mark.parametrize("name", GEOMETRIC)
def test_affine_warps_move_intrinsics_and_turns_move_extrinsics(name):
    batch = make_batch()
    warped = augment(batch, GEOMETRIC[name], generator())
    intrinsics_moved = not torch.equal(warped["intrinsics"], batch["intrinsics"])
    extrinsics_moved = not torch.equal(warped["T_world_camera"], batch["T_world_camera"])
    assert intrinsics_moved == (name != "camera")
    assert extrinsics_moved == (name in ("camera", "all"))
    # The camera's centre never moves: no scene knowledge is needed.
    np.testing.assert_array_equal(
        warped["T_world_camera"][:, :3, 3], batch["T_world_camera"][:, :3, 3]
    )


def test_ranges_are_respected():
    batch = make_batch(size=64, spread=0.02)
    scaled = augment(batch, AugmentConfig(scale=0.2), generator())["intrinsics"]
    zoom = scaled[:, 0, 0] / batch["intrinsics"][:, 0, 0]
    assert 0.8 <= zoom.min() < 0.85
    assert 1.15 < zoom.max() <= 1.2
    cropped = augment(batch, AugmentConfig(crop=0.2), generator())["intrinsics"]
    zoom = cropped[:, 0, 0] / batch["intrinsics"][:, 0, 0]
    assert 1.0 <= zoom.min() < 1.05
    assert 1.2 < zoom.max() <= 1.25
    # A crop stays inside the image: u = 0 and u = SIZE land outside or on the border.
    affine = cropped @ torch.linalg.inv(batch["intrinsics"])
    left, right = affine[:, 0, 2], SIZE * affine[:, 0, 0] + affine[:, 0, 2]
    assert left.max() <= 1e-3
    assert right.min() >= SIZE - 1e-3


def test_labels_in_view_stay_in_view():
    """Labels near the edges: most warps would lose one, so they are drawn again or dropped."""
    batch = make_batch(size=32, spread=0.6)
    view = camera_of(batch)
    was = view.in_view(*view.project(batch["waypoints"]))
    assert not was.all()  # some start outside: those do not count
    warped = augment(batch, GEOMETRIC["all"], generator())
    view = camera_of(warped)
    now = view.in_view(*view.project(batch["waypoints"]))
    assert (now | ~was).all()
    untouched = (warped["intrinsics"] == batch["intrinsics"]).all((1, 2))
    assert not untouched.all()


def test_impossible_warps_end_in_the_untouched_sample():
    """Labels in opposite corners leave no room for a crop."""
    batch = make_batch(size=4, waypoints=2)
    view = camera_of(batch)
    corners = torch.tensor([[0.01, 0.01], [SIZE - 0.01, SIZE - 0.01]]).expand(4, 2, 2)
    batch["waypoints"] = view.unproject_to_height(corners, torch.zeros(4, 2))
    warped = augment(batch, AugmentConfig(crop=0.5, scale=0.0), generator())
    np.testing.assert_array_equal(warped["intrinsics"], batch["intrinsics"])
    np.testing.assert_allclose(warped["image"], batch["image"], atol=1e-4)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_changes_colours_only(name):
    batch = make_batch()
    batch["image"] = 0.2 + 0.6 * torch.rand(16, 3, SIZE, SIZE, generator=generator(5))
    changed = augment(batch, PHOTOMETRIC[name], generator())
    difference = (changed["image"] - batch["image"]).abs().mean((1, 2, 3))
    assert (difference > 1e-3).float().mean() > 0.8
    assert changed["image"].min() >= 0
    assert changed["image"].max() <= 1
    for key in batch.keys() - {"image"}:
        assert torch.equal(changed[key], batch[key])


def test_photometric_means_what_it_says():
    image = 0.2 + 0.6 * torch.rand(1, 3, SIZE, SIZE, generator=generator(5))
    batch = make_batch(size=1) | {"image": image}
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)

    def grey(x):
        return (x * weights).sum(1)

    brighter = augment(batch, PHOTOMETRIC["brightness"], generator(1))["image"]
    ratio = brighter / image
    assert ratio.std() < 1e-5
    contrasted = augment(batch, PHOTOMETRIC["contrast"], generator(1))["image"]
    np.testing.assert_allclose(grey(contrasted).mean(), grey(image).mean(), rtol=1e-4)
    assert abs(float(contrasted.std() / image.std()) - 1) > 0.02
    saturated = augment(batch, PHOTOMETRIC["saturation"], generator(1))["image"]
    np.testing.assert_allclose(grey(saturated), grey(image), atol=1e-5)
    hued = augment(batch, PHOTOMETRIC["hue"], generator(1))["image"]
    np.testing.assert_allclose(hued.sum(1), image.sum(1), atol=1e-5)


def test_noise_has_the_configured_deviation():
    batch = make_batch() | {"image": torch.full((16, 3, SIZE, SIZE), 0.5)}
    noisy = augment(batch, PHOTOMETRIC["noise"], generator())["image"]
    assert abs(float((noisy - 0.5).std()) - 0.05) < 0.001


def test_everything_off_changes_nothing():
    batch = make_batch()
    same = augment(batch, AugmentConfig(), generator())
    assert same.keys() == batch.keys()
    assert all(torch.equal(same[key], batch[key]) for key in batch)


def test_same_generator_same_batch_and_the_input_stays():
    everything = dataclasses.replace(GEOMETRIC["all"], brightness=0.2, hue=0.05, noise=0.02)
    batch = make_batch()
    before = {key: value.clone() for key, value in batch.items()}
    first, again, other = (augment(batch, everything, generator(seed)) for seed in (3, 3, 4))
    for key in batch:
        assert torch.equal(batch[key], before[key])
        assert torch.equal(first[key], again[key])
    assert not torch.equal(first["image"], other["image"])


def test_resampling_by_the_identity_is_the_identity():
    image = torch.rand(2, 3, 17, 33, generator=generator())
    same = redraw(image[:, None], torch.eye(3).expand(2, 3, 3))[:, 0]
    np.testing.assert_allclose(same, image, atol=1e-5)


def test_resampling_by_whole_pixels_is_exact():
    image = torch.rand(1, 3, 20, 30, generator=generator())
    shift = torch.tensor([[[1.0, 0, 4], [0, 1, -3], [0, 0, 1]]])  # new (u, v) -> old (u + 4, v - 3)
    moved = redraw(image[:, None], shift)[:, 0]
    np.testing.assert_allclose(moved[..., 3:, :-4], image[..., :-3, 4:], atol=1e-5)
    assert torch.allclose(moved[..., 3:, -4:], image[..., :-3, -1:].expand(1, 3, 17, 4), atol=1e-5)


def clip_batch(frames: int = 3) -> dict:
    """A batch whose clips show their first frame over and over."""
    batch = make_batch(size=4)
    return batch | {"clip": batch["image"][:, None].repeat(1, frames, 1, 1, 1)}


@pytest.mark.parametrize("name", [*GEOMETRIC, *(n for n in PHOTOMETRIC if n != "noise")])
def test_all_frames_of_a_clip_change_alike(name):
    config = (GEOMETRIC | PHOTOMETRIC)[name]
    batch = clip_batch()
    changed = augment(batch, config, generator(2))
    assert not torch.equal(changed["clip"], batch["clip"])
    for frame in range(3):
        assert torch.equal(changed["clip"][:, frame], changed["image"])
    alone = augment({k: v for k, v in batch.items() if k != "clip"}, config, generator(2))
    torch.testing.assert_close(changed["image"], alone["image"])
    assert torch.equal(changed["T_world_camera"], alone["T_world_camera"])


def test_the_first_frame_of_a_noisy_clip_is_the_image():
    changed = augment(clip_batch(), PHOTOMETRIC["noise"], generator())
    assert torch.equal(changed["clip"][:, 0], changed["image"])
    assert not torch.equal(changed["clip"][:, 1], changed["image"])
