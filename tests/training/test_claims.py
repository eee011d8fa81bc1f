"""Whose a run's folder is: other processes, other configurations, fresh=true, other files."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import shutil
from pathlib import Path

import pytest

from envs.table import PHYSICS
from para.asides import aside_of
from para.errors import CheckpointError, ConfigError
from para.files import atomic_write_json, read_json, seal
from para.runs.contents import POLICY_META, strangers
from para.runs.folders import run_dir
from para.runs.policy_file import read_policy_meta
from para.training.claims import has_other_config
from para.training.loop import train


def test_a_finished_run_is_not_trained_again(trained):
    cfg, summary = trained
    again = train(cfg, progress=False, datasets=None)  # does not even open the demos
    assert again.already_trained
    assert dataclasses.replace(again, already_trained=False) == summary


def test_splits_with_the_same_training_set_share_a_run(trained):
    cfg, summary = trained
    tests = dataclasses.replace(cfg.split.ood, episodes=7)
    split = dataclasses.replace(cfg.split, name="other", title="Other", ood=tests, test_seed=1)
    shared = train(dataclasses.replace(cfg, split=split), progress=False)
    assert shared.already_trained
    assert shared.folder == summary.folder


def test_another_configuration_is_refused_by_name(trained):
    cfg, _ = trained
    other = dataclasses.replace(
        cfg, training=dataclasses.replace(cfg.training, steps=4, log_every=1), wandb="offline"
    )
    with pytest.raises(ConfigError, match=r"training.steps was 3, now 4\..*fresh=true") as caught:
        train(other, progress=False)
    assert "log_every" not in str(caught.value)


@pytest.fixture
def existing(trained, tmp_path):
    """The folder of a copy of the finished run, and its configuration with fresh=true."""
    cfg = dataclasses.replace(trained[0], runs_dir=str(tmp_path / "runs"), fresh=True)
    return shutil.copytree(trained[1].folder, run_dir(cfg)), cfg


def test_a_run_of_another_simulated_world_does_not_go_on(existing, datasets):
    folder, cfg = existing
    path = folder / POLICY_META
    meta = read_policy_meta(folder)
    assert meta["environment"] == {"version": PHYSICS}
    atomic_write_json(path, seal(meta | {"environment": {"version": 1}}))
    with pytest.raises(CheckpointError, match=r"physics 1 .*fresh=true"):
        train(dataclasses.replace(cfg, fresh=False), progress=False, datasets=datasets)
    assert has_other_config(cfg)  # so fresh=true makes it again where it is an earlier stage


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_fresh_replaces_a_run(existing, datasets):
    folder, cfg = existing
    before = (folder / "policy.safetensors").read_bytes()
    training = dataclasses.replace(cfg.training, steps=2, warmup_steps=1)
    cfg = dataclasses.replace(cfg, training=training)
    assert train(cfg, progress=False, datasets=datasets).steps == 2
    assert (folder / "policy.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    ("stranger", "named"),
    [
        ("thesis.tex", "thesis.tex"),
        (".hidden", ".hidden"),
        ("policy.safetensors.bak", "policy.safetensors.bak"),
        ("plots/loss.png", "plots/"),
        ("checkpoint/notes.txt", "checkpoint/notes.txt"),
        ("checkpoint.old/state.json", "checkpoint.old/"),
    ],
)
def test_fresh_deletes_nothing_where_something_else_lies(stranger, named, existing, datasets):
    folder, cfg = existing
    path = folder / stranger
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    before = files_in(folder)
    with pytest.raises(ConfigError, match=f"also holds {re.escape(named)}: nothing was deleted"):
        train(cfg, progress=False, datasets=datasets)
    assert files_in(folder) == before


def test_fresh_follows_no_link(existing, datasets, tmp_path):
    folder, cfg = existing
    elsewhere = (folder / "checkpoint").rename(tmp_path / "elsewhere")
    (folder / "checkpoint").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="also holds checkpoint: nothing was deleted"):
        train(cfg, progress=False, datasets=datasets)
    assert (elsewhere / "state.json").exists()


def test_fresh_knows_what_a_killed_run_leaves(existing, datasets):
    folder, cfg = existing
    aside = aside_of(folder / "checkpoint")
    shutil.copytree(folder / "checkpoint", aside)
    (aside / "state.json").rename(aside_of(aside / "state.json"))
    shutil.copytree(folder / "checkpoint", folder / "checkpoint.previous", dirs_exist_ok=True)
    for name in ("policy.json", "policy.safetensors", "log.jsonl", "augmented_batch.png"):
        aside_of(folder / name).write_text("half")
    (folder / "wandb" / "offline-run-1").mkdir(parents=True)
    (folder / "wandb" / "offline-run-1" / "run.wandb").write_text("curves")
    assert strangers(folder) == []
    assert train(cfg, progress=False, datasets=datasets).steps == 3
    assert not (folder / "wandb").exists()
    assert not [p.name for p in folder.iterdir() if p.name.startswith(".")]


DAMAGE = [
    lambda path: path.write_text("{"),
    lambda path: path.write_text("[" * 100_000),
    lambda path: path.write_text('{"model": null}'),
    lambda path: path.write_text(path.read_text().replace('"seed": 0', '"seed": 1')),
    lambda path: path.write_bytes(b"\xff\x00"),
    lambda path: path.unlink(),
    lambda path: (path.unlink(), os.mkfifo(path)),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_config_is_taken_from_the_policy(damage, existing, caplog):
    folder, cfg = existing
    cfg = dataclasses.replace(cfg, fresh=False)
    before = read_json(folder / "config.json")
    damage(folder / "config.json")
    assert train(cfg, progress=False).already_trained
    assert "config.json" in caplog.text
    assert "written again, as policy.json has it" in caplog.text
    assert read_json(folder / "config.json") == before
    damage(folder / "config.json")
    other = dataclasses.replace(cfg.training, steps=4)
    with pytest.raises(ConfigError, match=r"training\.steps was 3, now 4"):
        train(dataclasses.replace(cfg, training=other), progress=False)


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
@pytest.mark.parametrize("damage", [DAMAGE[0], DAMAGE[4], DAMAGE[6]])
def test_a_damaged_policy_is_written_again_from_the_checkpoint(
    name, damage, existing, datasets, caplog
):
    folder, cfg = existing
    cfg = dataclasses.replace(cfg, fresh=False)
    before = files_in(folder)
    damage(folder / name)
    assert not train(cfg, progress=False, datasets=datasets).already_trained
    assert f"{name} " in caplog.text
    assert "The policy is written again, from the checkpoint." in caplog.text
    after = files_in(folder)
    assert after["policy.safetensors"] == before["policy.safetensors"]
    assert after["checkpoint/policy.safetensors"] == before["checkpoint/policy.safetensors"]
    assert train(cfg, progress=False).already_trained


def test_a_policy_counts_without_its_checkpoint(existing):
    """Who deletes checkpoints to save space does not lose what was trained."""
    folder, cfg = existing
    cfg = dataclasses.replace(cfg, fresh=False)
    shutil.rmtree(folder / "checkpoint")
    before = files_in(folder)
    faster = dataclasses.replace(cfg.training, learning_rate=0.5)
    with pytest.raises(ConfigError, match=r"learning_rate was .*fresh=true"):
        train(dataclasses.replace(cfg, training=faster), progress=False)
    assert train(cfg, progress=False).already_trained
    assert files_in(folder) == before


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_config_without_a_policy_is_named(damage, existing):
    folder, cfg = existing
    damage(folder / "config.json")
    (folder / "policy.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json .*fresh=true"):
        train(dataclasses.replace(cfg, fresh=False), progress=False)


def test_all_that_a_run_writes_is_listed(trained):
    folder = trained[1].folder
    assert strangers(folder) == []
    assert {p.name for p in folder.iterdir()} == {
        *("config.json", "log.jsonl", "log.csv", "augmented_batch.png", "checkpoint"),
        *("policy.safetensors", "policy.json"),
    }
    assert {p.name for p in (folder / "checkpoint").iterdir()} == {
        *("policy.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"),
    }


def test_a_second_process_in_the_same_folder_is_refused(config, datasets):
    folder = run_dir(cfg := config())
    folder.mkdir(parents=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="Another process is training"):
            train(cfg, progress=False, datasets=datasets)
