"""Files that survive crashes, and loaders that refuse what they should not trust."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from para import tensors
from para.errors import CheckpointError
from para.files import NoSpaceError
from para.policies.base import build_policy
from para.runs.folders import find_runs, run_dir
from para.runs.identity import Setting
from para.runs.policy_file import load_policy, read_policy_meta, save_policy
from para.training import checkpoint, optimiser
from para.training.checkpoint import load_checkpoint, save_checkpoint
from para.training.loop import train
from para.training.pictures import observations_of


class Crash(BaseException):
    """The process is gone: no handler runs."""


def parts(value: float) -> dict:
    return {"policy": {"w": torch.full((3, 2), value), "n": torch.tensor(int(value))}}


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
        save_checkpoint(folder, parts(1.0), {"step": 1})
        save_checkpoint(folder, parts(2.0), {"step": 2})
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
                save_checkpoint(folder, parts(3.0), {"step": 3})
            except Crash:
                crashes += 1
        loaded, state = load_checkpoint(folder)
        assert state["step"] in (2, 3)
        assert torch.equal(loaded["policy"]["w"], torch.full((3, 2), float(state["step"])))
        save_checkpoint(folder, parts(4.0), {"step": 4})  # and the next one cleans up
        assert load_checkpoint(folder)[1]["step"] == 4
        assert {p.name for p in folder.iterdir()} == {"checkpoint", "checkpoint.previous"}
    assert 8 <= crashes < 40  # every operation, before and after; and some runs without a crash


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing", "no state", "bad state"])
def test_a_damaged_checkpoint_falls_back_to_the_previous(damage, tmp_path, caplog):
    save_checkpoint(tmp_path, parts(1.0), {"step": 1})
    save_checkpoint(tmp_path, parts(2.0), {"step": 2})
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
    _, loaded = load_checkpoint(tmp_path)
    assert loaded["step"] == 1
    assert "Resuming from checkpoint.previous instead" in caplog.text
    shutil.rmtree(tmp_path / "checkpoint.previous")
    with pytest.raises(CheckpointError, match="fresh=true"):
        load_checkpoint(tmp_path)


def test_no_checkpoint_at_all(tmp_path):
    assert load_checkpoint(tmp_path) is None


def test_checkpoints_of_another_format_are_refused(tmp_path):
    save_checkpoint(tmp_path, parts(1.0), {"step": 1})
    path = tmp_path / "checkpoint" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(tmp_path)


def test_a_full_disk_keeps_the_last_files(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, parts(1.0), {"step": 1})
    save_policy(tmp_path, parts(1.0)["policy"], {"finished": False})
    before = sorted(p.name for p in tmp_path.iterdir())

    def full(*_):
        raise SafetensorError('Os { code: 28, message: "No space left on device" }')

    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(NoSpaceError, match="run the same command again"):
        save_checkpoint(tmp_path, parts(2.0), {"step": 2})
    with pytest.raises(NoSpaceError, match="run the same command again"):
        save_policy(tmp_path, parts(2.0)["policy"], {"finished": True})
    assert load_checkpoint(tmp_path)[1]["step"] == 1
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
    assert meta["backbone"] == {"name": "resnet18", "init": "random"}
    assert meta["config"]["model"]["heatmap_size"] == 8

    tensors, _ = load_checkpoint(summary.folder)
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
    data = json.loads(meta.read_text())
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
        meta.write_text(json.dumps(data | {"format": 7}))
    elif damage == "unknown key":
        data["config"]["training"]["stesp"] = 3
        meta.write_text(json.dumps(data))
    else:
        data["config"]["model"]["head"]["hidden"] = 40
        meta.write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=message):
        load_policy(copied)


def test_find_runs(trained):
    cfg, summary = trained
    where = (cfg.runs_dir, Setting(robot="hand"), "smoke", "left")
    assert find_runs(*where) == [summary.folder]
    assert find_runs(*where, model="para", backbone="resnet18", seed=0) == [summary.folder]
    for other in ({"model": "regression"}, {"backbone": "convnext_pico"}, {"seed": 1}):
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
        "bowl_on_plate-panda-together/smoke/left/para-resnet18/seed0",
        "bowl_on_plate-hand-independent/smoke/left/para-resnet18/seed3",
        "bowl_on_plate-panda-together/smoke/near/regression-resnet18/seed0",
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
    assert next(iter(checkpoint.read_safetensors(path).values())).tolist() == [1, 1]
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="is a pickle"):
        checkpoint.read_safetensors(path)
