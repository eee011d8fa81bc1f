"""Files that survive crashes, and loaders that refuse what they should not trust."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from para import tensors
from para.cli import load_config
from para.errors import CheckpointError
from para.files import NoSpaceError, seal
from para.policies.base import build_policy
from para.runs.config import TrainConfig
from para.runs.folders import find_runs, run_dir
from para.runs.identity import Setting
from para.runs.policy_file import load_policy, read_policy_meta, save_policy
from para.tensors import read_safetensors
from para.training import checkpoint, optimiser
from para.training.checkpoint import load_checkpoint, save_checkpoint
from para.training.loop import train
from para.training.pictures import observations_of
from tests.runs_fixture import policy_meta

STEPS = 5
"""Of the runs whose checkpoints are made up here."""


class Crash(BaseException):
    """The process is gone: no handler runs."""


def rewrite(path: Path, change: Callable[[dict], object]) -> None:
    """Change a JSON file of ours, with a checksum that fits."""
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    path.write_text(json.dumps(seal(content)))


def parts(value: float) -> dict:
    tensors = {"w": torch.full((3, 2), value), "n": torch.tensor(int(value))}
    return dict.fromkeys(("policy", "ema", "optimizer"), tensors)


def state_of(step: int) -> dict:
    """A whole state.json, but for what `save_checkpoint` adds."""
    group = {"params": [0], "lr": 0.1, "peak_lr": 0.1, "betas": [0.9, 0.999], "eps": 1e-8}
    return {
        "step": step,
        "seconds": 1.5 * step,
        "window": {"steps": 1, "seconds": 0.5, "sums": {"loss": 2.0}},
        "threads": 1,
        "loss_means": {},
        "optimizer_groups": [group | {"weight_decay": 0.0}],
        "scaler": None,
    }


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the finished run that a test may damage."""
    return shutil.copytree(trained[1].folder, tmp_path / "copy")


# --- checkpoints ---------------------------------------------------------------------------------


def test_a_crash_at_any_moment_leaves_a_complete_checkpoint(tmp_path, monkeypatch):
    operations = [
        (tensors, "save_file"),
        (checkpoint, "atomic_write_json"),
        (checkpoint.shutil, "rmtree"),
        (checkpoint.os, "rename"),
    ]
    crashes = 0
    for moment in range(40):
        folder = tmp_path / str(moment)
        save_checkpoint(folder, parts(1.0), state_of(1))
        save_checkpoint(folder, parts(2.0), state_of(2))
        count = iter(range(1000))

        def crashing(function, count=count, moment=moment):
            def call(*arguments, **options):
                if next(count) == moment:
                    raise Crash
                result = function(*arguments, **options)
                if next(count) == moment:
                    raise Crash
                return result

            return call

        with monkeypatch.context() as patch:
            for module, name in operations:
                patch.setattr(module, name, crashing(getattr(module, name)))
            try:
                save_checkpoint(folder, parts(3.0), state_of(3))
            except Crash:
                crashes += 1
        loaded, saved = load_checkpoint(folder, STEPS)
        assert saved["step"] in (2, 3)
        assert torch.equal(loaded["policy"]["w"], torch.full((3, 2), float(saved["step"])))
        save_checkpoint(folder, parts(4.0), state_of(4))  # and the next one cleans up
        assert load_checkpoint(folder, STEPS)[1]["step"] == 4
        assert {p.name for p in folder.iterdir()} == {"checkpoint", "checkpoint.previous"}
    assert 8 <= crashes < 40  # every operation, before and after; and some runs without a crash


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing", "no state", "bad state"])
def test_a_damaged_checkpoint_falls_back_to_the_previous(damage, tmp_path, caplog):
    save_checkpoint(tmp_path, parts(1.0), state_of(1))
    save_checkpoint(tmp_path, parts(2.0), state_of(2))
    current = tmp_path / "checkpoint"
    tensors, state = current / "policy.safetensors", current / "state.json"
    content = tensors.read_bytes()
    if damage == "truncated":
        tensors.write_bytes(content[:-3])
    elif damage == "altered":
        tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "missing":
        tensors.unlink()
    elif damage == "no state":
        state.unlink()
    else:
        state.write_text(state.read_text()[:20])
    _, loaded = load_checkpoint(tmp_path, STEPS)
    assert loaded["step"] == 1
    assert "Resuming from checkpoint.previous instead" in caplog.text
    shutil.rmtree(tmp_path / "checkpoint.previous")
    with pytest.raises(CheckpointError, match="fresh=true"):
        load_checkpoint(tmp_path, STEPS)


def _without(key):
    return lambda saved: saved.pop(key)


def _with(**values):
    return lambda saved: saved.update(values)


STATE_DAMAGE = [
    *((_without(key), f"{key} is missing") for key in state_of(1)),
    (_without("sha256"), "sha256 is missing"),
    (_with(step="2"), "step is '2'"),
    (_with(step=-5), "step is -5"),
    (_with(step=10**9), "step is 1000000000, but the run has 5"),
    (_with(seconds=None), "seconds is None"),
    (_with(threads="1"), "threads is '1'"),
    (_with(threads=0), "threads is 0"),
    (_with(loss_means={"policy": "1"}), r"loss_means\.policy is '1'"),
    (_with(window={"steps": 1}), r"window\.seconds is missing"),
    (_with(optimizer_groups=[{}]), r"optimizer_groups\.0\.params is missing"),
    (_with(sha256={"../../x": "0" * 64}), r"sha256\.policy\.safetensors is missing"),
]


@pytest.mark.parametrize(("change", "reason"), STATE_DAMAGE)
def test_a_state_with_a_checksum_that_fits_is_validated(change, reason, tmp_path, caplog):
    save_checkpoint(tmp_path, parts(1.0), state_of(1))
    save_checkpoint(tmp_path, parts(2.0), state_of(2))
    rewrite(tmp_path / "checkpoint" / "state.json", change)
    assert load_checkpoint(tmp_path, STEPS)[1]["step"] == 1
    assert re.search(reason, caplog.text)
    rewrite(tmp_path / "checkpoint.previous" / "state.json", change)
    with pytest.raises(CheckpointError, match=rf"state\.json is damaged: {reason}.*fresh=true"):
        load_checkpoint(tmp_path, STEPS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"step": 2', '"step": 3'),
        ('"lr": 0.1', '"lr": NaN'),
        ('"lr": 0.1', '"lr": 0.2'),
        ('"seconds": 3.0', '"seconds": 1e999'),
        ('"checksum"', '"checksums"'),
        ('"format": 3', '"format": 2'),
        ("{", "[" * 100_000),
    ],
)
def test_an_altered_state_falls_back_to_the_previous(old, new, tmp_path, caplog):
    save_checkpoint(tmp_path, parts(1.0), state_of(1))
    save_checkpoint(tmp_path, parts(2.0), state_of(2))
    path = tmp_path / "checkpoint" / "state.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert load_checkpoint(tmp_path, STEPS)[1]["step"] == 1
    assert "state.json is damaged" in caplog.text


@pytest.mark.parametrize(("make", "what"), [(os.mkdir, "a folder"), (os.mkfifo, "a named pipe")])
@pytest.mark.parametrize("name", ["state.json", "ema.safetensors"])
def test_what_is_no_file_in_a_checkpoint_is_not_waited_for(make, what, name, tmp_path, caplog):
    save_checkpoint(tmp_path, parts(1.0), state_of(1))
    save_checkpoint(tmp_path, parts(2.0), state_of(2))
    (tmp_path / "checkpoint" / name).unlink()
    make(tmp_path / "checkpoint" / name)
    assert load_checkpoint(tmp_path, STEPS)[1]["step"] == 1
    assert f"{name} is {what}, not a file" in caplog.text


def test_weights_of_a_checkpoint_that_are_not_finite_are_named(tmp_path):
    save_checkpoint(tmp_path, parts(1.0), state_of(1))
    broken = parts(1.0) | {"ema": {"w": torch.tensor([1.0, float("nan")])}}
    save_checkpoint(tmp_path / "b", broken, state_of(1))
    with pytest.raises(CheckpointError, match=r"ema\.safetensors is damaged: w holds NaN"):
        load_checkpoint(tmp_path / "b", STEPS)


def test_checkpoints_of_before_there_were_checksums_go_on(tmp_path):
    save_checkpoint(tmp_path, parts(1.0), state_of(1))
    path = tmp_path / "checkpoint" / "state.json"
    saved = json.loads(path.read_text())
    del saved["checksum"]
    path.write_text(json.dumps(saved | {"format": 2}))
    assert load_checkpoint(tmp_path, STEPS)[1]["step"] == 1


def test_no_checkpoint_at_all(tmp_path):
    assert load_checkpoint(tmp_path, STEPS) is None


def test_checkpoints_of_another_format_are_refused(tmp_path):
    save_checkpoint(tmp_path, parts(1.0), state_of(1))
    path = tmp_path / "checkpoint" / "state.json"
    rewrite(path, lambda saved: saved.update(format=99))
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(tmp_path, STEPS)


def test_a_full_disk_keeps_the_last_files(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, parts(1.0), state_of(1))
    meta = policy_meta(load_config(TrainConfig))
    save_policy(tmp_path, parts(1.0)["policy"], meta | {"finished": False})
    before = sorted(p.name for p in tmp_path.iterdir())

    def full(*_):
        raise SafetensorError('Os { code: 28, message: "No space left on device" }')

    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(NoSpaceError, match="run the same command again"):
        save_checkpoint(tmp_path, parts(2.0), state_of(2))
    with pytest.raises(NoSpaceError, match="run the same command again"):
        save_policy(tmp_path, parts(2.0)["policy"], meta)
    assert load_checkpoint(tmp_path, STEPS)[1]["step"] == 1
    assert not read_policy_meta(tmp_path)["finished"]
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_space_is_checked_before_training(config, datasets, monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr("para.files.shutil.disk_usage", lambda _: usage._replace(free=10**6))
    with pytest.raises(NoSpaceError, match="needs about"):
        train(config(), progress=False, datasets=datasets)


def test_optimizer_state_keeps_the_memory_format_of_its_parameter():
    weight = torch.nn.Parameter(
        torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    )
    made = torch.optim.AdamW([weight], fused=True)
    weight.grad = torch.randn_like(weight)
    made.step()
    tensors, groups = optimiser.optimizer_tensors(made)
    tensors = {k: t.contiguous().clone() for k, t in tensors.items()}
    restored = torch.optim.AdamW([weight], fused=True)
    optimiser.restore_optimizer(restored, tensors, json.loads(json.dumps(groups)), "here")
    moment = restored.state_dict()["state"][0]["exp_avg"]
    assert moment.stride() == weight.stride()
    assert torch.equal(moment, made.state_dict()["state"][0]["exp_avg"])
    assert restored.state_dict()["param_groups"] == made.state_dict()["param_groups"]


# --- policies ------------------------------------------------------------------------------------


def test_load_policy_returns_the_averaged_weights(trained, datasets):
    cfg, summary = trained
    state = torch.get_rng_state()
    policy, meta = load_policy(summary.folder)
    assert torch.equal(state, torch.get_rng_state())
    assert not policy.training
    assert meta["finished"]
    assert meta["training"]["steps"] == 3
    assert meta["training"]["demos"] == 4
    assert meta["backbone"] == {"name": "resnet10", "init": "random"}
    assert meta["config"]["model"]["heatmap_size"] == 8

    tensors, _ = load_checkpoint(summary.folder, STEPS)
    ema = {k.removeprefix("module."): v for k, v in tensors["ema"].items() if k != "n_averaged"}
    assert all(torch.equal(v, ema[k]) for k, v in policy.state_dict().items())
    assert any(not torch.equal(v, tensors["policy"][k]) for k, v in ema.items())
    assert torch.equal(policy.ee_mean, datasets[0].stats()["ee_mean"])

    reference = build_policy(cfg.model, cfg.backbone, cfg.env.image_size)
    reference.load_state_dict(ema)
    seen = observations_of(datasets[1].batch(np.arange(3)))
    for ours, theirs in zip(policy.predict(seen), reference.predict(seen), strict=True):
        np.testing.assert_array_equal(ours.positions, theirs.positions)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "does not exist"),
        ("truncated", "damaged or no safetensors"),
        ("empty", "damaged or no safetensors"),
        ("pickle", "pickle"),
        ("legacy pickle", "pickle"),
        ("other file", "not the file that policy.json describes"),
        ("no json", "policy.json does not exist"),
        ("bad json", "damaged"),
        ("format", "format 7"),
        ("unknown key", "another version"),
        ("other architecture", "another architecture"),
    ],
)
def test_load_policy_refuses(damage, message, copied):
    weights, meta = copied / "policy.safetensors", copied / "policy.json"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "empty":
        weights.write_bytes(b"")
    elif damage == "pickle":
        torch.save({"w": torch.zeros(2)}, weights)
    elif damage == "legacy pickle":
        torch.save({"w": torch.zeros(2)}, weights, _use_new_zipfile_serialization=False)
    elif damage == "other file":
        save_file({"w": torch.zeros(2)}, weights)
    elif damage == "no json":
        meta.unlink()
    elif damage == "bad json":
        meta.write_text("{")
    elif damage == "format":
        rewrite(meta, lambda data: data.update(format=7))
    elif damage == "unknown key":
        rewrite(meta, lambda data: data["config"]["training"].update(stesp=3))
    else:
        rewrite(meta, lambda data: data["config"]["model"]["head"].update(hidden=40))
    with pytest.raises(CheckpointError, match=message):
        load_policy(copied)


def _nested(change, *keys):
    def apply(meta):
        for key in keys:
            meta = meta[key]
        change(meta)

    return apply


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *(
            (_without(key), rf"{key} is missing")
            for key in (
                *("sha256", "finished", "config", "backbone", "training", "losses", "validation"),
                *("start", "git", "versions", "hardware"),
            )
        ),
        (_with(finished=1), "finished is 1"),
        (_nested(_without("name"), "config", "model"), r"config\.model\.name is missing"),
        (_nested(_without("kind"), "config", "backbone"), r"config\.backbone\.kind is missing"),
        (_nested(_without("env"), "config"), r"config\.env is missing"),
        (_nested(_with(model=None), "config"), r"config\.model is None"),
        (_nested(_with(steps="3"), "training"), r"training\.steps is '3'"),
        (_nested(_with(steps=-3), "training"), r"training\.steps is -3"),
        (_with(losses={"loss": None}), r"losses\.loss is None"),
        (_with(sha256="../../x"), "sha256 is"),
        (_with(start={"run": "a"}), r"start\.training is missing"),
    ],
)
def test_a_policy_json_with_a_checksum_that_fits_is_validated(change, reason, copied):
    rewrite(copied / "policy.json", change)
    with pytest.raises(
        CheckpointError, match=rf"policy\.json is damaged: {reason}.*training command"
    ):
        read_policy_meta(copied)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_nested(_with(height_min=0.9, height_max=0.1), "config", "model", "head"), "height_m"),
        (_nested(_with(horizon=0), "config", "model"), r"model\.horizon=0 must be at least 1"),
        (_nested(_with(horizon=[]), "config", "model"), "another version"),
        (_nested(_with(head=None), "config", "model"), "Unknown"),
        (_nested(_with(kind="parra"), "config", "model"), "Unknown policy 'parra'"),
        (_nested(_with(plugins=5), "config"), "plugins is 5, not a list of names"),
        (_nested(_with(image_size=-1), "config", "env"), r"image_size=-1 must be at least"),
        (_nested(_with(task=[]), "config"), "Unknown task"),
    ],
)
def test_a_configuration_out_of_its_bounds_is_no_policy(change, reason, copied):
    rewrite(copied / "policy.json", change)
    with pytest.raises(CheckpointError, match=rf"policy\.json: .*{reason}"):
        load_policy(copied)


@pytest.mark.parametrize(("make", "what"), [(os.mkdir, "a folder"), (os.mkfifo, "a named pipe")])
@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_what_is_no_file_is_no_policy_and_not_waited_for(make, what, name, copied):
    (copied / name).unlink()
    make(copied / name)
    with pytest.raises(CheckpointError, match=f"{name} is {what}, not a file"):
        load_policy(copied)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.where(t > t.min(), float("nan")), "holds NaN or infinity"),
        (lambda t: t / 0, "holds NaN or infinity"),
        (torch.Tensor.bfloat16, r"is torch\.bfloat16, not torch\.float32"),
        (torch.Tensor.int, r"is torch\.int32, not torch\.float32"),
        (torch.Tensor.double, r"is torch\.float64, not torch\.float32"),
    ],
)
def test_broken_weights_with_a_checksum_that_fits_are_named(change, reason, copied):
    weights = load_file(copied / "policy.safetensors")
    save_policy(copied, weights | {"ee_std": change(weights["ee_std"])}, read_policy_meta(copied))
    with pytest.raises(CheckpointError, match=rf"policy\.safetensors is damaged: ee_std {reason}"):
        load_policy(copied)


def test_policies_of_before_there_were_checksums_are_read(copied):
    path = copied / "policy.json"
    meta = json.loads(path.read_text())
    del meta["checksum"]
    path.write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="has no checksum"):
        load_policy(copied)
    path.write_text(json.dumps(meta | {"format": 2}))
    assert load_policy(copied)[1]["finished"]


def test_another_policys_damage_is_no_obstacle(trained, tmp_path, caplog):
    _, summary = trained
    where = (tmp_path, Setting(robot="hand"), "smoke", "left")
    group = tmp_path.joinpath(*summary.folder.parts[-5:-2])
    for name in ("para-resnet10-camera", "act-resnet10-colour", "regression-resnet10-colour"):
        shutil.copytree(summary.folder, group / name / "seed0")
    (group / "act-resnet10-colour" / "seed0" / "policy.json").write_text("{")
    found = find_runs(*where, model="para")
    assert [folder.parent.name for folder in found] == ["para-resnet10-camera"]
    with pytest.raises(CheckpointError, match=r"act-resnet10-colour/seed0/policy\.json is damaged"):
        find_runs(*where)
    assert find_runs(*where, model="regression") == []
    assert "says that it is para-resnet10-camera/seed0: left out" in caplog.text


def test_find_runs(trained):
    cfg, summary = trained
    where = (cfg.runs_dir, Setting(robot="hand"), "smoke", "left")
    assert find_runs(*where) == [summary.folder]
    assert find_runs(*where, model="para", backbone="resnet10", augment="camera", seed=0) == [
        summary.folder
    ]
    for other in (
        {"model": "regression"},
        {"backbone": "convnext_pico"},
        {"augment": "none"},
        {"seed": 1},
    ):
        assert find_runs(*where, **other) == []
    assert find_runs(cfg.runs_dir, Setting(robot="panda"), "smoke", "left") == []


def test_run_dir_names_all_that_identifies_a_run(config):
    names = {
        overrides: "/".join(run_dir(config(*overrides)).parts[-5:])
        for overrides in [
            ("robot=panda",),
            ("layout=independent", "seed=3"),
            ("robot=panda", "model=regression", "split=nf"),
        ]
    }
    assert list(names.values()) == [
        "bowl_on_plate-panda-together/smoke/left/para-resnet10-camera/seed0",
        "bowl_on_plate-hand-independent/smoke/left/para-resnet10-camera/seed3",
        "bowl_on_plate-panda-together/smoke/near/regression-resnet10-colour/seed0",
    ]


# --- tensors -------------------------------------------------------------------------------------


def test_a_header_whose_length_looks_like_a_pickle_is_none(tmp_path):
    """Headers are padded to 8 bytes, so the length's first byte is a pickle's 0x80 once in 32."""
    path = tmp_path / "weights.safetensors"
    for length in range(0, 400, 8):
        save_file({"w" * (1 + length): torch.ones(2)}, path)
        if path.read_bytes()[0] == 0x80:
            break
    else:
        pytest.fail("no header of such a length")
    assert next(iter(read_safetensors(path).values())).tolist() == [1, 1]
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="is a pickle"):
        read_safetensors(path)
