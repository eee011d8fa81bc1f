"""Whole evaluations of small untrained policies: files, resuming, errors.

What the policies do is nonsense; that they do the same thing again is what is tested.
"""

import json
import signal
import time
from dataclasses import replace

import pytest
import torch

from envs.table import PHYSICS
from para.cli import load_config
from para.errors import CheckpointError, ConfigError
from para.evaluation.config import EvalConfig
from para.evaluation.job import PolicyEvaluation
from para.evaluation.result_set import ResultSet
from para.evaluation.results import read_result
from para.evaluation.runner import evaluate, planned
from para.evaluation.trained import next_step, trained_runs
from para.figures.recorder import VideoRecorder
from para.files import atomic_write_json, seal
from para.policies.base import build_policy
from para.runs.config import TrainConfig
from para.runs.folders import run_dir
from para.runs.policy_file import read_policy_meta, save_policy
from para.text import TEXTS
from para.training.stages import stage_configs
from para.video import probe_video
from tests import warm_scripts
from tests.runs_fixture import policy_meta

SMALL = ["profile=smoke", "env.max_steps=40"]
SETTING = "bowl_on_plate-hand-together/smoke"
FINAL = "starts=final"
AUGMENTS = {"para": "camera", "regression": "colour"}
JOURNAL = "bowl_on_plate-hand-together_smoke_dev_lr_para-resnet10-camera_seed0.jsonl"


def _folders(root):
    return [f"{name}_dir={root / name}" for name in ("runs", "results", "outputs")]


def _train(root, *overrides):
    """A run folder with an untrained policy in it."""
    asked = load_config(TrainConfig, ["profile=smoke", *_folders(root), *overrides])
    (cfg,) = stage_configs(asked)
    torch.manual_seed(0)
    policy = build_policy(cfg.model, cfg.backbone, cfg.env.image_size)
    folder = run_dir(cfg)
    folder.mkdir(parents=True)
    save_policy(folder, policy.state_dict(), policy_meta(cfg))
    return folder


def _config(root, *overrides):
    small = ["episodes=5", "batch=2", "video=0", "workers=2"]
    return load_config(EvalConfig, [*SMALL, *small, *_folders(root), *overrides])


def _untimed(path):
    """The text of a result without what may differ between two runs of the same evaluation."""
    result = json.loads(path.read_text())
    for name in ("created", "hardware", "git", "checksum"):
        del result[name]
    del result["evaluation"]["seconds"]
    for episode in result["episodes"]:
        del episode["seconds"]
    return json.dumps(result)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Two policies, evaluated without disturbance."""
    root = tmp_path_factory.mktemp("evaluated")
    _train(root, "model=para")
    _train(root, "model=regression")
    return root, evaluate(_config(root))


def test_results(evaluated):
    root, done = evaluated
    assert list(done.results) == ["para", "regression"]
    assert done.new_episodes == 20
    for model, path in done.paths.items():
        assert (
            path
            == root / "results" / SETTING / f"dev/lr/{model}-resnet10-{AUGMENTS[model]}/seed0.json"
        )
        result = read_result(path)
        assert (result["model"], result["robot"], result["profile"]) == (model, "hand", "smoke")
        kinds = [(e["test"], e["index"]) for e in result["episodes"]]
        assert kinds == [(test, i) for test in ("ood", "sanity") for i in range(5)]
        assert result["config"]["training"]["model"]["name"] == model
        assert str(root) not in path.read_text()
    starts = [[e["condition"] for e in result["episodes"]] for result in done.results.values()]
    assert starts[0] == starts[1]
    assert not list((root / "outputs").rglob("*.jsonl"))
    cfg = _config(root)
    reason, command = next_step(replace(cfg, model="para"), ["para"])
    assert reason.startswith("all that is trained")
    assert "eval.py split=lr profile=smoke" in command
    assert "model=" not in command
    assert next_step(cfg, ["para", "regression"])[0].startswith("the website")
    given = replace(cfg, policy="somewhere", runs_dir=str(root / "none"))
    assert next_step(given, ["para"])[0].startswith("a PARA of your own")
    words = next_step(replace(cfg, seed=5), ["para"])[1].split()
    assert {"scripts/train.py", "model=regression", "seed=5", f"runs_dir={cfg.runs_dir}"} < {*words}


def test_what_is_done_is_not_done_again(evaluated, monkeypatch):
    root, done = evaluated
    before = {path: path.read_bytes() for path in done.paths.values()}
    again = evaluate(_config(root))
    assert again.new_episodes == 0
    assert {path: path.read_bytes() for path in again.paths.values()} == before
    # A part of it is no reason to run, or to lose, anything either.
    for part in ("tests=[ood]", "episodes=3"):
        assert evaluate(_config(root, "model=para", part)).new_episodes == 0
        assert {path: path.read_bytes() for path in before} == before
    swept = _config(root, "model=para", "sweep=latency", "episodes=2")
    (path,) = evaluate(swept).paths.values()
    before |= {path: path.read_bytes()}
    assert evaluate(replace(swept, episodes=1)).new_episodes == 0, "a level has fewer, all levels"
    assert path.read_bytes() == before[path]
    # Another checkpoint, other code or another batch would be.
    job = PolicyEvaluation(_config(root), trained_runs(_config(root))[0], {"ood": [], "sanity": []})
    assert job.before is not None
    for change in (
        "batch=3",
        "precision=bf16",
        "execute=2",
        "subcell=false",
        "env.max_steps=50",
        "fresh=true",
    ):
        cfg = _config(root, change)
        job = PolicyEvaluation(cfg, trained_runs(cfg)[0], {"ood": [], "sanity": []})
        assert job.before is None


def test_aligned_views_are_results_of_their_own(evaluated, tmp_path):
    """From the usual camera there is nothing to align, and all goes as it does without."""
    root, done = evaluated
    asked = ["model=para", "align_view=true", "episodes=2", "tests=[ood]"]
    cfg = _config(root, *asked, f"results_dir={tmp_path}")
    ((name, path),) = evaluate(cfg).paths.items()
    beside = done.paths[name].relative_to(root / "results")
    assert path == tmp_path / "aligned" / beside
    episodes = [
        [{k: v for k, v in e.items() if k != "seconds"} for e in read_result(file)["episodes"][:2]]
        for file in (path, done.paths[name])
    ]
    assert episodes[0] == episodes[1]
    assert not ResultSet.load(tmp_path).results
    assert len(ResultSet.load(tmp_path / "aligned").results) == 1


def test_only_who_was_trained_on_moved_cameras_looks_several_times(evaluated, tmp_path, caplog):
    root, _ = evaluated
    _train(tmp_path, "model=para", "augment=colour")
    asked = [f"results_dir={tmp_path}", "tta=3", "episodes=1", "tests=[ood]"]
    for runs, expected in ((root, [3, 1]), (tmp_path, [1])):
        cfg = _config(root, *asked, f"runs_dir={runs / 'runs'}")
        assert [run.inference(cfg.inference).tta for run in trained_runs(cfg)] == expected
        done = evaluate(cfg)
        assert done.new_episodes == len(expected)
        results = map(read_result, done.paths.values())
        assert [result["config"]["evaluation"]["tta"] for result in results] == expected
    said = [line for line in caplog.messages if line.startswith("tta=3")]
    assert len(said) == 4, "two policies, each looked up here and evaluated"
    assert all("(augment=colour), and gets one look" in line for line in said)


def test_chunks_of_a_longer_evaluation_are_kept_by_a_shorter_one(evaluated, tmp_path):
    root, _ = evaluated
    folders = [f"results_dir={tmp_path / 'results'}", f"outputs_dir={tmp_path / 'outputs'}"]
    (known,) = planned(_config(root, "model=para"))
    (killed,) = planned(_config(root, "model=para", *folders))
    for test, number in (("ood", 0), ("ood", 1), ("sanity", 0)):
        killed.journal.add(test, number, known.done[test, number])
    for episodes, new in (("episodes=1", 0), ("episodes=2", 0), ("episodes=4", 2)):
        done = evaluate(_config(root, "model=para", *folders, episodes))
        assert done.new_episodes == new
    (path,) = done.paths.values()
    assert len(read_result(path)["episodes"]) == 8
    assert not killed.journal.path.exists()


@pytest.mark.slow
def test_every_look_at_final_starts_is_kept(evaluated, tmp_path):
    root, _ = evaluated
    asked = ("model=para", "starts=final", "tests=[ood]", "episodes=2", f"results_dir={tmp_path}")
    (path,) = evaluate(_config(root, *asked)).paths.values()
    assert path.is_relative_to(tmp_path / SETTING / "final" / "lr")
    first = read_result(path)
    assert (first["starts"], first["evaluation"].get("earlier")) == ("final", None)
    evaluate(_config(root, *asked, "env.max_steps=50"))
    looks = read_result(path)["evaluation"]["earlier"]
    assert [look["key"] for look in looks] == [first["evaluation"]["key"]]


def test_advice_is_what_can_be_run_and_is_not_done_yet(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        trained_runs(_config(tmp_path, "starts=final"))
    assert "starts" not in str(caught.value).partition("scripts/train.py")[2]
    _train(tmp_path, "model=para")
    _train(
        tmp_path, "model=regression", "env.image_size=64"
    )  # cannot be evaluated here, but is there
    assert next_step(_config(tmp_path), ["para"])[0].startswith("all that is trained")


def test_plans_depend_on_what_reads_instructions(tmp_path):
    folder = _train(tmp_path, "model=para")
    (run,) = trained_runs(_config(tmp_path))
    told = run.meta | {"config": run.meta["config"] | {"text": {"kind": "clip"}}}
    assert run.folder == folder
    assert {*replace(run, meta=told).components()} - {*run.components()} == {TEXTS["clip"]}


def test_final_starts_are_published_from_a_commit_only(tmp_path, monkeypatch):
    monkeypatch.setattr("para.evaluation.runner.git_hash", lambda: "abc-dirty")
    asked = ("starts=final", f"results_dir={tmp_path}", f"reference_dir={tmp_path}")
    with pytest.raises(ConfigError, match="no commit has"):
        evaluate(_config(tmp_path, *asked))


@pytest.mark.slow
def test_killed_and_resumed_is_undisturbed(evaluated, tmp_path):
    """SIGKILL in the middle, then the same command: the same files as without it."""
    _, done = evaluated
    _train(tmp_path, "model=para")
    arguments = [*SMALL, "episodes=5", "batch=2", "video=0", "workers=1", *_folders(tmp_path)]
    process = warm_scripts.start("scripts/eval.py", *arguments, cwd=tmp_path)
    journal = tmp_path / "outputs" / "unfinished" / JOURNAL
    deadline = time.monotonic() + 240
    while not journal.exists() or journal.read_text().count("\n") < 2:
        assert process.poll() is None, process.said()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.kill() == -signal.SIGKILL
    assert not list((tmp_path / "results").rglob("*.json"))

    resumed = evaluate(_config(tmp_path))
    assert 0 < resumed.new_episodes < 10
    assert _untimed(resumed.paths["para"]) == _untimed(done.paths["para"])
    assert not journal.exists()


@pytest.mark.slow
def test_videos_and_damaged_results(evaluated, caplog):
    root, done = evaluated
    path = done.paths["regression"]
    whole = path.read_bytes()
    path.write_bytes(whole[:700])
    cfg = _config(root, "model=regression", "video=1", "tests=[sanity]")
    again = evaluate(cfg, VideoRecorder)
    assert "seed0.json is damaged" in caplog.text
    assert [e["index"] for e in read_result(path)["episodes"]] == list(range(5))
    (video,) = again.videos
    assert video == root / "outputs/videos" / SETTING / "regression_lr_sanity_ep000_fail.mp4"
    info = probe_video(video)
    # 40 control steps at 25 fps (and the start), then the outcome stays for 1.5 s.
    assert (info.fps, info.frames, info.width, info.height) == (25, 21 + 38, 960, 640)
    assert info.comment.startswith(read_result(path)["evaluation"]["key"])
    before = video.stat().st_mtime_ns
    assert evaluate(cfg, VideoRecorder).videos == [video]
    assert video.stat().st_mtime_ns == before
    (other,) = planned(_config(root, "model=regression", "video=1", "tests=[sanity]", FINAL))
    assert next(other.chunks_to_run()).record == (0,), "a film of another start is not its film"
    path.write_bytes(whole)


def test_nothing_trained(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        evaluate(_config(tmp_path, "split=nf", "model=regression", "seed=3", "layout=independent"))
    command = str(caught.value).splitlines()[-1].strip()
    assert command.startswith("python scripts/train.py model=regression split=nf")
    # The command asks for exactly the run that is missing.
    cfg = load_config(TrainConfig, [*command.split()[2:], *_folders(tmp_path)])
    found = _config(tmp_path, "split=nf", "seed=3", "layout=independent")
    assert run_dir(cfg).parents[3].name == "bowl_on_plate-hand-independent"
    _train(tmp_path, *command.split()[2:])
    assert [run.folder for run in trained_runs(found)] == [run_dir(cfg)]


def test_more_waypoints_than_are_predicted_cannot_be_executed(tmp_path):
    _train(tmp_path)
    with pytest.raises(ConfigError, match=r"execute=13, but .* predicts 12 waypoints"):
        evaluate(_config(tmp_path, "execute=13"))


def test_a_policy_from_another_simulated_world_is_refused(tmp_path):
    path = _train(tmp_path, "model=para", "split=lr") / "policy.json"
    meta = read_policy_meta(path.parent)
    atomic_write_json(path, seal(meta | {"environment": {"version": PHYSICS + 1}}))
    simulates = f"physics {PHYSICS + 1} .* simulates physics {PHYSICS}"
    with pytest.raises(CheckpointError, match=simulates):
        trained_runs(_config(tmp_path, "split=lr"))
    del meta["environment"]  # as before it was recorded
    atomic_write_json(path, seal(meta))
    with pytest.raises(CheckpointError, match=r"physics 1 .* Train again with fresh=true"):
        trained_runs(_config(tmp_path, "split=lr"))


def test_labels_and_image_size(tmp_path):
    other = ["backbone=convnext_pico", "backbone.weights=random", "backbone.width=1"]
    _train(tmp_path, "model=para", "split=vp_lr", *other)
    _train(tmp_path, "model=act", "split=vp_lr")
    cfg = _config(tmp_path, "split=vp_lr")
    assert [run.label for run in trained_runs(cfg)] == ["act", "para-convnext_pico"]
    cfg.env.image_size = 48
    with pytest.raises(ConfigError, match=r"trained on 64 px images.*instead of 48"):
        trained_runs(cfg)
    cfg = _config(tmp_path, "split=vp_lr", "env.theta_max_deg=40")
    with pytest.raises(ConfigError, match=r"up to 25 degrees.*Use env\.theta_max_deg=25"):
        trained_runs(cfg)
    _train(tmp_path, "model=para", "split=lr")
    assert trained_runs(_config(tmp_path, "split=lr", "env.theta_max_deg=40"))  # one view
