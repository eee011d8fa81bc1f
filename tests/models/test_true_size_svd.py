"""The real Stable Video Diffusion, built from its configuration with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from model_fixtures import backbone_config, make_batch, model_config, observations

from para.policies.base import build_policy


def build_meta(**changes: object):
    """PARA on svd without memory for its weights."""
    with torch.device("meta"):
        return build_policy(
            model_config("para", heatmap_size=32),
            backbone_config("svd", weights="random", **changes),
            128,
        )


def test_it_has_the_published_size():
    video = build_meta().backbone.video
    count = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in (
            ("unet", video.unet),
            ("vae", video.codec.vae),
            ("image_encoder", video.image_encoder),
        )
    }
    assert count == {"unet": 1_524_623_082, "vae": 97_742_847, "image_encoder": 632_076_800}
    assert build_meta().backbone.noise.shape == (1, 7, 4, 40, 72)
    assert build_meta().backbone.pooled_channels == 7 * (1280 + 640) * 16


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_one_joint_step_and_one_prediction():
    """Two small frames: 14 GB. Full frames need a GPU, see benchmarks/video_latency.py."""
    horizon = 2
    torch.manual_seed(0)
    cfg = backbone_config(
        "svd", weights="random", frames=2, size=[64, 64], image_encoder=False, channels=32
    )
    policy = build_policy(model_config("para", horizon=horizon, heatmap_size=16), cfg, 64)
    batch = make_batch(1, horizon, 64)
    optimizer = torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], 1e-4)
    loss = policy.loss(batch)["loss"]
    video = policy.backbone.video_loss(batch["image"][:, None].expand(-1, 2, -1, -1, -1))
    (loss / loss.detach() + video / video.detach()).backward()
    trained = [p for p in policy.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert all(torch.isfinite(p.grad).all() for p in trained)
    optimizer.step()
    optimizer.zero_grad()
    (chunk,) = policy.predict(observations(batch))
    assert np.isfinite(chunk.positions).all()
