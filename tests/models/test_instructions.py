"""Policies that are told what to do: one image, several instructions, several answers."""

from __future__ import annotations

import dataclasses

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

from para.errors import ConfigError, UnknownNameError
from para.policies.base import Policy, build_policy
from para.text.table import TableConfig

SIZE = 64
SAID = ["put the red bowl on the blue plate", "put the red bowl on the black plate"]
SAID += ["put the green bowl on the blue plate", "put the green bowl on the black plate"]
TABLE = TableConfig("table", instructions=SAID[:3])


def _policy(model: str, text: TableConfig | None = TABLE) -> Policy:
    torch.manual_seed(0)
    changes = {"horizon": 4} | ({"heatmap_size": 16} if "para" in model or "key" in model else {})
    return build_policy(model_config(model, **changes), backbone_config(), SIZE, text).eval()


@pytest.mark.parametrize("model", MODELS)
def test_each_policy_answers_what_it_is_told(model):
    policy = _policy(model)
    batch = make_batch(1, 4, SIZE)
    (seen,) = observations(batch)
    told = [dataclasses.replace(seen, instruction=said) for said in SAID]
    answers = [np.nan_to_num(chunk.positions) for chunk in policy.predict(told)]
    for k, answer in enumerate(answers):
        others = answers[:k] + answers[k + 1 :]
        assert all(np.abs(answer - other).max() > 1e-7 for other in others)
    with pytest.raises(UnknownNameError, match="put the red bowl on the blue plate"):
        policy.predict([dataclasses.replace(seen, instruction="open the drawer")])


@pytest.mark.parametrize("model", MODELS)
def test_the_loss_teaches_the_layers_that_read_instructions(model):
    policy, plain = _policy(model), _policy(model, None)
    own, common = dict(policy.named_parameters()), dict(plain.named_parameters())
    assert all(torch.equal(own[name], value) for name, value in common.items())
    batch = make_batch(4, 4, SIZE) | {"instruction": policy.text.features(SAID)}
    policy.fit_normalisation(statistics(batch, policy))
    policy.loss(batch)["loss"].backward()
    added = own.keys() - common.keys()
    assert added
    assert all(own[name].grad is not None and own[name].grad.abs().sum() > 0 for name in added)


def test_a_policy_that_cannot_listen_says_so():
    with pytest.raises(ConfigError, match="several instructions, and model=para reads none"):
        Policy._listen(_policy("para", None), channels=4)


@pytest.mark.long
def test_para_learns_two_targets_of_each_instruction_on_one_image_and_composes_them():
    """Waypoints 1 and 2 go to the named bowl, 3 and 4 to the named plate; the pair of green and
    black is never trained.
    """
    policy = _policy("para").train()
    batch = make_batch(4, 4, SIZE)
    for name in ("image", "intrinsics", "T_world_camera", "ee_position", "gripper"):
        batch[name] = batch[name][:1].expand_as(batch[name]).clone()
    places = torch.tensor([[-0.15, -0.2], [0.15, 0.2], [0.15, -0.2], [-0.15, 0.2]])
    red, green, blue, black = torch.cat([places, torch.full((4, 1), 0.05)], 1)
    pairs = [(red, blue), (red, black), (green, blue), (green, black)]
    batch["waypoints"] = torch.stack([torch.stack([a, a, b, b]) for a, b in pairs])
    policy.fit_normalisation(statistics(batch, policy))
    trained = {name: value[:3] for name, value in batch.items()}
    trained["instruction"] = policy.text.features(SAID[:3])
    optimizer = torch.optim.Adam(policy.parameters(), 4e-3)
    for _ in range(100):
        optimizer.zero_grad()
        policy.loss(trained)["loss"].backward()
        optimizer.step()
    seen = observations(batch)
    told = [dataclasses.replace(o, instruction=s) for o, s in zip(seen, SAID, strict=True)]
    predicted = np.stack([chunk.positions for chunk in policy.predict(told)])
    error = np.linalg.norm(predicted - batch["waypoints"].numpy(), axis=-1)
    assert error[:3].max() < 0.05
    assert error[3].max() < 0.15  # the places are 0.3 m apart and more
