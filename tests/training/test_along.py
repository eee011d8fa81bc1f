"""model.head.along=auto: depth or height, by the cameras, once and for all."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from synthetic_demos import make_episode
from tiny import tiny_config

from para.camera import Camera
from para.data.dataset import DemoDataset
from para.data.format import episode_path, write_episode
from para.data.own import OWN, write_imported
from para.errors import ConfigError
from para.files import read_json
from para.places import shipped
from para.policies.base import build_policy
from para.runs.policy_file import load_policy
from para.training import along
from para.training.along import LEAST_FOR_HEIGHTS_DEG, decided
from para.training.loop import train

AUTO = "model.head.along=auto"


def low_demos(folder: Path, *degrees: float) -> Path:
    """An imported set: a demo for each elevation of its camera over the middle of the demos."""
    episodes = [make_episode(k, 8, 32) for k in range(len(degrees))]
    hand = np.concatenate([episode.arrays["obs/ee_pose"][:, :2] for episode in episodes])
    middle = np.append(np.median(hand, axis=0), 0.0)
    for k, (episode, elevation) in enumerate(zip(episodes, np.radians(degrees), strict=True)):
        eye = middle + 1.5 * np.array([np.cos(elevation), 0, np.sin(elevation)])
        view = Camera.look_at(eye, (0, 0, 0), 45, 32, 32)
        matrices = np.broadcast_to(view.T_world_camera, (8, 4, 4))
        arrays = episode.arrays | {"obs/T_world_camera": matrices}
        meta = dataclasses.replace(
            episode.meta, task={"name": OWN, "kind": OWN}, instruction="move"
        )
        whole = dataclasses.replace(episode, meta=meta, arrays=arrays)
        write_episode(episode_path(folder, k), whole)
    write_imported(folder, "source=folder", "folder")
    return folder


def test_the_threshold_is_what_the_benchmark_says():
    rows = read_json(shipped("results") / "benchmarks" / "elevation.json")["rows"]
    median = {
        (row["elevation_deg"], row["along"]): row["median_mm"]
        for row in rows
        if row["error"] == "both"
    }
    sides = set()
    for degrees in sorted({degrees for degrees, _ in median}):
        low = degrees < LEAST_FOR_HEIGHTS_DEG
        assert (median[degrees, "depth"] < median[degrees, "height"]) == low
        sides.add(low)
    assert sides == {True, False}


@pytest.mark.parametrize(("degrees", "counted"), [(34.0, "depth"), (36.0, "height")])
def test_each_side_of_the_threshold(degrees, counted, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    # the median of the demos' cameras: one that stands elsewhere decides nothing
    demos = DemoDataset(low_demos(tmp_path, degrees, degrees, 89.0), range(3), 4, 2)
    cfg = decided(tiny_config(tmp_path / "runs", AUTO), (demos, None))
    assert cfg.model.head.along == counted
    assert cfg.model.head.elevation_deg == pytest.approx(degrees, abs=0.01)
    assert caplog.text.count("model.head.along=auto") == 1
    assert f"{counted}, as the cameras stand {degrees:.1f} degrees" in caplog.text


def test_what_is_asked_for_is_not_decided(tmp_path, monkeypatch):
    monkeypatch.setattr(along, "open_datasets", None)
    for words in ([], ["model.head.along=depth"], ["model=regression"]):
        cfg = tiny_config(tmp_path, *words)
        assert decided(cfg, None) is cfg


def test_an_undecided_policy_is_not_built(tmp_path):
    cfg = tiny_config(tmp_path, AUTO)
    with pytest.raises(ConfigError, match=r"along=auto is decided by training.*height, depth"):
        build_policy(cfg.model, cfg.backbone, cfg.env.image_size)


def test_own_demos_of_a_low_camera_decide_once(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    data = low_demos(tmp_path / "own" / "low", 15.0, 15.0)
    words = ("split=own", f"data={data}", "training.steps=2", "training.warmup_steps=1", AUTO)
    cfg = tiny_config(tmp_path / "runs", *words)
    folder = train(cfg, progress=False).folder
    assert caplog.text.count("model.head.along=auto: depth") == 1
    policy, meta = load_policy(folder)
    assert policy.cfg.head.along == meta["config"]["model"]["head"]["along"] == "depth"
    assert policy.cfg.head.elevation_deg == pytest.approx(15, abs=3)

    # neither a finished run nor one that goes on from its checkpoint asks the cameras again
    monkeypatch.setattr(along, "LEAST_FOR_HEIGHTS_DEG", 0.0)
    monkeypatch.setattr(along, "open_datasets", None)
    assert train(cfg, progress=False).already_trained
    (folder / "policy.json").unlink()
    assert not train(cfg, progress=False).already_trained
    assert load_policy(folder)[0].cfg.head == policy.cfg.head
    assert caplog.text.count("decided when this run began") == 2
    monkeypatch.undo()

    # a run that was asked for heights is another one
    words = [word for word in words if word != AUTO]
    train(tiny_config(tmp_path / "heights", *words), progress=False)
    with pytest.raises(ConfigError, match=r"model\.head\.along was height, now depth"):
        train(tiny_config(tmp_path / "heights", *words, AUTO), progress=False)
