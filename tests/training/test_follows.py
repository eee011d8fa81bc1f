"""Augmentation is one key, and a policy gets the part of it that its labels can follow."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from para.cli import load_config
from para.data.config import GEOMETRIC, AugmentConfig
from para.errors import ParaError
from para.policies.base import POLICIES
from para.registry import options
from para.runs.config import TrainConfig
from para.runs.folders import run_dir
from para.training.loop import train
from para.training.stages import stage_configs

COLOUR = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}
NAMES = ("name", "without_geometry")
CAMERA = {"shift": 0.15, "scale": 0.2, "rotate_deg": 25.0, "camera_rotate_deg": 12.0}


def augment(*overrides: str) -> dict[str, float]:
    """What is switched on."""
    cfg = load_config(TrainConfig, overrides).augment
    return {key: value for key, value in asdict(cfg).items() if value and key not in NAMES}


def trained(*overrides: str) -> dict[str, float]:
    """What is switched on in the run that these overrides ask for."""
    (cfg,) = stage_configs(load_config(TrainConfig, overrides))
    return {key: value for key, value in asdict(cfg.augment).items() if value and key not in NAMES}


def test_augmentation_is_one_key():
    assert options("augment") == ["camera", "camera_error", "colour", "forced", "none"]
    assert augment("augment=colour") == COLOUR
    assert augment() == augment("profile=paper") == COLOUR | CAMERA
    assert augment("augment=none") == augment("augment=none", "profile=smoke") == {}
    assert augment("augment=camera") == COLOUR | CAMERA
    assert augment("augment=none", "augment.shift=0.1") == {"shift": 0.1}
    assert augment("augment=camera", "augment.shift=0.1") == COLOUR | CAMERA | {"shift": 0.1}
    with pytest.raises(ParaError, match="Did you mean 'colour'"):
        load_config(TrainConfig, ["augment=color"])


@pytest.mark.parametrize("model", [n for n in POLICIES.options() if POLICIES.schema(n).acts])
def test_a_policy_gets_what_it_can_follow(model):
    follows = POLICIES[POLICIES.schema(model).kind].follows
    expected = COLOUR | {key: value for key, value in CAMERA.items() if key in follows}
    assert trained(f"model={model}", "augment=camera") == expected
    assert trained(f"model={model}") == expected
    assert trained(f"model={model}", "augment=colour") == COLOUR


def test_what_was_followed_names_the_run():
    def folder(*overrides: str) -> str:
        return run_dir(load_config(TrainConfig, overrides)).parts[-2]

    assert folder("model=para") == "para-resnet10-camera"
    assert folder("model=para", "augment=colour") == "para-resnet10-colour"
    assert folder("model=regression") == folder("model=regression", "augment=colour")
    assert folder("model=regression", "augment=forced") == "regression-resnet10-forced"
    assert folder("model=regression", "augment=none") == "regression-resnet10-none"


def test_a_control_keeps_what_it_cannot_follow():
    told = ("model=regression", "augment=forced")
    assert trained(*told) == COLOUR | CAMERA | {"force": True}


def test_followed_leaves_what_follows():
    everything = AugmentConfig(**dict.fromkeys(GEOMETRIC, 0.5), hue=0.1)
    only = everything.followed({"rotate_deg"})
    assert only == replace(AugmentConfig(), rotate_deg=0.5, hue=0.1)
    assert everything.followed(GEOMETRIC) == everything


def test_recipes_share_a_video_stage_whatever_their_policy_follows():
    """Frames follow every warp; the stage on top of them is augmented as its policy can follow."""
    common = ("backbone=svd_tiny", "recipe=two_stage", "augment=camera")
    stages = {
        model: stage_configs(load_config(TrainConfig, [f"model={model}", *common]))
        for model in ("para", "regression")
    }
    (video, para), (same, regression) = stages["para"], stages["regression"]
    assert video == same
    assert video.augment.shift == para.augment.shift == 0.15
    assert regression.augment.shift == 0


def test_the_run_says_how_it_was_augmented(config, datasets, caplog):
    with caplog.at_level(logging.INFO, "para"):
        cfg = config("model=regression", "augment=camera", "training.steps=3")
        folder = train(cfg, progress=False, datasets=datasets).folder
    assert "cannot follow shift, scale, rotate_deg, camera_rotate_deg" in caplog.text
    for name, keys in (("policy.json", ("config", "augment")), ("config.json", ("augment",))):
        saved = json.loads(Path(folder / name).read_text())
        for key in keys:
            saved = saved[key]
        assert (saved["shift"], saved["camera_rotate_deg"], saved["hue"]) == (0, 0, 0.02)
    assert train(cfg, progress=False, datasets=datasets).already_trained
