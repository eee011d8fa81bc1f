"""Budgets, accumulation, and that training learns."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from para.errors import ConfigError
from para.policies.base import POLICIES, build_policy
from para.training import loop
from para.training.log import read_log
from para.training.loop import train


def test_accumulated_batches_make_the_same_steps(config, datasets):
    common = ("training.precision=fp32", "training.log_every=1", "augment=none")
    sizes = {"a": (8, 1), "b": (4, 2), "c": (2, 4)}
    rows = {}
    for runs, (size, count) in sizes.items():
        counts = (f"training.batch_size={size}", f"training.accumulate={count}")
        run = train(config(*common, *counts, runs=runs), progress=False, datasets=datasets)
        rows[runs] = [(row["loss"], row["grad_norm"]) for row in read_log(run.folder)]
    assert len(rows["a"]) == 6
    np.testing.assert_allclose(rows["b"], rows["a"], rtol=2e-3)
    np.testing.assert_allclose(rows["c"], rows["a"], rtol=2e-3)
    assert np.ptp([loss for loss, _ in rows["a"]]) > 0.02  # the losses do change


@pytest.mark.parametrize(
    "model", [name for name in POLICIES.options() if POLICIES.schema(name).acts]
)
def test_every_parameter_is_trained(model, config, datasets):
    """DDP stops at a parameter without a gradient; and it would be dead weight."""
    cfg = config(f"model={model}")
    policy = build_policy(cfg.model, cfg.backbone, cfg.env.image_size).train()
    policy.loss(datasets[0].batch(np.arange(4)))["loss"].backward()
    assert [n for n, p in policy.named_parameters() if p.requires_grad and p.grad is None] == []


def test_time_budget_ends_the_run_and_its_schedule(config, datasets, monkeypatch):
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: 0.1 * next(ticks))  # about 0.2 s per step
    monkeypatch.setattr(loop, "time", clock)
    cfg = config("training.steps=100000", "budget_minutes=0.05", "training.log_every=1")
    summary = train(cfg, progress=False, datasets=datasets)
    assert 8 <= summary.steps <= 20
    assert 0.05 <= summary.minutes < 0.08
    rates = [row["learning_rate"] for row in read_log(summary.folder)]
    assert rates[-1] < 0.1 * max(rates)
    assert train(cfg, progress=False).already_trained


def test_time_spent_before_a_stop_counts(config, datasets, monkeypatch):
    cfg = config("training.steps=100000", "budget_minutes=0.05", "training.checkpoint_every=1")
    save = loop.save

    def save_and_die(run, learner, progress):
        save(run, learner, progress)
        if progress.step == 5:
            raise SystemError("killed")

    def restart_clock():
        ticks = itertools.count()
        clock = SimpleNamespace(perf_counter=lambda: 0.1 * next(ticks))
        monkeypatch.setattr(loop, "time", clock)

    restart_clock()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", save_and_die)
        with pytest.raises(SystemError):
            train(cfg, progress=False, datasets=datasets)
    restart_clock()
    summary = train(cfg, progress=False, datasets=datasets)
    assert 0.05 <= summary.minutes < 0.08
    assert 8 <= summary.steps <= 20


def test_training_learns(config, datasets):
    cfg = config("training.steps=40", "training.learning_rate=3e-3", "training.log_every=5")
    summary = train(cfg, progress=False, datasets=datasets)
    losses = [row["loss"] for row in read_log(summary.folder) if "loss" in row]
    assert losses[-1] < 0.75 * losses[0]


def test_fp16_without_a_gpu_is_refused(config, datasets):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        train(config("training.precision=fp16"), progress=False, datasets=datasets)
