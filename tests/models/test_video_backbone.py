"""The video backbone: shapes, conditioning, codec, determinism, copies, weights from a folder."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from model_fixtures import SMALL_UNET, make_batch, model_config, observations, video_config

from para.backbones import build_backbone
from para.backbones.codec import PcaCodec
from para.backbones.video_model import Condition
from para.errors import CheckpointError, ConfigError, UnknownNameError
from para.fields import check
from para.heads import frame_weights
from para.policies.base import build_policy
from para.runs.config import TrainConfig, train_config_from_dict

SIZE, HORIZON = 32, 4
KL = {
    "codec": "kl",
    "unet": SMALL_UNET | {"in_channels": 8, "out_channels": 4},
    "vae": {
        "block_out_channels": [32, 32],
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    },
}
ENCODER = {
    "image_encoder": True,
    "clip": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "patch_size": 56,
        "projection_dim": 32,
    },
}


def tiny(name: str):
    changes = (
        {"heatmap_size": 8, "head": {"height_bins": 8, "hidden": 16}} if "para" in name else {}
    )
    return model_config(name, horizon=HORIZON, **changes)


def clip_batch(batch: int = 2, frames: int = 3) -> dict[str, torch.Tensor]:
    """Moving gradients: a batch whose clips start with its images."""
    values = make_batch(batch, HORIZON, SIZE)
    values["clip"] = torch.rand(batch, frames, 3, SIZE, SIZE)
    return values | {"image": values["clip"][:, 0].clone()}


def test_maps_of_every_frame_on_the_grid_that_was_asked_for():
    backbone = build_backbone(video_config(), SIZE, 12)
    maps, pooled = backbone(torch.rand(2, 3, SIZE, SIZE))
    assert maps.shape == (2, 3, 8, 12, 12)
    assert pooled.shape == (2, backbone.pooled_channels) == (2, 3 * 64 * 16)
    assert (backbone.map_size, backbone.stride) == ((12, 12), SIZE / 12)
    bare = build_backbone(video_config(blocks=[0]), SIZE, None)
    maps, pooled = bare(torch.rand(1, 3, SIZE, SIZE))
    assert maps.shape[2:] == (bare.out_channels, *bare.map_size) == (32, 8, 8)
    assert pooled.shape == (1, 3 * 32 * 16)


def test_any_frame_size_keeps_cells_on_their_pixels():
    """A bright spot stays in its cell when the video model sees stretched frames."""
    backbone = build_backbone(video_config(size=[16, 64]), SIZE, 8)
    assert backbone.noise.shape[-2:] == (4, 16)
    image = torch.zeros(1, 3, SIZE, SIZE)
    image[:, :, 8:16, 24:28] = 1
    seen = backbone._resized(image)
    assert seen.shape[2:] == (16, 64)
    mass = seen[0, 0] / seen[0, 0].sum()
    row = (mass.sum(1) * (torch.arange(16) + 0.5)).sum() * SIZE / 16
    column = (mass.sum(0) * (torch.arange(64) + 0.5)).sum() * SIZE / 64
    assert (float(row), float(column)) == pytest.approx((12.0, 26.0), abs=1e-3)


def test_predictions_are_deterministic_and_training_draws_noise():
    policy = build_policy(tiny("para"), video_config(), SIZE)
    seen = observations(make_batch(2, HORIZON, SIZE))
    torch.manual_seed(1)
    first = policy.predict(seen)
    torch.manual_seed(2)
    again = policy.predict(seen)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
    images = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        assert not torch.equal(policy.backbone(images)[0], policy.backbone(images)[0])
        other = build_backbone(video_config(noise_seed=1), SIZE, 8).eval()
        assert not torch.equal(other.noise, policy.backbone.noise)


def test_the_first_frame_conditions_and_the_future_does_not_leak():
    backbone = build_backbone(video_config(), SIZE, 8).eval()
    with torch.no_grad():
        one, two = (backbone(torch.full((1, 3, SIZE, SIZE), v))[0] for v in (0.2, 0.9))
    assert not torch.allclose(one, two)
    video = backbone.video
    passed = []
    video.unet.register_forward_pre_hook(lambda _m, inputs: passed.append(inputs))
    clips = torch.rand(2, 3, 3, SIZE, SIZE) * 2 - 1
    backbone.features(clips[:, 0])
    noisy, first = passed[0][0].chunk(2, 2)
    expected = backbone.noise * (30.0 / (30.0**2 + 1) ** 0.5)
    torch.testing.assert_close(noisy, expected.expand_as(noisy))
    for frame in range(3):
        torch.testing.assert_close(first[:, frame], video.codec.encode(clips[:, 0]))
    assert passed[0][1].tolist() == pytest.approx([np.log(30) / 4] * 2)


def test_denoising_follows_its_formula():
    """With a UNet that outputs zeros, D = x / (s^2 + 1) and the loss is near 1 for unit data."""
    video = build_backbone(video_config(), SIZE, None).video
    video.unet.conv_out.weight.data.zero_()
    video.unet.conv_out.bias.data.zero_()
    noisy, sigma = torch.randn(2, 3, 12, 8, 8), torch.tensor([0.5, 3.0])
    condition = Condition(torch.zeros(2, 12, 8, 8), torch.zeros(2, 1, 32))
    with torch.no_grad():
        denoised = video.denoise(noisy, sigma, condition)
    scale = (sigma**2 + 1).view(2, 1, 1, 1, 1)
    torch.testing.assert_close(denoised, noisy / scale)
    torch.manual_seed(0)
    clips = torch.randn(4, 3, 3, SIZE, SIZE)  # latents of the unfitted codec are pixels
    with torch.no_grad():
        assert float(video.loss(clips)) == pytest.approx(1, abs=0.1)


def test_the_given_frame_is_not_in_the_loss():
    backbone = build_backbone(video_config(), SIZE, None)
    video, seen = backbone.video, []
    video.denoise = lambda noisy, sigma, condition: seen.append(noisy.requires_grad_()) or noisy
    backbone.video_loss(torch.rand(2, 3, 3, SIZE, SIZE)).backward()
    gradient = seen[0].grad
    assert gradient[:, 0].abs().sum() == 0
    assert (gradient[:, 1:].abs().sum((0, 2, 3, 4)) > 0).all()


def test_video_loss_learns():
    torch.manual_seed(0)
    policy = build_policy(tiny("video"), video_config(), SIZE)
    batch = clip_batch()
    policy.backbone.fit_codec(batch["clip"].flatten(0, 1))
    optimizer = torch.optim.Adam(policy.backbone.video.unet.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        torch.manual_seed(1)
        loss = policy.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    with pytest.raises(ConfigError, match="recipe=two_stage"):
        policy.predict(observations(batch))


@pytest.mark.parametrize("model", ["para", "para_volume", "regression"])
def test_every_model_on_a_video_backbone(model):
    torch.manual_seed(0)
    policy = build_policy(tiny(model), video_config(), SIZE)
    batch = make_batch(2, HORIZON, SIZE)
    scalars = policy.loss(batch, metrics=True)
    scalars["loss"].backward()
    for parameter in policy.backbone.unused_by_policies():
        assert parameter.grad is None
        parameter.requires_grad_(False)
    assert [n for n, p in policy.named_parameters() if p.requires_grad and p.grad is None] == []
    (chunk,) = policy.predict(observations(batch)[:1])
    assert chunk.positions.shape == (HORIZON, 3)
    assert np.isfinite(chunk.positions).all()


def test_waypoints_read_the_frames_of_their_time():
    # waypoints 0.3 s apart, frames 0.6 s: every second waypoint lies between two frames
    expected = [[0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    np.testing.assert_allclose(frame_weights(4, 3, 3, 6), expected)
    np.testing.assert_allclose(frame_weights(12, 3, 7, 6).sum(1), np.ones(12))

    policy = build_policy(tiny("para"), video_config(), SIZE).eval()
    head = policy.head
    features = torch.randn(1, 3, 8, 8, 8)
    changed = features.clone()
    changed[:, 2] += 1  # the last frame: waypoints 3 and 4
    with torch.no_grad():
        a, b = (head.decode(f, subcell=True).heatmaps for f in (features, changed))
    assert [bool((a[:, t] != b[:, t]).any()) for t in range(HORIZON)] == [False, False, True, True]


def test_a_video_whose_frames_are_alike_reads_as_one_image():
    """The paths of images and of videos are the same function."""
    torch.manual_seed(0)
    from para.heads import HEADS

    for name in ("para", "para_volume"):
        cfg = tiny(name).head
        video = HEADS[cfg.kind](cfg, HORIZON, 8, frame_weights(HORIZON, 3, 3, 6))
        image = HEADS[cfg.kind](cfg, HORIZON, 8)
        image.load_state_dict(video.state_dict())
        features = torch.randn(2, 8, 8, 8)
        one = image.decode(features, subcell=True)
        many = video.decode(features[:, None].expand(-1, 3, -1, -1, -1), subcell=True)
        for part in ("cells", "heights", "gripper", "heatmaps"):
            torch.testing.assert_close(getattr(one, part), getattr(many, part))


def test_a_copy_reads_its_own_features():
    """The averaged model is a deep copy: it must not see what happens to the original."""
    backbone = build_backbone(video_config(), SIZE, 8).eval()
    image = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        before = backbone(image)[0]
        twin = copy.deepcopy(backbone)
        for parameter in backbone.parameters():
            parameter.add_(0.1)
        assert torch.equal(twin(image)[0], before)
        assert not torch.equal(backbone(image)[0], before)
    assert not any(m._forward_hooks for m in backbone.modules())


def test_pca_codec_keeps_what_varies_most_at_variance_one():
    torch.manual_seed(0)
    base = torch.randn(12, 3, 4, 4)
    weights = torch.randn(20, 12, 4, 4) * torch.linspace(0.3, 0.01, 12).view(12, 1, 1)
    blocks = torch.einsum("nkhw,kcij->nchiwj", weights, base)
    frames = blocks.reshape(20, 3, 16, 16) / 4
    codec = PcaCodec(12)
    codec.fit(frames)
    latents = codec.encode(frames)
    assert latents.shape == (20, 12, 4, 4)
    variance = latents.transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(variance, torch.ones(12), rtol=1e-2, atol=0)
    torch.testing.assert_close(codec.decode(latents, 1), frames.clamp(-1, 1), rtol=0, atol=1e-4)
    again = PcaCodec(12)
    again.fit(frames)
    assert torch.equal(again.components, codec.components)


def test_lora_trains_only_its_updates():
    policy = build_policy(tiny("para"), video_config(lora_rank=2), SIZE)
    unet = policy.backbone.video.unet
    trained = [name for name, p in unet.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    policy.loss(make_batch(1, HORIZON, SIZE))["loss"].backward()


def test_gradient_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        cfg = video_config(gradient_checkpointing=checkpointing)
        policy = build_policy(tiny("para"), cfg, SIZE)
        torch.manual_seed(1)
        policy.loss(make_batch(1, HORIZON, SIZE))["loss"].backward()
        gradients.append(policy.backbone.video.unet.conv_in.weight.grad)
    torch.testing.assert_close(*gradients)


# --- weights from a folder -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small Stable Video Diffusion, saved by diffusers and transformers themselves."""
    path = tmp_path_factory.mktemp("svd")
    torch.manual_seed(3)
    video = build_backbone(video_config(**KL, **ENCODER), SIZE, None).video
    video.unet.save_pretrained(path / "unet")
    video.codec.vae.save_pretrained(path / "vae")
    video.image_encoder.save_pretrained(path / "image_encoder")
    index = {"_class_name": "StableVideoDiffusionPipeline"}
    (path / "model_index.json").write_text(json.dumps(index))
    return path


def test_a_local_folder_in_diffusers_format(folder):
    torch.manual_seed(3)
    original = build_backbone(video_config(**KL, **ENCODER), SIZE, None)
    loaded = build_backbone(video_config(**KL, **ENCODER, weights=str(folder)), SIZE, None)
    assert loaded.init == "file"
    ours, theirs = loaded.state_dict(), original.state_dict()
    assert ours.keys() == theirs.keys()
    assert [k for k in ours if not torch.equal(ours[k], theirs[k])] == []
    images = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images)[1], original.eval()(images)[1])
        condition = loaded.video.condition(images)
        assert condition.embedding.shape == (1, 1, 32)
        assert condition.embedding.abs().sum() > 0
        latents = loaded.video.codec.encode(images)
        scale = loaded.video.codec.vae.config.scaling_factor
        torch.testing.assert_close(latents, condition.latents * scale)
        assert loaded.video.codec.decode(latents.expand(3, -1, -1, -1), 3).shape[0] == 3
        assert torch.isfinite(loaded.train().video_loss(torch.rand(1, 3, 3, SIZE, SIZE)))


def test_folders_that_cannot_serve(folder, tmp_path):
    def build(weights, **changes):
        build_backbone(video_config(**(KL | changes), weights=str(weights)), SIZE, None)

    with pytest.raises(CheckpointError, match="No folder at"):
        build(tmp_path / "nowhere")
    (tmp_path / "text").mkdir()
    with pytest.raises(CheckpointError, match=r"no unet/config.json.*no Stable Video Diffusion"):
        build(tmp_path / "text")
    half = tmp_path / "half"
    half.mkdir()
    (half / "unet").symlink_to(folder / "unet")
    with pytest.raises(CheckpointError, match=r"no vae/config.json.*it has: unet"):
        build(half)
    (half / "vae").mkdir()
    (half / "vae" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors"):
        build(half)
    wider = KL["unet"] | {"block_out_channels": [32, 64]}
    with pytest.raises(CheckpointError, match="another architecture"):
        build(folder, unet=wider)
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    (swapped / "unet").symlink_to(folder / "vae")
    (swapped / "vae").symlink_to(folder / "vae")
    with pytest.raises(CheckpointError, match=r"AutoencoderKLTemporalDecoder.*not a UNetSpatio"):
        build(swapped)


def test_pretrained_weights_that_cannot_be_had(monkeypatch):
    import huggingface_hub

    def offline(*_arguments, **_options):
        raise OSError("no internet")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(CheckpointError, match=r"(?s)no internet.*Three ways out.*PATH.*svd_tiny"):
        build_backbone(video_config(weights="pretrained"), SIZE, None)


# --- configurations that cannot work -------------------------------------------------------------


def test_impossible_video_backbones():
    with pytest.raises(ConfigError, match=r"multiples of 8"):
        build_backbone(video_config(), 36, 8)
    with pytest.raises(ConfigError, match=r"blocks=\[2\].*0, 1"):
        build_backbone(video_config(blocks=[2]), SIZE, 8)
    with pytest.raises(ConfigError, match="norm_groups=5"):
        build_backbone(video_config(norm_groups=5), SIZE, 8)
    with pytest.raises(ConfigError, match=r"unet.in_channels=20 must be 24"):
        build_backbone(video_config(unet={"in_channels": 20}), SIZE, 8)
    with pytest.raises(ConfigError, match=r"backbone\.unet describes no network.*widht"):
        build_backbone(video_config(unet={"widht": 3}), SIZE, 8)


@pytest.mark.parametrize("level", [0, 700])
def test_the_last_noise_level_lies_below_the_first(level):
    from para.cli import load_config

    with pytest.raises(ConfigError, match=rf"backbone\.sigma_min={level}.*(positive|below 700)"):
        check(load_config(TrainConfig, ["backbone=svd_tiny", f"backbone.sigma_min={level}"]))


def test_clips_of_another_length_are_refused():
    backbone = build_backbone(video_config(), SIZE, None)
    with pytest.raises(ConfigError, match="clips of 3 frames"):
        backbone.video_loss(torch.rand(1, 5, 3, SIZE, SIZE))


def test_configurations_survive_json():
    from para.cli import load_config

    cfg = load_config(TrainConfig, ["backbone=svd_tiny", "recipe=two_stage"])
    again = train_config_from_dict(json.loads(json.dumps(asdict(cfg))))
    assert isinstance(again, TrainConfig)
    assert again == cfg
    old = asdict(load_config(TrainConfig))
    del old["recipe"], old["stage"]
    assert train_config_from_dict(old) == load_config(TrainConfig)
    broken = asdict(cfg)
    broken["backbone"]["kind"] = "vidoe"
    with pytest.raises(UnknownNameError, match="Did you mean 'video'"):
        train_config_from_dict(broken)
