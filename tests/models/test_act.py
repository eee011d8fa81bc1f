"""The ACT baseline and the quirks of its published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from model_fixtures import backbone_config, make_batch, model_config, observations

from baselines.detr import sine_embedding
from para.policies.base import STATISTICS, build_policy

SIZE, HORIZON = 64, 4


def build(model: str, **changes):
    torch.manual_seed(0)
    cfg = model_config(model, horizon=HORIZON, dropout=0.0, **changes)
    return build_policy(cfg, backbone_config(), SIZE).eval()


def l1(padding: str, batch: dict[str, torch.Tensor]) -> float:
    policy = build("act", padding=padding)
    return float(policy.loss(batch)["l1"].detach())


def test_published_loss_divides_by_padding_too():
    batch = make_batch(2, HORIZON, SIZE)  # 2 of 4 steps are padded
    assert l1("published", batch) == pytest.approx(l1("mask", batch) * 2 / 4, rel=1e-5)
    batch["padded"][:] = False
    assert l1("published", batch) == pytest.approx(l1("mask", batch), rel=1e-5)


def test_padded_labels_matter_only_where_they_are_supervised():
    batch = make_batch(2, HORIZON, SIZE)
    other = batch | {"waypoints": batch["waypoints"] + 0.5 * batch["padded"][..., None]}
    for padding in ("mask", "published"):
        assert l1(padding, batch) == l1(padding, other), padding
    regression = build("regression")
    assert float(regression.loss(batch)["l1"]) != float(regression.loss(other)["l1"])


def test_published_reads_the_first_decoder_layer_only():
    assert (len(build("act_published").encoder), len(build("act_published").decoder)) == (4, 1)
    assert (len(build("act").encoder), len(build("act").decoder)) == (4, 7)


def test_the_latent_is_sampled_in_training_and_zero_at_inference():
    policy = build("act")
    batch = make_batch(2, HORIZON, SIZE)
    torch.manual_seed(0)
    first = policy.loss(batch)
    second = policy.loss(batch)
    assert float(first["kl"].detach()) >= 0
    assert not torch.equal(first["l1"], second["l1"]), "the latent is drawn anew"
    total = first["l1"] + policy.cfg.kl_weight * first["kl"]
    torch.testing.assert_close(first["loss"], total)
    a, b = policy.predict(observations(batch)), policy.predict(observations(batch))
    for one, two in zip(a, b, strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)


def test_positions_are_denormalised():
    policy = build("regression")
    statistics = {name: torch.tensor([0.2, 0.3, 0.4]) for name in STATISTICS}
    policy.fit_normalisation(statistics)
    torch.nn.init.zeros_(policy.action.weight)
    torch.nn.init.constant_(policy.action.bias, 2.0)
    (chunk,) = policy.predict(observations(make_batch(1, HORIZON, SIZE)))
    np.testing.assert_allclose(chunk.positions, np.tile([0.6, 0.9, 1.2], (HORIZON, 1)), rtol=1e-5)
    assert chunk.gripper.tolist() == [1.0] * HORIZON
    assert chunk.rotations is None


def test_rotations_are_optional():
    policy = build("regression", rotations=True)
    (chunk,) = policy.predict(observations(make_batch(1, HORIZON, SIZE)))
    assert chunk.rotations.shape == (HORIZON, 3)


def test_sine_embeddings_tell_all_cells_apart():
    embedding = sine_embedding(4, 4, 32)
    assert embedding.shape == (16, 32)
    distance = torch.cdist(embedding, embedding) + 10 * torch.eye(16)
    assert distance.min() > 0.5
