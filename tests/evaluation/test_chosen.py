"""`policy=PATH|NAME`: one policy, wherever it lies, evaluated in what it was trained in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from para import pretrained
from para.cli import load_config, para_main
from para.errors import CheckpointError, ConfigError, ParaError
from para.evaluation.chosen import chosen_policy
from para.evaluation.config import EvalConfig
from para.evaluation.results import read_result
from para.evaluation.runner import evaluate
from para.figures.recorder import VideoRecorder
from tests.runs_fixture import save_untrained

TRAINED = [
    *("profile=smoke", "split=distractor", "seed=3", "env.image_size=32", "env.max_steps=40"),
    "heatmap_size=8",
]


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    """A folder that holds a policy and nothing else."""
    folder = tmp_path_factory.mktemp("mailed")
    save_untrained(folder, [*TRAINED, "runs_dir=elsewhere"])
    return folder


@pytest.fixture(autouse=True)
def _foreign_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def config(policy: Path | str, *overrides: str) -> EvalConfig:
    folders = ["results_dir=results", "outputs_dir=outputs"]
    return load_config(EvalConfig, [f"policy={policy}", *folders, *overrides])


def test_everything_is_taken_over_from_the_policy_unless_given(policy):
    cfg = config(policy)
    assert (cfg.split.name, cfg.seed, cfg.robot, cfg.profile) == ("distractor", 3, "hand", "smoke")
    assert (cfg.env.image_size, cfg.env.max_steps) == (32, 40)
    seen = []
    script = para_main(EvalConfig, examples=[])(seen.append)
    script([f"policy={policy}", "split=lr", "env.max_steps=30"])
    (cfg,) = seen
    assert (cfg.split.name, cfg.env.image_size, cfg.env.max_steps) == ("lr", 32, 30)


@pytest.mark.slow
def test_a_policy_of_any_folder_is_evaluated_and_filmed(policy, tmp_path):
    few = ["episodes=2", "tests=[ood]", "env.max_steps=4", "workers=1", "video=1"]
    done = evaluate(config(policy, *few), VideoRecorder)
    path = Path(
        "results/bowl_on_plate-hand-together/smoke/dev/distractor/para-resnet10-camera/seed3.json"
    )
    assert list(done.paths.values()) == [path]
    result = read_result(path)
    assert (len(result["episodes"]), result["seed"]) == (2, 3)
    assert str(policy) not in path.read_text()
    assert [video.name for video in done.videos] == ["para-seed3_distractor_test_ep000_fail.mp4"]
    assert not Path("runs").exists()

    other = tmp_path / "other"
    shutil.copytree(policy, other)
    _change(other, lambda meta: meta.update(sha256=_reweighted(other)))
    with pytest.raises(ConfigError, match=r"seed3\.json is the result of another policy"):
        evaluate(config(other, *few))
    assert read_result(path) == result
    assert chosen_policy(config(other, "fresh=true")).folder == other


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("robot=panda", ["robot=panda", "robot=hand"]),
        ("layout=independent", ["layout=independent", "layout=together"]),
        ("profile=laptop", ["profile=laptop", "profile=smoke"]),
        ("seed=4", ["seed=4", "seed=3"]),
        ("model=regression", ["model=regression", "model=para"]),
        ("backbone=svd_tiny", ["backbone=svd_tiny", "backbone=resnet10"]),
        ("env.image_size=64", ["32", "64"]),
        ("split=nf", ["split=nf", "'near'", "'all'", "split=distractor"]),
    ],
)
def test_contradictions_name_both(policy, override, parts):
    with pytest.raises(ConfigError) as caught:
        chosen_policy(config(policy, override))
    assert [part for part in (*parts, str(policy)) if part not in str(caught.value)] == []


def test_what_does_not_exist_is_named_beside_what_does(policy, tmp_path, monkeypatch):
    folder = tmp_path / "a_folder_in_a_folder_in_a_folder_none_of_which_has_a_short_name"
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    shutil.copytree(policy, folder / "para_lr")
    assert pretrained.policy_folder("para_lr") == folder / "para_lr"
    with pytest.raises(CheckpointError, match=r"policy=para_rl .* mean 'para_lr'\?.* path"):
        config("para_rl")
    with pytest.raises(CheckpointError, match=r"policy\.json is a file"):
        config(folder / "para_lr" / "policy.json")
    with pytest.raises(CheckpointError, match=r"policy\.json does not exist"):
        config(tmp_path)


def _reweighted(folder: Path) -> str:
    from para.runs.policy_file import load_policy
    from para.tensors import checksum_of, save_tensors

    tensors = load_policy(folder)[0].state_dict()
    save_tensors({k: v * 1.01 for k, v in tensors.items()}, folder / "policy.safetensors")
    return checksum_of(folder / "policy.safetensors")


def _change(folder: Path, change: Any) -> None:
    from para.files import seal

    path = folder / "policy.json"
    meta = json.loads(path.read_text())
    sealed = meta.pop("checksum", None) is not None
    change(meta)
    path.write_text(json.dumps(seal(meta) if sealed else meta))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "policy.json").write_text("{"),
        lambda folder: (folder / "policy.json").unlink(),
        lambda folder: (folder / "policy.safetensors").unlink(),
        lambda folder: (folder / "policy.safetensors").write_bytes(b"\x80\x04pickle"),
        lambda folder: _change(folder, lambda meta: meta["config"].update(robot="hand,panda")),
        lambda folder: _change(folder, lambda meta: meta["config"].update(profile="../../x")),
        lambda folder: _change(folder, lambda meta: meta["config"]["model"].update(name="../x")),
        lambda folder: _change(folder, lambda meta: meta["config"]["split"].update(name="lr,nf")),
        lambda folder: _change(folder, lambda meta: meta["config"].pop("model")),
        lambda folder: _change(folder, lambda meta: meta.update(sha256="0" * 64)),
    ],
)
def test_damaged_and_hostile_folders_are_refused_before_anything_runs(policy, tmp_path, damage):
    folder = tmp_path / "copy"
    shutil.copytree(policy, folder)
    damage(folder)
    with pytest.raises(ParaError) as caught:
        chosen_policy(config(folder))
    assert str(folder) in str(caught.value)
    assert list(Path().iterdir()) == []


def test_a_policy_of_another_task_or_of_other_instructions_is_refused(policy, tmp_path):
    with pytest.raises(ConfigError, match="task=pick_named contradicts policy"):
        chosen_policy(config(policy, "task=pick_named", "layout=together"))
    with pytest.raises(ConfigError, match="task=stack_blocks contradicts policy"):
        chosen_policy(config(policy, "task=stack_blocks"))  # which has no layout=together
    save_untrained(tmp_path / "apart", [*TRAINED, "task=stack_blocks"])
    assert config(tmp_path / "apart", "task=bowl_on_plate").layout == "independent"
    told = [f"put the {colour} bowl on the blue plate" for colour in ("red", "green")]
    text = f"text.instructions=[{','.join(told)}]"
    save_untrained(tmp_path / "told", [*TRAINED, "task=pick_named", text])
    with pytest.raises(ConfigError, match=r"other instructions.*put the red bowl on the blue"):
        evaluate(config(tmp_path / "told", "workers=1"))
    assert not Path("results").exists()
