"""split=own: imported demos train a policy and say how far it is from held-out ones."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from synthetic_demos import make_episode
from tiny import tiny_config

from envs.splits import load_split
from para.cli import load_config
from para.commands.eval import main
from para.data.format import episode_path, write_episode
from para.data.own import OWN, open_own, write_imported
from para.errors import CheckpointError, ConfigError, DataError
from para.evaluation.config import EvalConfig
from para.evaluation.held_out import held_out_policies
from para.fields import check
from para.runs.folders import run_dir
from para.training.data import open_datasets
from para.training.loop import train
from para.training.stages import stage_configs
from para.video import probe_video


def own_set(folder: Path, episodes: int = 5, size: int = 48) -> Path:
    for k in range(episodes):
        episode = make_episode(k, 10, size)
        meta = replace(episode.meta, task={"name": OWN, "kind": OWN}, instruction="move")
        write_episode(episode_path(folder, k), replace(episode, meta=meta))
    write_imported(folder, "source=folder", "folder")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A policy of 32 px that three steps were spent on, on imported images of 48 px."""
    place = tmp_path_factory.mktemp("own_trained")
    data = own_set(place / "own/monday")
    words = ("split=own", f"data={data}", "training.steps=3", "training.warmup_steps=1")
    cfg = tiny_config(place / "runs", *words)
    check(cfg)
    return cfg, train(cfg, progress=False)


def evaluated(cfg, **keys) -> EvalConfig:
    words = [f"{k}={v}" for k, v in keys.items()]
    chosen = load_config(EvalConfig, ["profile=smoke", "split=own", *words])
    chosen = replace(chosen, runs_dir=cfg.runs_dir, outputs_dir=f"{cfg.runs_dir}/../outputs")
    check(chosen)
    return chosen


def test_a_run_lies_where_its_data_says_and_trains_on_all_but_the_held_out(trained):
    cfg, summary = trained
    assert summary.demos == 4
    assert "own-recorded-monday/smoke/own" in str(summary.folder)
    assert summary.validation["val_error_mm"] > 0
    train_set, held_out = open_datasets(stage_configs(cfg)[-1])
    assert [meta.index for meta in held_out.metas] == [2]
    assert 2 not in [meta.index for meta in train_set.metas]
    assert train_set.image_shape == (32, 32, 3)
    np.testing.assert_allclose(
        train_set.batch(np.array([0]))["intrinsics"][0, :2].numpy(),
        make_episode(0, 10, 48).arrays["obs/intrinsics"][0, :2] * 32 / 48,
        rtol=1e-6,
    )


def test_errors_are_those_of_held_out_demos_and_films_show_them(trained, capsys):
    cfg, _ = trained
    folders = [f"runs_dir={cfg.runs_dir}", f"outputs_dir={cfg.runs_dir}/out"]
    main(["profile=smoke", "split=own", f"data={cfg.data}", "video=1", *folders])
    said = capsys.readouterr().out
    assert "Waypoints on 1 held-out demos" in said
    path = next(Path(cfg.runs_dir, "out/held_out").rglob("*.json"))
    errors = json.loads(path.read_text())
    assert errors["demos"] == [2]
    assert errors["interval_mm"] is None
    assert len(errors["by_waypoint_mm"]) == cfg.model.horizon
    assert errors["mm"] == pytest.approx(errors["by_demo_mm"][0])
    # no motion at all, from the demo itself
    path_ = make_episode(2, 10).arrays["obs/ee_pose"][:, :3]
    ahead = [
        np.linalg.norm(path_[t + 2 * k] - path_[t])
        for t in range(10)
        for k in range(1, 5)
        if t + 2 * k < 10
    ]
    assert errors["still_mm"] == pytest.approx(1e3 * np.mean(ahead), rel=1e-4)
    film = next(Path(cfg.runs_dir, "out/videos").rglob("*.mp4"))
    assert probe_video(film).frames == 10
    assert str(film).replace("/", "") in said.replace("\n", "").replace("/", "")


def test_a_policy_of_the_simulator_is_tried_on_all_demos(trained):
    cfg, _ = trained
    chosen = evaluated(cfg, data=cfg.data, policy="para_lr", profile="laptop", video=0)
    (policy,) = held_out_policies(replace(chosen, split=load_split("own")))
    assert policy.demos == (0, 1, 2, 3, 4)


def test_what_cannot_be_evaluated_is_one_sentence(trained, tmp_path):
    cfg, summary = trained
    with pytest.raises(ConfigError, match="needs data=FOLDER"):
        check(load_config(EvalConfig, ["split=own"]))
    with pytest.raises(ConfigError, match="data=here is for split=own: split=lr simulates"):
        check(load_config(EvalConfig, ["data=here"]))
    with pytest.raises(ConfigError, match="sweep= disturbs simulated episodes"):
        check(load_config(EvalConfig, ["split=own", "data=here", "sweep=noise"]))
    with pytest.raises(ConfigError, match="align_view=true turns simulated views"):
        check(load_config(EvalConfig, ["split=own", "data=here", "align_view=true"]))
    with pytest.raises(DataError, match="has no demos"):
        held_out_policies(evaluated(cfg, data=tmp_path))
    other = own_set(tmp_path / "own/tuesday", 3)
    with pytest.raises(CheckpointError, match=r"(?s)No policy was trained on data=.*split=own"):
        held_out_policies(evaluated(cfg, data=other))
    with pytest.raises(ConfigError, match="was trained on other demos"):
        held_out_policies(evaluated(cfg, data=other, policy=summary.folder))
    one = replace(cfg, data=str(own_set(tmp_path / "own/one", 1)))
    assert open_datasets(stage_configs(one)[-1])[1] is None


def test_a_set_that_changed_is_not_the_one_that_a_run_trained_on(trained, tmp_path):
    cfg, _ = trained
    moved = own_set(tmp_path / "own/monday", 4)
    with pytest.raises(ConfigError, match=r"another configuration: split.digest"):
        train(replace(cfg, data=str(moved)), progress=False)
    assert run_dir(replace(cfg, data=str(moved))) == run_dir(cfg)


def test_an_import_that_was_not_finished_is_no_set(tmp_path):
    folder = own_set(tmp_path / "own/x", 2)
    assert open_own(folder).divided(8) == ([0], [1])
    (folder / "import.json").unlink()
    with pytest.raises(DataError, match=r"import was not finished\. .*with fresh=true"):
        open_own(folder)
