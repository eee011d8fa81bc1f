"""Every model, every backbone: it learns, predicts, and survives a round trip through a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from model_fixtures import (
    BACKBONE_NAMES,
    MODELS,
    backbone_config,
    make_batch,
    model_config,
    observations,
    statistics,
)
from safetensors.torch import load_file, save_file

from para.backbones import build_backbone
from para.camera import Camera
from para.errors import CheckpointError, ConfigError, UnknownNameError
from para.policies.base import POLICIES, STATISTICS, ObservationError, build_policy
from para.policies.para import ParaConfig, ParaPolicy

SIZE, HORIZON = 64, 3


def tiny(name: str, **changes):
    """The model with fewer waypoints and cells, everything else as configured."""
    if issubclass(POLICIES.schema(name), ParaConfig):
        changes = {"heatmap_size": 16, "head": {"height_bins": 8}} | changes
    return model_config(name, horizon=HORIZON, **changes)


def looking_up(batch_size: int) -> dict[str, torch.Tensor]:
    """Camera matrices of a camera that sees nothing but the sky."""
    camera = Camera.look_at((1.0, 0.0, 1.0), (2.0, 0.0, 2.5), 45, SIZE, SIZE)
    return {
        name: torch.from_numpy(getattr(camera, name)).float().expand(batch_size, -1, -1)
        for name in ("intrinsics", "T_world_camera")
    }


READERS = ("para", "regression", "act")
"""They read a map made for them, the pooled feature, the cells of the last map."""
PAIRS = [(model, "resnet10_narrow") for model in MODELS]
PAIRS += [
    pytest.param(model, name, marks=() if model == "para" else pytest.mark.long)
    for model in READERS
    for name in BACKBONE_NAMES
    if (model, name) not in PAIRS
]


@pytest.mark.parametrize(("model", "backbone"), PAIRS)
def test_every_model_and_every_backbone(model, backbone, tmp_path):
    torch.manual_seed(0)
    policy = build_policy(tiny(model), backbone_config(backbone, weights="random"), SIZE)
    assert policy.backbone.init == "random"
    batch = make_batch(2, HORIZON, SIZE)
    policy.fit_normalisation(statistics(batch, policy))
    optimizer = torch.optim.Adam(policy.parameters(), 1e-4)
    losses = []
    for _ in range(4):
        torch.manual_seed(1)  # dropout and the CVAE's latent stay the same
        scalars = policy.loss(batch)
        assert all(value.ndim == 0 for value in scalars.values())
        optimizer.zero_grad()
        scalars["loss"].backward()
        unused = [n for n, p in policy.named_parameters() if p.grad is None]
        assert not unused, "parameters without gradient break distributed training"
        optimizer.step()
        losses.append(float(scalars["loss"].detach()))
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]

    chunks = policy.predict(observations(batch))
    assert policy.training, "predict restores the mode"
    for chunk in chunks:
        assert chunk.positions.shape == (HORIZON, 3)
        assert np.isfinite(chunk.positions).all()
        assert set(chunk.gripper) <= {0.0, 1.0}
        if isinstance(policy, ParaPolicy):
            assert chunk.pixels.shape == (HORIZON, 2)
            assert chunk.heatmaps.shape == (HORIZON, 16, 16)
            np.testing.assert_allclose(chunk.heatmaps.sum((1, 2)), 1, atol=1e-4)

    # Where no ray meets the table, what is answered in pixels is flagged as no place (the servo
    # holds still, tests/evaluation/test_rollout.py); what is answered in metres needs no ray.
    for chunk in policy.predict(observations(batch | looking_up(2))):
        assert np.isfinite(chunk.positions).all() == (chunk.pixels is None)
        assert chunk.missed.all() == (chunk.pixels is not None)

    save_file(policy.state_dict(), tmp_path / "policy.safetensors")
    torch.manual_seed(2)
    other = build_policy(tiny(model), backbone_config(backbone, weights="random"), SIZE)
    other.load(load_file(tmp_path / "policy.safetensors"), "policy.safetensors")
    again = other.predict(observations(batch))
    for chunk, same in zip(chunks, again, strict=True):
        np.testing.assert_array_equal(chunk.positions, same.positions)


def test_any_other_timm_network_works():
    for timm_name in ("mobilenetv3_small_050", "vit_tiny_patch16_224", "regnetx_002"):
        backbone = backbone_config(timm_name=timm_name, width=1.0, norm="own")
        policy = build_policy(tiny("para"), backbone, SIZE)
        assert policy.backbone.map_size == (16, 16)
        scalars = policy.loss(make_batch(2, HORIZON, SIZE))
        assert torch.isfinite(scalars["loss"])


@pytest.mark.parametrize("size", [128, 160])
def test_pooled_feature_knows_where_things_are(size):
    backbone = build_backbone(backbone_config("resnet18", weights="random"), size, None).eval()
    image = torch.rand(1, 3, size, size)
    image[..., size // 2 :] = 0
    with torch.no_grad():
        left, right = (backbone(x)[1] for x in (image, image.roll(size // 2, -1)))
    assert left.shape == (1, backbone.pooled_channels)
    left, right = (pooled.unflatten(1, (-1, 4, 4)) for pooled in (left, right))
    assert (left - right.roll(2, -1)).std() < 0.8 * (left - right).std()


def test_normalisation_travels_in_the_state_dict():
    policy = build_policy(tiny("regression"), backbone_config(), SIZE)
    policy.fit_normalisation({name: torch.tensor([0.1, 0.2, 0.3]) for name in STATISTICS})
    other = build_policy(tiny("regression"), backbone_config(), SIZE)
    other.load(policy.state_dict(), "memory")
    assert other.waypoint_std.tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_another_architecture_is_named():
    para = build_policy(tiny("para"), backbone_config(), SIZE)
    act = build_policy(tiny("regression"), backbone_config(), SIZE)
    with pytest.raises(CheckpointError, match=r"act\.safetensors.*another architecture") as raised:
        para.load(act.state_dict(), "act.safetensors")
    assert "missing: " in str(raised.value)
    assert "unexpected: " in str(raised.value)
    wider = build_policy(tiny("para"), backbone_config(width=0.5), SIZE)
    with pytest.raises(CheckpointError, match="of another shape: backbone"):
        para.load(wider.state_dict(), "wider")


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="'para'"):
        build_policy(tiny("para", kind="pra"), backbone_config(), SIZE)
    with pytest.raises(UnknownNameError, match="Did you mean 'factorised'"):
        build_policy(tiny("para", head={"kind": "factorized"}), backbone_config(), SIZE)
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet18'"):
        backbone_config(timm_name="resnet81").rules("backbone", None)


def test_impossible_sizes():
    with pytest.raises(ConfigError, match="multiple of 32"):
        build_policy(tiny("para"), backbone_config(), 72)
    with pytest.raises(ConfigError, match="finer than"):
        build_policy(model_config("para", heatmap_size=64), backbone_config(), 64)
    with pytest.raises(ConfigError, match="take a width"):
        build_policy(tiny("para"), backbone_config("dinov2_vits14", weights="random", width=2), 64)
    with pytest.raises(ConfigError, match="stem of a ResNet; convnext_atto is none"):
        build_backbone(backbone_config(timm_name="convnext_atto", stem="patch", norm="own"), 64, 16)
    weights = {"weights": "pretrained", "width": 1.0, "norm": "own"}
    with pytest.raises(ConfigError, match=r"backbone\.stem=patch change the network"):
        build_backbone(backbone_config("resnet10", **weights), 64, 16)


@pytest.mark.parametrize("norm", ["own", "group"])
def test_a_patch_stem_sees_the_whole_image_once(norm):
    """Stride 4 from one convolution, whose windows overlap and reach over the image's edges."""
    backbone = build_backbone(backbone_config("resnet10", norm=norm), 64, 16).eval()
    assert [info["reduction"] for info in backbone.network.feature_info][:2] == [4, 4]
    image = torch.rand(1, 3, 64, 64)
    image.requires_grad_()
    backbone.network.conv1(image).sum().backward()
    assert (image.grad != 0).all()
    assert backbone(image.detach())[0].shape == (1, backbone.out_channels, 16, 16)


def test_bad_observations():
    policy = build_policy(tiny("para"), backbone_config(), SIZE)
    with pytest.raises(ObservationError, match="no observations"):
        policy.predict([])
    with pytest.raises(ObservationError, match="image_size=64"):
        policy.predict(observations(make_batch(1, HORIZON, 96)))
