"""Rotations: what a policy says about the hand is the same turn, whatever the camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_fixtures import (
    MODELS,
    apart,
    backbone_config,
    make_batch,
    model_config,
    observations,
    turning_config,
)

from baselines.coordinates import CoordinatesPolicy
from para.camera import Camera
from para.errors import ConfigError
from para.heads import Decoded
from para.policies.base import build_policy

SIZE, HORIZON = 64, 3


def build(model: str):
    torch.manual_seed(0)
    return build_policy(turning_config(model, HORIZON), backbone_config(), SIZE)


def turned_batch(batch: int = 2) -> dict[str, torch.Tensor]:
    """Labels of any yaw, seen by cameras that are rolled differently."""
    made = make_batch(batch, HORIZON, SIZE)
    yaws = torch.linspace(-1.5, 1.5, batch * HORIZON).view(batch, HORIZON)
    made["waypoint_rotation"] = torch.stack([0 * yaws, 0 * yaws, yaws], -1)
    for i, angle in enumerate(np.radians([20.0, -35.0])):
        cos, sin, c = np.cos(angle), np.sin(angle), SIZE / 2
        rows = [[cos, -sin, c - cos * c + sin * c], [sin, cos, c - sin * c - cos * c], [0, 0, 1]]
        made["intrinsics"][i] = torch.tensor(rows).float() @ made["intrinsics"][i]
    return made


@pytest.mark.parametrize("model", MODELS)
def test_every_model_can_predict_rotation(model):
    assert turning_config(model, HORIZON).predicts_rotation
    assert not model_config(model).predicts_rotation


@pytest.mark.parametrize("model", ["keypoint", "act_camera"])
def test_rotations_are_learned_and_predicted(model):
    policy = build(model)
    assert policy.loss(turned_batch())["loss"].isfinite()
    for chunk in policy.predict(observations(turned_batch())):
        assert chunk.rotations.shape == (HORIZON, 3)
        assert np.isfinite(chunk.rotations[~chunk.missed]).all()


def test_para_decodes_the_yaw_that_it_was_taught():
    policy, batch = build("para"), turned_batch()
    taught = {}
    policy.head.loss = lambda _, labels: taught.update(labels=labels) or {"none": torch.zeros(())}
    policy.loss(batch)
    labels = taught["labels"]
    decoded = Decoded(
        labels.cells,
        labels.heights,
        labels.gripper,
        labels.rotations,
        torch.zeros(2, HORIZON, 4, 4),
    )
    chunks = policy._chunks(decoded, observations(batch))
    yaws = np.stack([chunk.rotations[:, 2] for chunk in chunks])
    assert apart(yaws, batch["waypoint_rotation"][..., 2].numpy()) < 1e-3
    # It is not the world's yaw that the image is asked for.
    assert apart(labels.rotations[..., 2].numpy(), yaws) > 0.2


@pytest.mark.parametrize("model", ["regression", "regression_camera"])
def test_coordinates_decode_the_yaw_that_they_were_taught(model):
    policy, batch = build(model), turned_batch()
    assert isinstance(policy, CoordinatesPolicy)
    camera = Camera(batch["intrinsics"], batch["T_world_camera"], SIZE, SIZE)
    encoded = policy._encode_turns(batch, camera)
    decoded = policy._decode_turns(encoded, batch["waypoints"], camera)
    assert apart(decoded[..., 2].numpy(), batch["waypoint_rotation"][..., 2].numpy()) < 1e-3
    half_more = batch | {
        "waypoint_rotation": batch["waypoint_rotation"] + torch.tensor([0, 0, np.pi])
    }
    torch.testing.assert_close(policy._encode_turns(half_more, camera), encoded, atol=1e-5, rtol=0)


def test_a_head_tells_turns_apart_modulo_half_a_circle():
    head = build("para").head
    angles = torch.tensor([-1.5, -0.4, 0.0, 0.9, 1.56])
    bins = head.cfg.rotation_bins
    position = (2 * angles + np.pi) * bins / (2 * np.pi)
    grid = torch.arange(bins)
    distance = (grid - position[:, None]).remainder(bins)
    target = (1 - torch.minimum(distance, bins - distance)).clamp(min=1e-9)
    logits = target.log()[:, None].expand(-1, 3, -1)
    turns = head.decode_rotations(logits, subcell=True)[:, 2]
    assert apart(turns.numpy(), angles.numpy()) < 1e-3
    assert (turns.abs() <= np.pi / 2 + 1e-6).all()


def test_a_policy_without_rotation_is_refused_before_training():
    from para.cli import load_config
    from para.fields import check
    from para.runs.config import TrainConfig

    cfg = load_config(TrainConfig, ["task=stack_blocks", "robot=hand"])
    assert cfg.layout == "independent"
    check(cfg)
    head = replace(cfg.model.head, rotation_bins=0)
    with pytest.raises(ConfigError, match=r"turns the hand.*model\.head\.rotation_bins=36"):
        check(replace(cfg, model=replace(cfg.model, head=head)))
    assert load_config(TrainConfig).model.head.rotation_bins == 0
