"""Recipes: which runs they are, what each trains, and that every one of them resumes exactly."""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from synthetic_demos import make_dataset
from test_resume import assert_same, kill_at

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from dataclasses import asdict

from model_fixtures import SMALL_UNET, SMALL_VIDEO

from para.cli import load_config
from para.data.dataset import DemoDataset
from para.errors import CheckpointError, ConfigError, UnknownNameError
from para.fields import check
from para.policies.base import build_policy
from para.runs.config import TrainConfig, differences
from para.runs.folders import find_runs, run_dir
from para.runs.identity import Setting
from para.runs.labels import model_overrides
from para.runs.policy_file import load_policy
from para.training import claims, loop
from para.training.log import read_log
from para.training.loop import train
from para.training.optimiser import parameter_groups
from para.training.stages import (
    StageLoss,
    freeze,
    load_start,
    needs_clips,
    stage_configs,
    start_folder,
)

SMALL = [
    *(f"backbone.{key}={value}".replace(" ", "") for key, value in SMALL_VIDEO.items()),
    *(f"backbone.unet.{key}={value}".replace(" ", "") for key, value in SMALL_UNET.items()),
    *("env.image_size=32", "heatmap_size=8", "model.horizon=4", "workers=1"),
    *("training.warmup_steps=1", "training.log_every=2", "training.checkpoint_every=2"),
    *("training.precision=fp32", "training.ema_decay=0.9"),
]
SMALL = [word.replace("'", "") for word in SMALL]
STEPS = {"video": 5, "joint": 5, "heads": 5}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Demos with clips of 3 frames; the same for all stages."""
    folder = make_dataset(tmp_path_factory.mktemp("demos"), episodes=4, frames=8, size=32)
    return tuple(DemoDataset(folder, indices, 4, 3, clip=(3, 6)) for indices in (range(3), [3]))


@functools.cache
def stage_names(recipe):
    return tuple(load_config(TrainConfig, ["backbone=svd_tiny", f"recipe={recipe}"]).recipe.stages)


def small_config(runs_dir, recipe, *overrides):
    """A small training with a recipe (or None)."""
    words = ["backbone=svd_tiny", *SMALL, f"runs_dir={runs_dir}"]
    if recipe:
        words.append(f"recipe={recipe}")
        for name in stage_names(recipe):
            words.append(f"recipe.stages.{name}.steps={STEPS[name]}")
            words.append(f"recipe.stages.{name}.batch_size=2")
    return load_config(TrainConfig, [*words, *overrides])


@pytest.fixture
def config(tmp_path):
    """config("two_stage", "seed=1"): see `small_config`; runs in a folder of the test's own."""
    return lambda *words: small_config(tmp_path / "runs", *words)


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory, datasets):
    """Configuration and summary of `recipe=two_stage`, trained without a stop."""
    cfg = small_config(tmp_path_factory.mktemp("two_stages") / "runs", "two_stage")
    return cfg, train(cfg, progress=False, datasets=datasets)


@pytest.fixture
def trained(two_stages, config):
    """The summary of `two_stages`, whose runs lie in the test's own folder."""
    cfg, summary = two_stages
    mine = config("two_stage")
    shutil.copytree(cfg.runs_dir, mine.runs_dir)
    folder = Path(mine.runs_dir) / summary.folder.relative_to(cfg.runs_dir)
    return dataclasses.replace(summary, folder=folder)


def test_stages_are_runs_with_names_of_their_own(config):
    folders = {
        recipe: ["/".join(run_dir(c).parts[-3:]) for c in stage_configs(config(recipe))]
        for recipe in ("two_stage", "frozen", "joint", "heads_only")
    }
    video = "left/video-svd_tiny-camera/seed0"
    assert folders == {
        "two_stage": [video, "left/para_two_stage-svd_tiny-camera/seed0"],
        "frozen": [video, "left/para_frozen-svd_tiny-camera/seed0"],
        "joint": ["left/para_joint-svd_tiny-camera/seed0"],
        "heads_only": ["left/para_heads_only-svd_tiny-camera/seed0"],
    }
    short = stage_configs(load_config(TrainConfig, ["backbone=svd_tiny", "recipe=two_stage_short"]))
    assert [run_dir(c).parts[-2] for c in short] == (
        ["video_short-svd_tiny-camera", "para_two_stage_short-svd_tiny-camera"]
    )
    assert start_folder(short[1]) == run_dir(short[0])
    first, second = stage_configs(config("two_stage"))
    assert [needs_clips(c) for c in (first, second)] == [True, True]
    assert start_folder(first) is None
    assert start_folder(second) == run_dir(first)
    assert second.stage.after_steps == STEPS["video"]
    assert needs_clips(stage_configs(config("frozen"))[1]) is False


def test_the_video_stage_depends_on_neither_policy_nor_reading(config):
    base = stage_configs(config("two_stage"))[0]

    def differing(other):
        assert run_dir(other) == run_dir(base)
        return set(differences(other, asdict(base)))

    for recipe, *overrides in (
        ("frozen",),
        ("two_stage", "model=regression"),
        ("two_stage", "backbone.sigma=3", "backbone.blocks=[1]", "backbone.channels=16"),
        ("two_stage", "model.name=other", "recipe.stages.joint.steps=9"),
    ):
        assert differing(stage_configs(config(recipe, *overrides))[0]) == set()
    longer = stage_configs(config("two_stage", "backbone.frames=4"))[0]
    assert differing(longer) == {"backbone.frames"}
    everywhere = stage_configs(config("two_stage", "recipe.stages.video.split=video_n256"))
    assert run_dir(everywhere[0]).parts[-3:] == ("spread_n256", "video-svd_tiny-camera", "seed0")
    assert start_folder(everywhere[1]) == run_dir(everywhere[0])


@pytest.mark.slow
def test_two_stages_end_to_end_and_the_first_is_trained_once(config, datasets, trained):
    video = run_dir(stage_configs(config("two_stage"))[0])
    assert {"policy", "video", "heatmap", "val_error_mm"} <= {
        key for row in read_log(trained.folder) for key in row
    }
    assert [row["step"] for row in read_log(video)] == [2, 4, 5]
    before = (video / "policy.safetensors").stat().st_mtime_ns
    frozen = train(config("frozen"), progress=False, datasets=datasets)
    again = train(config("two_stage", "fresh=true"), progress=False, datasets=datasets)
    assert not again.already_trained
    assert (video / "policy.safetensors").stat().st_mtime_ns == before
    assert train(config("two_stage"), progress=False, datasets=datasets).already_trained

    video_only = load_file(video / "policy.safetensors")
    after = load_file(frozen.folder / "policy.safetensors")
    unet = [key for key in video_only if key.startswith("backbone.video.")]
    assert all(torch.equal(after[key], video_only[key]) for key in unet)
    meta = json.loads((trained.folder / "policy.json").read_text())
    assert meta["start"]["run"] == "video-svd_tiny-camera/seed0"
    assert meta["start"]["training"]["steps"] == 5
    policy, _ = load_policy(trained.folder)
    assert policy.backbone.video.codec.std.max() < 10
    moved = [k for k in unet if not torch.equal(policy.state_dict()[k], video_only[k])]
    assert len(moved) > 50
    names = [
        f.parent.name for f in find_runs(trained.folder.parents[4], Setting(), "laptop", "left")
    ]
    assert names == ["para_frozen-svd_tiny-camera", "para_two_stage-svd_tiny-camera"]


@pytest.mark.slow
def test_resume_is_exact_inside_and_between_stages(config, datasets, monkeypatch, two_stages):
    """Killed in the first stage, then in the second."""
    undisturbed, whole = two_stages
    stages = stage_configs(config("two_stage"))
    for stage in stages:
        with monkeypatch.context() as patch:
            original, kill_in = loop.optimise, stage.model.name

            def dying(run, learner, progress, batches, original=original, kill_in=kill_in):
                if progress.step == 3 and run.cfg.model.name == kill_in:
                    raise SystemError("killed")
                return original(run, learner, progress, batches)

            patch.setattr(loop, "optimise", dying)
            with pytest.raises(SystemError):
                train(config("two_stage"), progress=False, datasets=datasets)
        torch.manual_seed(99)
    resumed = train(config("two_stage"), progress=False, datasets=datasets)
    for a, b in zip(stage_configs(undisturbed), stages, strict=True):
        assert_same(run_dir(a), run_dir(b))
    assert resumed.losses == whole.losses


@pytest.mark.long
def test_global_regression_on_video_features(config, datasets):
    """`model=regression backbone=svd_tiny` needs no code of its own, with a recipe or without."""
    for recipe in (None, "two_stage"):
        overrides = ("model=regression", "training.steps=3", "training.batch_size=2")
        summary = train(config(recipe, *overrides), progress=False, datasets=datasets)
        policy, meta = load_policy(summary.folder)
        assert policy.cfg.acts
        assert meta["config"]["model"]["name"] == (
            "regression_two_stage" if recipe else "regression"
        )
        assert summary.validation["val_error_mm"] > 0


def test_stages_train_what_they_say(config, datasets):
    batch = datasets[0].batch(np.array([0, 5]))
    for recipe, index, moving in (
        ("two_stage", 1, {"video", "heads"}),
        ("frozen", 1, {"heads"}),
        ("two_stage", 0, {"video"}),
    ):
        cfg = stage_configs(config(recipe))[index]
        policy = build_policy(cfg.model, cfg.backbone, 32)
        freeze(policy, cfg)
        StageLoss(policy, cfg.stage)(batch)["loss"].backward()
        trained = {n for n, p in policy.named_parameters() if p.requires_grad}
        assert {n for n, p in policy.named_parameters() if p.grad is not None} == trained
        parts = {"video" if n.startswith("backbone.video.") else "heads" for n in trained}
        assert parts == moving


def test_rates_go_to_their_parts(config):
    cfg = stage_configs(
        config("two_stage", "recipe.stages.joint.rates={video: 1e-6, heads: 1e-4}")
    )[1]
    policy = build_policy(cfg.model, cfg.backbone, 32)
    rates: dict[float, set[str]] = {}
    names = {id(p): n for n, p in policy.named_parameters()}
    for group in parameter_groups(policy, cfg.training):
        rates.setdefault(group["lr"], set()).update(names[id(p)] for p in group["params"])
    assert set(rates) == {1e-6, 1e-4}
    assert all(n.startswith("backbone.video.") for n in rates[1e-6])
    assert {n for n in rates[1e-4] if n.startswith("backbone.")} == {
        f"backbone.lateral.{k}.{w}" for k in (0, 1) for w in ("weight", "bias")
    }


def test_two_losses_are_divided_by_their_running_means(config, datasets):
    cfg = stage_configs(config("two_stage"))[1]
    losses = StageLoss(build_policy(cfg.model, cfg.backbone, 32), cfg.stage)
    scalars = losses(datasets[0].batch(np.arange(2)))
    assert float(scalars["loss"].detach()) == pytest.approx(2)
    losses.update({"policy": 4.0, "video": 0.5})
    losses.update({"policy": 2.0, "video": 0.5})
    assert losses.means == pytest.approx({"policy": 3.98, "video": 0.5})
    scalars = {k: float(v.detach()) for k, v in losses(datasets[0].batch(np.arange(2))).items()}
    assert scalars["loss"] == pytest.approx(scalars["policy"] / 3.98 + scalars["video"] / 0.5)


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_a_start_of_another_size_is_refused_before_training(config, datasets):
    wider = config("two_stage", "backbone.unet.block_out_channels=[32,64]")
    with pytest.raises(ConfigError, match=r"video-svd_tiny.*another configuration.*block_out"):
        train(wider, progress=False, datasets=datasets)
    cfg = stage_configs(wider)[1]
    policy = build_policy(cfg.model, cfg.backbone, 32)
    with pytest.raises(CheckpointError, match=r"policy\.safetensors.*another architecture"):
        load_start(policy, start_folder(cfg))
    with pytest.raises(CheckpointError, match="does not exist"):
        load_start(policy, start_folder(cfg).parent / "seed7")


def test_an_unfinished_stage_is_not_a_start(config, datasets, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(4, patch)
        with pytest.raises(SystemError):
            train(config("two_stage"), progress=False, datasets=datasets)
    second = stage_configs(config("two_stage"))[1]
    with pytest.raises(CheckpointError, match="has not finished"):
        train(second, progress=False, datasets=datasets)


@pytest.mark.long
def test_two_recipes_at_once_train_the_shared_stage_once(config, datasets, monkeypatch):
    """The second process finds the folder taken, waits, and then finds the stage finished."""
    waited = []

    def flock(_lock, operation):
        if not operation & fcntl.LOCK_NB:
            waited.append(operation)
        elif not waited:
            # the other process is at work; it will be done when the lock is free
            other = config("frozen")
            with monkeypatch.context() as patch:
                patch.setattr(claims.fcntl, "flock", lambda *_: None)
                train(stage_configs(other)[0], progress=False, datasets=datasets)
            raise BlockingIOError

    video = run_dir(stage_configs(config("two_stage"))[0])
    monkeypatch.setattr(claims.fcntl, "flock", flock)
    summary = train(config("two_stage"), progress=False, datasets=datasets)
    assert waited == [fcntl.LOCK_EX]
    assert [row["step"] for row in read_log(video)] == [2, 4, 5]
    assert summary.steps == STEPS["joint"]


def test_recipes_that_cannot_work(config):
    bad = {
        "recipe.stages.joint.losses=[vidoe]": "Did you mean 'video'",
        "recipe.stages.joint.losses=[]": "losses is empty",
        "recipe.stages.joint.losses=[video]": "losses has no policy",
        "recipe.stages.video.rates={video: null, heads: 1}": "no rate for video",
        "recipe.stages.video.rates.heads=1": "losses has no policy",
        "recipe.stages.video.rates.video=null": "freezes video and heads",
        "recipe.stages.joint.rates.heads=0": "must be positive",
        "recipe.stages.video.steps=1": "above training.warmup_steps",
        "budget_minutes=3": r"recipe\.stages\.NAME\.minutes",
        "model.horizon=9": "Use more frames",
        "model=act": "one map per frame",
    }
    for override, message in bad.items():
        words = (override,)
        with pytest.raises((ConfigError, UnknownNameError), match=message):
            check(_without_hidden(config, *words))
    cfg = config("two_stage")
    del cfg.recipe.stages["joint"]
    with pytest.raises(ConfigError, match="last stage of a recipe must train a policy"):
        check(cfg)
    with pytest.raises(ConfigError, match=r"resnet10 is no video model.*svd_tiny"):
        check(load_config(TrainConfig, ["recipe=two_stage"]))
    with pytest.raises(ConfigError, match="resnet10 is not"):
        check(load_config(TrainConfig, ["model=video"]))
    with pytest.raises(UnknownNameError, match="Did you mean 'two_stage'"):
        load_config(TrainConfig, ["backbone=svd_tiny", "recipe=two_stages"])


def _without_hidden(config, *overrides):
    """A broken configuration; other models do not have every key of para's."""
    cfg = config("two_stage", *(o for o in overrides if o != "model=act"))
    if "model=act" in overrides:
        other = load_config(TrainConfig, ["model=act", "model.horizon=4"]).model
        cfg = dataclasses.replace(cfg, model=other)
    return cfg


@pytest.mark.parametrize(
    ("overrides", "name", "known"),
    [
        ([], "para", None),
        (["text=clip"], "para", None),  # one instruction: there is nothing to tell
        (["task=pick_named", "split=composition"], "para", 4),
        (["task=pick_named", "split=distractor"], "para", 6),
        (["task=pick_named", "split=distractor", "text=clip"], "para_clip", 6),
        (["task=pick_named", "split=distractor", "text=none"], "para_none", 6),
    ],
)
def test_a_run_knows_the_instructions_of_its_demos(tmp_path, overrides, name, known):
    cfg = load_config(TrainConfig, ["profile=smoke", f"runs_dir={tmp_path}", *overrides])
    (run,) = stage_configs(cfg)
    assert run.model.name == name
    assert (run.text and len(run.text.instructions)) == known
    assert stage_configs(run) == [run]
    training, _ = model_overrides(name)
    assert set(training) <= {"model=para", *overrides}
