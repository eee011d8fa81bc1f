"""N steps are k steps, a stop of any kind and N - k steps, to the bit."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from synthetic_demos import make_episode

from envs.base import load_task
from para.data.dataset import DemoDataset
from para.data.format import dataset_dir, episode_path, write_episode
from para.data.generate import plan
from para.policies.base import Policy
from para.runs.identity import RunId, Setting
from para.training import loop
from para.training.log import read_log
from para.training.loop import train
from para.training.step import NonFiniteError
from tests import warm_scripts

FILES = ("policy", "checkpoint/policy", "checkpoint/ema", "checkpoint/optimizer")
TIMES = ("minutes", "samples_per_s")


def assert_same(a: Path, b: Path) -> None:
    """Weights, averages, moments and log of two runs are equal, bit by bit."""
    for name in FILES:
        left, right = (load_file(folder / f"{name}.safetensors") for folder in (a, b))
        assert left.keys() == right.keys()
        assert [k for k in left if not torch.equal(left[k], right[k])] == [], name
    rows = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in read_log(folder)]
        for folder in (a, b)
    ]
    assert rows[0] == rows[1]


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training die before it starts `step`, without any chance to save."""
    original = loop.optimise

    def dying(run, learner, progress, batches):
        if progress.step == step:
            raise SystemError("killed")
        return original(run, learner, progress, batches)

    monkeypatch.setattr(loop, "optimise", dying)


@pytest.mark.parametrize(
    ("model", "precision"),
    [("para", "fp32"), ("para", "bf16"), ("regression", "bf16"), ("act", "fp32"), ("act", "bf16")],
)
def test_resume_is_exact(model, precision, config, datasets, monkeypatch):
    overrides = [f"model={model}", f"training.precision={precision}", "augment.rotate_deg=5"]
    if model == "act":
        overrides += ["model.encoder_layers=1", "model.decoder_layers=1"]
    whole = train(config(*overrides, runs="a"), progress=False, datasets=datasets)
    with monkeypatch.context() as patch:
        kill_at(5, patch)  # the last checkpoint is at step 3, in the middle of a logging window
        with pytest.raises(SystemError):
            train(config(*overrides, runs="b"), progress=False, datasets=datasets)
    torch.manual_seed(12345)  # whatever ran in between
    resumed = train(config(*overrides, runs="b"), progress=False, datasets=datasets)
    assert_same(whole.folder, resumed.folder)
    assert resumed.losses == whole.losses
    assert resumed.validation == whole.validation
    assert [row["step"] for row in read_log(whole.folder)] == [3, 4, 6]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(number, config, datasets, monkeypatch):
    whole = train(config(runs="a"), progress=False, datasets=datasets)
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        original = loop.optimise

        def interrupted(run, learner, progress, batches):
            if progress.step == 1:
                os.kill(os.getpid(), number)
            return original(run, learner, progress, batches)

        patch.setattr(loop, "optimise", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"Step 2 of 6 is saved in .*same command"):
            train(config(runs="b"), progress=False, datasets=datasets)
    assert signal.getsignal(number) is handler
    resumed = train(config(runs="b"), progress=False, datasets=datasets)
    assert_same(whole.folder, resumed.folder)


def test_non_finite_loss_stops_before_the_step(config, datasets, monkeypatch):
    whole = train(config(runs="a"), progress=False, datasets=datasets)
    train_set, held_out = datasets
    original = DemoDataset.batch
    batches = []

    def poisoned(self, samples):
        batch = original(self, samples)
        if self is train_set:
            batches.append(samples)
            if len(batches) > 5:  # one for the picture, then steps 0 to 3
                batch["image"][0] = float("nan")
        return batch

    with monkeypatch.context() as patch:
        patch.setattr(DemoDataset, "batch", poisoned)
        with pytest.raises(NonFiniteError, match=r"step 4: loss=nan.*Batch 4 holds") as caught:
            train(config(runs="b"), progress=False, datasets=datasets)
    demos = {train_set.metas[int(sample) // 20].index for sample in batches[5]}
    listed = str(caught.value).split("samples of demos ")[1].split(".")[0]
    assert {int(demo) for demo in listed.split(", ")} == demos
    # With good data the run goes on from the saved state as if nothing had happened.
    resumed = train(config(runs="b"), progress=False, datasets=(train_set, held_out))
    assert_same(whole.folder, resumed.folder)


def test_validation_does_not_influence_training(config, datasets):
    watched = train(config(runs="a"), progress=False, datasets=datasets)
    blind = train(config(runs="b"), progress=False, datasets=(datasets[0], None))
    assert blind.validation == {}
    assert watched.validation["val_error_mm"] > 0
    for name in FILES:
        left, right = (load_file(run.folder / f"{name}.safetensors") for run in (watched, blind))
        assert all(torch.equal(left[k], right[k]) for k in left)


def test_a_policy_that_hits_nothing_is_saved_all_the_same(config, datasets, monkeypatch):
    """An error of no waypoint is no number, and the log takes numbers only."""

    def missing(self, observations, *arguments):
        chunks = predict(self, observations, *arguments)
        return [replace(c, positions=np.full_like(c.positions, np.nan)) for c in chunks]

    predict = Policy.predict
    monkeypatch.setattr(Policy, "predict", missing)
    summary = train(config("model=pixel_regression"), progress=False, datasets=datasets)
    assert "val_error_mm" not in summary.validation
    assert summary.validation["val_missed"] > 0


@pytest.mark.timeout(1200)
def test_sigkill_ends_in_the_same_files(tmp_path):
    """Two SIGKILLs at random moments of the real script, then a run to the end."""
    folder = dataset_dir(tmp_path / "data", "bowl_on_plate-panda-together", "objpos", 64)
    for demo in plan("objpos", load_task("bowl_on_plate"), limit=8):
        write_episode(episode_path(folder, demo.index), make_episode(demo.index))

    def start(runs: str) -> warm_scripts.Script:
        overrides = (
            "profile=smoke robot=panda env.max_steps=600 limit=8 workers=1 training.steps=24 "
            "training.batch_size=4 training.checkpoint_every=2 "
            f"data_dir={tmp_path}/data runs_dir={tmp_path / runs}"
        )
        return warm_scripts.start("scripts/train.py", *overrides.split(), cwd=tmp_path)

    def run_of(runs: str) -> Path:
        run = RunId(Setting(robot="panda"), "smoke", "left", "para", "resnet10", "camera", seed=0)
        return run.folder(tmp_path / runs)

    undisturbed = start("a")
    assert undisturbed.wait() == 0, undisturbed.said()
    rng = random.Random(0)
    state = run_of("b") / "checkpoint" / "state.json"
    before = ""
    for _ in range(2):
        process = start("b")
        while not state.exists() or state.read_text() == before:  # until it saved a checkpoint
            assert process.poll() is None, process.said()
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        # The kill may have hit the moment between two renames.
        saved = state if state.exists() else run_of("b") / "checkpoint.previous" / "state.json"
        before = saved.read_text()
    process = start("b")
    assert process.wait() == 0, process.said()
    for name in FILES:
        a, b = (run_of(runs) / f"{name}.safetensors" for runs in "ab")
        assert a.read_bytes() == b.read_bytes(), name
    assert_same(run_of("a"), run_of("b"))
