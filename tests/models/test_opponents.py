"""What every acting policy declares about the camera is true; opponents learn, mask and repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_fixtures import (
    MODELS,
    backbone_config,
    make_batch,
    model_config,
    observations,
    statistics,
)

from baselines.coordinates import CoordinatesPolicy
from baselines.diffusion import DiffusionPolicy
from baselines.rays import pluecker
from para.camera import Camera
from para.data.augment import augment
from para.data.config import GEOMETRIC, AugmentConfig
from para.heads import Decoded
from para.policies.base import POLICIES, WARPS, build_policy
from para.policies.frames import CAMERA, IMAGE
from para.policies.para import ParaConfig

SIZE, HORIZON = 64, 3
RANGES = {
    "crop": 0.3,
    "shift": 0.15,
    "scale": 0.2,
    "rotate_deg": 20,
    "camera_rotate_deg": 6,
}
POLICY = {model: POLICIES[POLICIES.schema(model).kind] for model in MODELS}
FOLLOWING = [model for model in MODELS if POLICY[model].follows]


def build(model: str, seed: int = 0, **changes):
    if issubclass(POLICIES.schema(model), ParaConfig):
        changes = {"heatmap_size": 16} | changes
    torch.manual_seed(seed)
    cfg = model_config(model, horizon=HORIZON, **changes)
    policy = build_policy(cfg, backbone_config(), SIZE)
    policy.fit_normalisation(statistics(make_batch(8, HORIZON, SIZE), policy))
    return policy


def warped(batch: dict[str, torch.Tensor], warp: str, seed: int = 0) -> dict[str, torch.Tensor]:
    moved = augment(
        batch, AugmentConfig(**{warp: RANGES[warp]}), torch.Generator().manual_seed(seed)
    )
    assert not torch.equal(moved["image"], batch["image"])
    return moved


def camera_of(batch: dict[str, torch.Tensor]) -> Camera:
    return Camera(batch["intrinsics"], batch["T_world_camera"], SIZE, SIZE)


def middle(batch: int = 8) -> dict[str, torch.Tensor]:
    """Labels in the middle of the table, so that warps have room to keep them in view."""
    labels = make_batch(batch, HORIZON, SIZE)
    for name in ("waypoints", "ee_position"):
        labels[name] *= torch.tensor([0.4, 0.4, 0.6])
    return labels


def rays_told(policy, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The map of rays that goes into the policy's network."""
    told = []
    hook = policy.rays.network[0].register_forward_pre_hook(lambda _, x: told.append(x[0]))
    policy.loss(batch)
    hook.remove()
    return told[0]


@contextmanager
def answering_perfectly(policy, batch: dict[str, torch.Tensor]) -> Iterator[None]:
    """Within this the policy's network answers exactly what its loss asks for in `batch`."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(policy, CoordinatesPolicy):
            targets, visible = policy.targets(batch, policy.seen(batch).camera)
            assert visible.all()
            patch.setattr(policy, "actions", lambda seen: targets)
        else:
            asked = []
            patch.setattr(policy.head, "loss", lambda _, labels: asked.append(labels) or {})
            with suppress(RuntimeError):  # there are no losses to add up
                policy.loss(batch)
            (labels,) = asked
            assert labels.visible.all()
            heatmaps = torch.zeros(*labels.heights.shape, 16, 16)
            found = Decoded(labels.cells, labels.heights, labels.gripper, None, heatmaps)
            patch.setattr(policy.head, "decode", lambda _, *, subcell: found)
        yield


def test_the_warps_that_policies_speak_of_are_those_of_the_augmentation():
    assert frozenset(GEOMETRIC) == WARPS == frozenset(RANGES)
    for model in MODELS:
        assert POLICY[model].follows <= WARPS
        assert POLICY[model].told_camera == bool(POLICY[model].follows), model
    following = {"para", "keypoint", "pixel_regression", "act_camera", "regression_camera"}
    assert following <= set(FOLLOWING)
    assert not {"regression", "act", "diffusion"} & set(FOLLOWING)


@pytest.mark.parametrize("model", FOLLOWING)
def test_labels_follow_a_warp_to_the_same_world_points(model):
    """What the loss asks for after the warp, decoded, is where the waypoints were all along."""
    batch, policy = middle(2), build(model)
    for warp in POLICY[model].follows:
        moved = warped(batch, warp)
        with answering_perfectly(policy, moved):
            chunks = policy.predict(observations(moved))
        for chunk, truth in zip(chunks, batch["waypoints"], strict=True):
            np.testing.assert_allclose(chunk.positions, truth, atol=2e-4, err_msg=warp)


@pytest.mark.parametrize(
    "model", [m for m in FOLLOWING if issubclass(POLICY[m], CoordinatesPolicy)]
)
def test_what_is_asked_lies_where_the_warped_image_shows_it(model):
    """Pixels are those of the warped image; other labels lie on the rays that are an input."""
    policy, batch = build(model), middle(4)
    before, _ = camera_of(batch).project(batch["waypoints"])
    for warp in policy.follows:
        moved = warped(batch, warp)
        seen = policy.seen(moved)
        points = policy._coordinates(policy.targets(moved, seen.camera)[0])
        pixels, _ = camera_of(moved).project(batch["waypoints"])
        assert (pixels - before).abs().max() > 0.5
        if policy.frame is IMAGE:
            torch.testing.assert_close(points[..., :2] * SIZE, pixels, atol=1e-2, rtol=0)
            continue
        camera = policy.frame.of_camera(seen.camera)
        centres, directions = camera.rays(pixels)
        directions = torch.nn.functional.normalize(directions, dim=-1)
        off_the_ray = torch.linalg.cross(points - centres, directions).norm(dim=-1)
        assert off_the_ray.max() < 1e-4, warp
        told = rays_told(policy, moved)
        torch.testing.assert_close(told, pluecker(camera, *told.shape[-2:]))
        # in its own frame, a camera that turns has the same rays
        turns = policy.frame is CAMERA and warp.endswith("rotate_deg")
        assert torch.allclose(told, rays_told(policy, batch), atol=1e-3) == turns, warp


@pytest.mark.parametrize("model", MODELS)
def test_who_is_told_the_camera_answers_otherwise_when_it_moves(model):
    policy = build(model)
    batch = make_batch(1, HORIZON, SIZE)
    zoomed = batch | {"intrinsics": batch["intrinsics"] * torch.tensor([1.1, 1.1, 1.0])[:, None]}
    elsewhere = batch | {"T_world_camera": batch["T_world_camera"].clone()}
    elsewhere["T_world_camera"][:, 0, 3] += 0.05
    (here,) = policy.predict(observations(batch))
    for other in (zoomed, elsewhere):
        (there,) = policy.predict(observations(other))
        assert np.array_equal(here.positions, there.positions) != policy.told_camera


def test_rays_are_pluecker_coordinates():
    """d = normalise(R K^-1 [u + .5, v + .5, 1]), m = c x d, of every second pixel's corner."""
    batch = warped(middle(2), "camera_rotate_deg")
    rays = pluecker(camera_of(batch), SIZE, SIZE)
    assert rays.shape == (2, 6, SIZE, SIZE)
    for i, row, column in ((0, 0, 0), (0, 10, 50), (1, 63, 5)):
        K, T = batch["intrinsics"][i].double().numpy(), batch["T_world_camera"][i].double().numpy()
        d = T[:3, :3] @ np.linalg.inv(K) @ [column + 0.5, row + 0.5, 1]
        d /= np.linalg.norm(d)
        expected = [*d, *np.cross(T[:3, 3], d)]
        np.testing.assert_allclose(rays[i, :, row, column], expected, atol=1e-5)


def test_rays_and_labels_are_not_made_in_half_precision():
    batch = make_batch(2, HORIZON, SIZE)
    for model in ("act_camera", "pixel_regression"):
        policy = build(model)
        found = []
        for enabled in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                seen = policy.seen(batch)
                rays = (rays_told(policy, batch),) if policy.rays is not None else ()
                found.append((seen.state, *policy.targets(batch, seen.camera), *rays))
        for exact, autocast in zip(*found, strict=True):
            torch.testing.assert_close(exact, autocast.to(exact.dtype), rtol=0, atol=0)


def test_pixel_regression_masks_labels_outside_the_image_and_flags_rays_that_miss():
    policy = build("pixel_regression", dropout=0.0)
    batch = make_batch(2, HORIZON, SIZE)
    assert int(policy.loss(batch)["masked"]) == 0
    batch["waypoints"][0, 1] = torch.tensor([0.0, 5.0, 0.1])
    batch["waypoints"][1, 0] = torch.tensor([3.0, 0.0, 2.0])  # behind the camera
    expected = policy.loss(batch)
    assert int(expected["masked"]) == 2
    batch["waypoints"][0, 1] = torch.tensor([0.0, -7.0, 0.3])  # elsewhere, but still outside
    torch.testing.assert_close(policy.loss(batch)["loss"], expected["loss"], rtol=0, atol=0)
    batch["waypoints"][:] = torch.tensor([0.0, 5.0, 0.1])
    nothing = policy.loss(batch, metrics=True)
    assert int(nothing["masked"]) == 2 * HORIZON
    nothing["loss"].backward()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in policy.parameters())

    low = Camera.look_at((1.5, 0, 0.4), (0, 0, 0.35), 45, SIZE, SIZE)  # the horizon is in its image
    for name in ("intrinsics", "T_world_camera"):
        batch[name] = torch.from_numpy(getattr(low, name)).float().expand_as(batch[name]).clone()
    batch["waypoints"] = make_batch(2, HORIZON, SIZE)["waypoints"]
    places = torch.tensor([[0.5, 0.1, 0.05], [0.5, 0.9, 0.05], [0.5, 0.1, 0.05]])
    actions = torch.cat(
        [(places - policy.waypoint_mean) / policy.waypoint_std, torch.ones(3, 1)], 1
    )
    policy.actions = lambda seen: actions.expand(2, -1, -1)
    for chunk in policy.predict(observations(batch)):
        assert chunk.missed.tolist() == [True, False, True]
        np.testing.assert_allclose(chunk.pixels, places[:, :2] * SIZE, atol=1e-3)
    scalars = policy.loss(batch, metrics=True)
    assert int(scalars["missed"]) == 2 * 2
    assert torch.isfinite(scalars["position_error_mm"])


SHALLOW = {"dropout": 0.0, "encoder_layers": 2, "decoder_layers": 2}


@pytest.mark.parametrize(
    ("model", "rate", "sizes"),
    [
        ("regression_camera", 1e-3, SHALLOW),
        ("pixel_regression", 1e-3, SHALLOW),
        ("act_camera", 1e-3, SHALLOW),
        ("keypoint", 3e-3, {}),
        ("diffusion", 2e-3, {"widths": [128]}),
        ("diffusion_camera", 2e-3, {"widths": [128]}),
    ],
)
@pytest.mark.long
def test_overfits_one_batch(model, rate, sizes):
    """Four samples, learned by heart: what is left is a fraction of where it began."""
    policy, batch = build(model, **sizes), make_batch(4, HORIZON, SIZE)
    batch["padded"][:] = False
    optimizer = torch.optim.AdamW(policy.parameters(), rate)
    before = float(policy.loss(batch, metrics=True)["position_error_mm"])
    for step in range(40):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 10) * (1 - step / 40)
        loss = policy.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
    after = policy.eval().loss(batch, metrics=True)
    assert before > 100
    assert float(after["position_error_mm"]) < 0.4 * before


def test_denoising_finds_what_perfect_noise_leads_to():
    policy = build("diffusion")
    batch = make_batch(2, HORIZON, SIZE)
    target, _ = policy.targets(batch, policy.seen(batch).camera)
    clean = torch.cat([target[..., :3], 2 * target[..., 3:] - 1], -1)
    kept = policy.noising.alphas_cumprod

    def oracle(noisy, step, condition):
        share = kept[step][:, None, None]
        return (noisy - share.sqrt() * clean) / (1 - share).sqrt()

    del policy.unet
    policy.unet = oracle
    for chunk, truth in zip(policy.predict(observations(batch)), batch["waypoints"], strict=True):
        np.testing.assert_allclose(chunk.positions, truth, atol=1e-4)


def test_diffusion_repeats_itself_whoever_is_beside_it():
    policy = build("diffusion")
    batch = observations(make_batch(3, HORIZON, SIZE))
    together = policy.predict(batch)
    for observation, chunk, again in zip(batch, together, policy.predict(batch), strict=True):
        np.testing.assert_array_equal(chunk.positions, again.positions)
        np.testing.assert_allclose(
            policy.predict([observation])[0].positions, chunk.positions, atol=1e-4
        )


def test_every_draw_of_noise_is_of_its_own_sample():
    """With a network that answers with its condition, the loss of one sample is its own."""
    policy = build("diffusion", draws=5)
    seen = []
    unet = policy.unet.forward
    policy.unet.forward = lambda x, step, told: (seen.append((x, step, told)), unet(x, step, told))[
        1
    ]
    policy.loss(make_batch(2, HORIZON, SIZE))
    noisy, steps, told = seen[0]
    assert len(noisy) == len(steps) == 10
    assert torch.equal(told[0], told[4])
    assert not torch.equal(told[4], told[5])
    assert not torch.equal(noisy[0], noisy[1])


@pytest.mark.parametrize("horizon", [1, 6, 12])
def test_the_unet_takes_any_horizon(horizon):
    policy = build_policy(model_config("diffusion", horizon=horizon), backbone_config(), SIZE)
    assert isinstance(policy, DiffusionPolicy)
    scalars = policy.loss(make_batch(1, horizon, SIZE))
    assert torch.isfinite(scalars["loss"])
    other = replace(policy.cfg, widths=[16])
    single = build_policy(other, backbone_config(), SIZE)
    assert single.predict(observations(make_batch(1, horizon, SIZE)))[0].positions.shape == (
        horizon,
        3,
    )
