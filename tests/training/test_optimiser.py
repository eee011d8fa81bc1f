"""Schedule, groups and averages."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from para.runs.config import TrainingConfig
from para.training.optimiser import averaged, learning_rate_factor, parameter_groups


def test_learning_rate_warms_up_and_ends_at_zero():
    training = TrainingConfig(steps=100, warmup_steps=9)
    factors = [learning_rate_factor(training, step) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(factors[9], abs=0.01)
    assert factors[50] == pytest.approx(0.5)
    assert factors[100] == 0.0
    assert all(a > b for a, b in itertools.pairwise(factors[9:]))


def test_learning_rate_follows_what_ends_first():
    training = TrainingConfig(steps=100, warmup_steps=0)
    assert learning_rate_factor(training, 20, 0.5) == pytest.approx(0.5)
    assert learning_rate_factor(training, 50, 0.2) == pytest.approx(0.5)
    assert learning_rate_factor(training, 20, 1.5) == 0.0


def test_parameter_groups_decay_matrices_only_and_slow_the_backbone():
    policy = nn.Module()
    policy.backbone, policy.head = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    policy.frozen = frozen
    training = TrainingConfig(learning_rate=1e-3, backbone_learning_rate=1e-5, weight_decay=0.1)
    groups = {
        (group["lr"], group["weight_decay"]): [tuple(p.shape) for p in group["params"]]
        for group in parameter_groups(policy, training)
    }
    assert groups == {
        (1e-5, 0.1): [(3, 2)],
        (1e-5, 0.0): [(3,)],
        (1e-3, 0.1): [(4, 3)],
        (1e-3, 0.0): [(4,), (4,), (4,)],
    }


def test_average_follows_its_formula_and_continues_over_a_resume():
    def model() -> nn.Module:
        module = nn.BatchNorm1d(2)
        module.register_buffer("constant", torch.tensor([0.1, 0.7]))
        return module

    source, ema = model(), averaged(source := model(), 0.9)
    expected = None
    for n in range(60):
        source.weight.data.fill_(float(n))
        source.running_mean.fill_(float(-n))
        ema.update_parameters(source)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = float(n) if n == 0 else decay * expected + (1 - decay) * n
        assert ema.module.weight[0].item() == pytest.approx(expected, rel=1e-5)
        assert ema.module.running_mean[0].item() == pytest.approx(-expected, rel=1e-5)
        if n % 7 == 3:  # stop and go on
            resumed = averaged(source, 0.9)
            resumed.load_state_dict(ema.state_dict())
            ema = resumed
    assert torch.equal(ema.module.constant, source.constant)
