"""PARA as a whole: equivariance, masking, geometry under autocast, determinism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_fixtures import backbone_config, make_batch, model_config, observations

from para.camera import Camera
from para.policies.base import INFERENCE_DTYPES, build_policy
from para.types import Inference

SIZE, HORIZON = 128, 3


def build(seed: int = 0, model: str = "para", **changes):
    torch.manual_seed(seed)
    cfg = model_config(model, horizon=HORIZON, **changes)
    return build_policy(cfg, backbone_config(), SIZE)


def test_shifting_image_and_camera_shifts_the_prediction_and_nothing_else():
    """Zero padding aside (made circular here, on an image with an empty margin), PARA cannot tell
    where in the image something happens: same loss, same 3D points, pixels moved by the shift.
    """
    policy = build()
    for module in policy.modules():
        if isinstance(module, torch.nn.Conv2d) and module.padding != (0, 0):
            module.padding_mode = "circular"
    batch = make_batch(1, HORIZON, SIZE)
    inner = torch.zeros_like(batch["image"])
    inner[..., 48:80, 48:80] = batch["image"][..., 48:80, 48:80]
    batch["image"] = (inner * 255).round() / 255
    near = torch.tensor([0.06, 0.09, 0.1])
    for name in ("waypoints", "ee_position"):
        batch[name] = batch[name].clamp(-near, near)
        batch[name][..., 2] = batch[name][..., 2].abs()
    shift = (32, -32)  # a multiple of the coarsest stride
    moved = {name: value.clone() for name, value in batch.items()}
    moved["image"] = batch["image"].roll((shift[1], shift[0]), (2, 3))
    moved["intrinsics"][:, 0, 2] += shift[0]
    moved["intrinsics"][:, 1, 2] += shift[1]

    here, there = policy.loss(batch, metrics=True), policy.loss(moved, metrics=True)
    assert int(here["masked"]) == int(there["masked"]) == 0
    for part in ("heatmap", "height", "gripper"):
        torch.testing.assert_close(here[part], there[part], rtol=1e-3, atol=1e-3)

    (a,), (b,) = policy.predict(observations(batch)), policy.predict(observations(moved))
    inside = np.abs(a.pixels - 64).max(1) < 24
    assert inside.any(), "the prediction must lie where nothing wraps around"
    np.testing.assert_allclose(b.pixels[inside], a.pixels[inside] + shift, atol=0.05)
    np.testing.assert_allclose(b.positions[inside], a.positions[inside], atol=1e-3)


def test_labels_out_of_view_are_masked_and_counted():
    policy = build()
    batch = make_batch(2, HORIZON, SIZE)
    assert int(policy.loss(batch)["masked"]) == 0
    batch["waypoints"][0, 1] = torch.tensor([0.0, 5.0, 0.1])
    batch["waypoints"][1, 0] = torch.tensor([3.0, 0.0, 2.0])  # behind the camera
    expected = policy.loss(batch)
    assert int(expected["masked"]) == 2
    batch["waypoints"][0, 1] = torch.tensor([0.0, -7.0, 0.3])  # elsewhere, but still outside
    batch["waypoint_gripper"][0, 1] = 1 - batch["waypoint_gripper"][0, 1]
    torch.testing.assert_close(policy.loss(batch)["loss"], expected["loss"], rtol=0, atol=0)

    batch["waypoints"][:] = torch.tensor([0.0, 5.0, 0.1])
    nothing = policy.loss(batch)
    assert int(nothing["masked"]) == 2 * HORIZON
    nothing["loss"].backward()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in policy.parameters())


LOW = Camera.look_at((1.5, 0, 0.4), (0, 0, 0.35), 45, SIZE, SIZE)
"""Has the horizon in its image: the rays of the upper rows never come down to the table."""


def low_batch():
    batch = make_batch(4, HORIZON, SIZE)
    for name in ("intrinsics", "T_world_camera"):
        batch[name] = torch.from_numpy(getattr(LOW, name)).float().expand_as(batch[name]).clone()
    return batch


def looking_everywhere(policy):
    """The policy with a head that has its waypoints at the sky's middle, the table's, and so on."""
    decode = policy.head.decode

    def decode_there(features, *, subcell):
        decoded = decode(features, subcell=subcell)
        cells = decoded.cells.clone()
        cells[..., 0], cells[:, 0::2, 1], cells[:, 1::2, 1] = 15.5, 4.0, 28.0
        return replace(decoded, cells=cells)

    policy.head.decode = decode_there
    return policy


def test_a_predicted_ray_that_misses_is_flagged_and_not_a_point():
    policy = looking_everywhere(build())
    for chunk in policy.predict(observations(low_batch())):
        assert chunk.missed.tolist() == [True, False, True]
        assert np.isnan(chunk.positions[[0, 2]]).all()
        assert np.isfinite(chunk.positions[1]).all()
        assert np.isfinite(chunk.pixels).all()


def test_a_missing_ray_is_counted_and_leaves_metrics_finite():
    policy = looking_everywhere(build())
    batch = low_batch()
    scalars = policy.loss(batch, metrics=True)
    assert int(scalars["masked"]) == 0
    assert int(scalars["missed"]) == 2 * 4
    assert all(torch.isfinite(value).all() for value in scalars.values())
    (chunk, *_) = policy.predict(observations(batch))
    batch = {name: value[:1] for name, value in batch.items()}
    error = 1000 * np.linalg.norm(chunk.positions[1] - batch["waypoints"][0, 1].numpy())
    scalars = policy.loss(batch, metrics=True)
    assert float(scalars["position_error_mm"]) == pytest.approx(error, rel=1e-3)
    batch["waypoints"][:] = torch.tensor([0.0, 5.0, 0.1])  # no label in view: none is missed
    nothing = policy.loss(batch, metrics=True)
    assert int(nothing["missed"]) == float(nothing["position_error_mm"]) == 0


@pytest.mark.parametrize("model", ["para", "para_volume"])
def test_bins_of_depth_serve_a_camera_that_is_low(model):
    """The rays that never come down to the table meet planes that face the camera."""
    policy = looking_everywhere(build(model=model, head={"along": "depth"}))
    labels = []
    original = policy.head.loss
    policy.head.loss = lambda features, given: (labels.append(given), original(features, given))[1]
    batch = low_batch()
    scalars = policy.loss(batch, metrics=True)
    assert int(scalars["missed"]) == int(scalars["clamped"]) == 0
    waypoints = batch["waypoints"].double().numpy()
    depth = LOW.project(waypoints)[1] - LOW.project(np.zeros(3))[1]
    np.testing.assert_allclose(labels[0].heights.numpy(), depth, atol=1e-5)
    pixels = LOW.project(waypoints)[0]
    np.testing.assert_allclose(policy.unproject(LOW, pixels, depth), waypoints, atol=1e-9)
    for chunk in policy.predict(observations(batch)):
        assert not chunk.missed.any()
        np.testing.assert_allclose(LOW.project(chunk.positions)[0], chunk.pixels, atol=1e-6)
        assert np.abs(LOW.behind_origin(chunk.positions)).max() <= 0.5 + 1e-9


def test_an_end_effector_behind_the_camera_is_nowhere_in_the_image():
    """Mirrored at the camera's centre a point has the same pixel, where nothing is."""
    policy = build()
    batch = make_batch(2, HORIZON, SIZE)
    eye = batch["T_world_camera"][0, :3, 3]
    here, there, beside = torch.tensor([[0.0, 0.2, 0.0], [0.1, -0.2, 0.0], [0.0, 9.0, 0.0]])
    outside = 2 * eye - beside  # in no pixel of the image, whichever way one looks

    def seen(position):
        moved = batch | {"ee_position": position.expand(2, 3)}
        heatmaps = np.stack([chunk.heatmaps for chunk in policy.predict(observations(moved))])
        return policy.loss(moved)["heatmap"].detach(), torch.from_numpy(heatmaps)

    for ahead in (here, there):
        behind = 2 * eye - ahead
        for found, expected in zip(seen(behind), seen(outside), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not torch.equal(seen(here)[1], seen(there)[1])


def test_heights_outside_the_bins_are_clamped_and_counted():
    policy = build()
    batch = make_batch(1, HORIZON, SIZE)
    batch["waypoints"][0, 0] = torch.tensor([0.0, 0.0, 0.4])
    batch["waypoints"][0, 1] = torch.tensor([0.0, 0.0, -0.01])
    scalars = policy.loss(batch)
    assert int(scalars["clamped"]) == 2
    assert torch.isfinite(scalars["loss"])


def test_geometry_is_not_done_in_half_precision():
    """bf16 has 8 bits: a camera matrix product in it would move labels by a pixel."""
    policy = build()
    seen = []
    original = policy.head.loss
    policy.head.loss = lambda features, labels: (seen.append(labels), original(features, labels))[1]
    batch = make_batch(2, HORIZON, SIZE)
    policy.loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        policy.loss(batch)
    exact, autocast = seen
    assert autocast.cells.dtype == torch.float32
    torch.testing.assert_close(autocast.cells, exact.cells, rtol=0, atol=0)
    pixels, _ = observations(batch)[1].camera.project(batch["waypoints"][1].double().numpy())
    np.testing.assert_allclose(exact.cells[1].numpy(), pixels / 4 - 0.5, atol=1e-4)


def test_the_end_effector_and_gripper_are_inputs():
    policy = build()
    batch = make_batch(1, HORIZON, SIZE)
    start = policy.loss(batch)["heatmap"]
    for name, change in (("ee_position", 0.1), ("gripper", 0.5)):
        other = batch | {name: batch[name] + change}
        assert not torch.equal(policy.loss(other)["heatmap"], start), name
    blind = build(ee_pixel=False)
    moved = batch | {"ee_position": batch["ee_position"] + torch.tensor([0.1, 0.1, 0.0])}
    torch.testing.assert_close(blind.loss(moved)["loss"], blind.loss(batch)["loss"])


def test_same_batch_same_bits_and_batching_changes_nothing_that_matters():
    policy = build()
    batch = observations(make_batch(4, HORIZON, SIZE))
    for precision in INFERENCE_DTYPES:
        inference = Inference(precision=precision)
        first, second = policy.predict(batch, inference), policy.predict(batch, inference)
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a.positions, b.positions)
            np.testing.assert_array_equal(a.heatmaps, b.heatmaps)
    alone = [policy.predict([observation])[0] for observation in batch]
    together = policy.predict(batch)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a.heatmaps, b.heatmaps, atol=1e-5)


def test_a_training_step_is_reproducible_to_the_bit():
    def step() -> dict[str, torch.Tensor]:
        policy = build()
        with torch.autocast("cpu", torch.bfloat16):
            loss = policy.loss(make_batch(8, HORIZON, SIZE))["loss"]
        loss.backward()
        return {name: p.grad.clone() for name, p in policy.named_parameters()}

    first, second = step(), step()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("model", ["para", "para_volume"])
def test_a_prediction_is_consistent_with_its_pixels(model):
    """Every 3D waypoint lies on the ray of its own pixel, at a height within the bins."""
    policy = build(model=model)
    cameras = observations(make_batch(2, HORIZON, SIZE))
    for observation, chunk in zip(cameras, policy.predict(cameras), strict=True):
        pixels, _ = observation.camera.project(chunk.positions)
        np.testing.assert_allclose(pixels, chunk.pixels, atol=1e-6)
        assert (chunk.positions[:, 2] >= 0).all()
        assert (chunk.positions[:, 2] <= 0.32).all()


@pytest.mark.long
def test_overfits_one_batch_to_millimetres():
    policy = build()
    batch = make_batch(4, HORIZON, SIZE)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    before = float(policy.loss(batch, metrics=True)["position_error_mm"])
    for _ in range(100):
        loss = policy.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = policy.loss(batch, metrics=True)
    assert before > 100
    assert float(after["position_error_mm"]) < 10
    assert float(after["gripper_error"]) == 0
