import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from results_fixture import HERE, make_result, write_result

from envs.base import load_task
from envs.table import PHYSICS
from para.cli import load_config
from para.errors import ResultError
from para.evaluation.oracle import Oracle
from para.figures import build as build_module
from para.figures import choices, clips, episodes, videos
from para.figures.build import build
from para.figures.episodes import EpisodeTask, RerunError
from para.figures.registry import assets
from para.figures.scene import start_at
from para.figures.sources import Sources
from para.figures.splits import ALL_TASKS
from para.files import seal
from para.runs.config import TrainConfig
from para.runs.identity import Setting
from para.runs.policy_file import read_policy_meta, save_policy
from para.types import Inference
from para.video import probe_video, read_video
from tests.runs_fixture import policy_meta

ASSETS = assets()
ENV = {"image_size": 32, "max_steps": 600}


def full_result(split, model, **changes):
    """A made-up result that says how to run its episodes again, as real ones do."""
    result = make_result(split, model, ood=64, sanity=8)
    result["backbone"]["name"] = "resnet10"
    result["environment"]["version"] = PHYSICS
    result["config"] = {
        "evaluation": {"batch": 8, "env": ENV},
        "training": {
            "model": {"name": model, "kind": model},
            "backbone": {"name": "resnet10"},
            "augment": {"name": "colour"},
            "split": {"train_set": split},
        },
    }
    return result | changes


def set_outcomes(result, test, successes):
    for episode, success in zip(
        [e for e in result["episodes"] if e["test"] == test], successes, strict=False
    ):
        episode |= {"success": success, "stage": "PLACE" if success else "GRASP"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with results of two policies on three splits, and the runs they came from."""
    folder = tmp_path_factory.mktemp("made")
    for split in ("lr", "nf", "vp_lr"):
        for model in ("para", "regression"):
            result = full_result(split, model)
            if split == "lr":
                set_outcomes(
                    result, "ood", [True] * 10 if model == "para" else [True] * 3 + [False]
                )
            if split == "nf":
                set_outcomes(result, "ood", [True] * 64)
            set_outcomes(result, "sanity", [True] * 8)
            write_result(folder / "results", result)
            run = folder / "runs" / HERE / split / f"{model}-resnet10-colour" / "seed0"
            run.mkdir(parents=True)
            training = result["training"] | {"samples_per_s": 50.0}
            asked = [f"model={model}", f"split={split}", "augment=colour"]
            cfg = load_config(TrainConfig, asked)
            save_policy(run, {}, policy_meta(cfg, training=training))
            (run / "policy.safetensors").write_bytes(model.encode())
    return folder


@pytest.fixture
def sources(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Sources.open(tmp_path / "results", tmp_path / "runs", tmp_path / "data")


def fake_shoot(tasks, _workers):
    """Grey that brightens instead of rollouts; failures are longer, as in truth."""
    for task in tasks:
        frames = 3 if task.stage == "PLACE" else 5
        shape = (frames, task.size, task.size * (1 + task.overlay), 3)
        levels = np.linspace(60, 200, frames).astype(np.uint8)
        np.save(task.out, np.broadcast_to(levels[:, None, None, None], shape))
        yield task, None


def make(name, sources, out, monkeypatch, shoot=fake_shoot):
    monkeypatch.setattr(build_module, "shoot", shoot)
    (built,) = build({name: ASSETS[name]}, sources, out)
    assert built.status == "built", built.message
    return built


def test_the_pair_shows_the_first_start_where_the_outcomes_differ(sources, tmp_path, monkeypatch):
    built = make("lr_test_pair", sources, tmp_path / "out", monkeypatch)
    assert [m.file for m in built.media] == [
        "para_lr_test_ep003_success.mp4",
        "regression_lr_test_ep003_fail.mp4",
    ]
    assert [m.data["outcome"] for m in built.media] == ["success", "fail"]
    assert "first start on which the policies end differently" in built.media[0].data["rule"]


def test_names_are_those_of_the_published_media(sources, tmp_path, monkeypatch):
    built = make("nf_test_pair", sources, tmp_path / "out", monkeypatch)
    assert built.media[0].file == "para_nf_test_ep000_success.mp4"  # nowhere different: the first
    built = make("nf_sanity_pair", sources, tmp_path / "out", monkeypatch)
    assert {m.file for m in built.media} == {
        "para_nf_sanity2_ep000_success.mp4",
        "regression_nf_sanity2_ep000_success.mp4",
    }


def test_the_grid_of_tasks_shows_one_policy_at_each(tmp_path, monkeypatch):
    """Two tasks were tested: a column each, with the run of all tasks behind both."""
    for task in ("bowl_on_plate", "push_to_target"):
        result = full_result("lr", "para") | {"split": ALL_TASKS}
        result["environment"] |= {"task": task, "layout": "independent"}
        result["environment"]["stages"] = [s.name for s in load_task(task).stages]
        result["environment"]["version"] = load_task(task).version
        last = result["environment"]["stages"]
        for episode in result["episodes"]:
            episode["stage"] = last[-1] if episode["success"] else last[0]
        result["config"]["training"]["split"] = {"train_set": "left"}
        write_result(tmp_path / "results", result)
    sources = Sources.open(tmp_path / "results", tmp_path / "runs", tmp_path / "data")
    name = f"{ALL_TASKS}_rollout_grid"
    (missing,) = build({name: ASSETS[name]}, sources, tmp_path / "out")
    assert missing.status == "not run"
    run = tmp_path / "runs/all_tasks-panda-independent/laptop/left/para-resnet10-colour/seed0"
    run.mkdir(parents=True)
    cfg = load_config(TrainConfig, ["model=para", f"split={ALL_TASKS}", "augment=colour"])
    training = full_result("lr", "para")["training"] | {"samples_per_s": 50.0}
    save_policy(run, {}, policy_meta(cfg, training=training))
    (run / "policy.safetensors").write_bytes(b"para")
    shot = []

    def shoot(tasks, workers):
        shot.extend(tasks)
        yield from fake_shoot(tasks, workers)

    built = make(name, sources, tmp_path / "out", monkeypatch, shoot)
    assert {task.run_dir for task in shot} == {str(run)}
    assert len(shot) == 2 * videos.TASK_STARTS
    data = built.media[0].data
    assert (data["split"], data["shown"]) == (ALL_TASKS, 6)
    assert data["succeeded"] == sum(task.success for task in shot)
    assert "push to target" in built.media[0].alt


def test_videos_play_in_browsers_and_a_pair_has_one_length(sources, tmp_path, monkeypatch):
    built = make("lr_test_pair", sources, tmp_path / "out", monkeypatch)
    seconds = set()
    for media in built.media:
        path = tmp_path / "out" / media.file
        info = probe_video(path)
        assert (info.codec, info.pixel_format) == ("h264", "yuv420p")
        assert (info.width, info.height) == (media.width, media.height)
        assert path.stat().st_size < clips.CLIP_BYTES
        data = path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")  # fast start
        seconds.add(info.seconds)
        with Image.open(tmp_path / "out" / media.variants["poster"]) as poster:
            assert poster.size == (media.width, media.height)
    assert len(seconds) == 1


def test_the_outcome_is_shown_at_the_end_only(sources, tmp_path, monkeypatch):
    built = make("lr_test_pair", sources, tmp_path / "out", monkeypatch)
    for media, colour in zip(built.media, (clips.SUCCESS_GREEN, clips.FAIL_RED), strict=True):
        frames = read_video(tmp_path / "out" / media.file)
        expected = clips.rgb(colour)
        border = [frame[3:5, 100:300].reshape(-1, 3).mean(0) for frame in (frames[0], frames[-1])]
        assert np.abs(border[1] - expected).max() < 40
        assert np.abs(border[0] - expected).max() > 40


def test_grid_has_a_cell_for_each_viewpoint_and_counts_successes(sources, tmp_path, monkeypatch):
    shot = []

    def watch(tasks, workers):
        shot.extend(tasks)
        yield from fake_shoot(tasks, workers)

    name = "vp_lr_para_rollout_grid"
    built = make(name, sources, tmp_path / "out", monkeypatch, shoot=watch)
    (media,) = built.media
    assert media.file == f"{name}.mp4"
    result = sources.results.select("vp_lr", "para")[0]
    by_index = {e["index"]: e for e in result.episodes("ood")}
    cells = {tuple(map(int, cell.split(","))): i for cell, i in media.data["episodes"].items()}
    assert len(cells) == 5 * 4
    thetas = [by_index[cells[row, 0]]["condition"]["theta_deg"] for row in range(5)]
    phis = [by_index[cells[0, column]]["condition"]["phi_deg"] for column in range(4)]
    assert thetas == sorted(thetas)
    assert (thetas[0], thetas[-1]) == (0, 25)
    assert phis == [180, 225, 270, 315]
    for (row, column), index in cells.items():
        condition = by_index[index]["condition"]
        assert (condition["theta_deg"], condition["phi_deg"]) == (thetas[row], phis[column])
    assert media.data["succeeded"] == sum(by_index[i]["success"] for i in cells.values())
    assert {t.index for t in shot} == set(cells.values())
    assert (tmp_path / "out" / media.file).stat().st_size < videos.GRID_BYTES


def test_grid_of_a_split_of_positions_has_nine_places_all_over_the_table(
    sources, tmp_path, monkeypatch
):
    result = sources.results.select("lr", "para")[0]
    where = {e["index"]: e["condition"]["position"] for e in result.episodes("ood")}
    board = choices.choose_grid(result)
    assert len(set(board.cells.values())) == len(board.cells) == 3 * 3
    rows = [np.mean([where[board.cells[i, j]][0] for j in range(3)]) for i in range(3)]
    columns = [np.mean([where[board.cells[i, j]][1] for i in range(3)]) for j in range(3)]
    assert rows == sorted(rows)  # away from the robot
    assert columns == sorted(columns)
    low, high = (end(where[i][0] for i in where) for end in (min, max))
    assert rows[0] < low + (high - low) / 3 < high - (high - low) / 3 < rows[2]
    assert [float(text.split()[0]) for text in board.columns] == sorted(
        float(text.split()[0]) for text in board.columns
    )


def test_grid_of_first_starts_numbers_each_by_its_row_and_column(sources):
    board = choices.first_starts(sources.results.select("lr", "para")[0])
    assert len(board.cells) == 3 * 3
    for (i, j), index in board.cells.items():
        assert int(board.rows[i]) + int(board.columns[j]) == index


def test_the_task_holds_the_chunk_that_was_evaluated_together(sources):
    result = sources.results.select("lr", "regression")[0]
    task = choices.episode_task(sources, result, "ood", 13, 64, 4)
    assert len(task.conditions) == 8
    assert task.place == 5
    record = next(e for e in result.episodes("ood") if e["index"] == 13)
    assert task.conditions[5] == record["condition"]
    assert (task.stage, task.steps) == (record["stage"], record["steps"])
    assert Path(task.run_dir).parts[-3:] == ("lr", "regression-resnet10-colour", "seed0")


def test_an_episode_is_filmed_as_it_was_executed(sources):
    asked = {"execute": 1, "subcell": False, "precision": "bf16", "ensemble": True}
    result = sources.results.select("lr", "regression")[0]
    assert choices.episode_task(sources, result, "ood", 0, 64, 4).inference == Inference()
    result.data["config"]["evaluation"] |= asked
    assert choices.episode_task(sources, result, "ood", 0, 64, 4).inference == Inference(**asked)


def test_videos_depend_on_results_weights_and_code(sources, tmp_path, monkeypatch):
    out = tmp_path / "out"
    make("lr_test_pair", sources, out, monkeypatch)
    pair = {"lr_test_pair": ASSETS["lr_test_pair"]}
    monkeypatch.setattr(build_module, "shoot", lambda *_: pytest.fail("filmed again"))
    assert build(pair, sources, out)[0].status == "cached"
    weights = (
        sources.runs_dir
        / HERE
        / "lr"
        / "regression-resnet10-colour"
        / "seed0"
        / "policy.safetensors"
    )
    weights.write_bytes(b"another training run")
    make("lr_test_pair", sources, out, monkeypatch)
    build_module._code_hash.cache_clear()
    monkeypatch.setattr(build_module, "code_digest", lambda components: "another policy")
    make("lr_test_pair", sources, out, monkeypatch)
    build_module._code_hash.cache_clear()


def test_films_depend_on_the_code_of_every_component(monkeypatch):
    digested = []
    monkeypatch.setattr(build_module, "code_digest", lambda parts: digested.extend(parts) or "")
    build_module._code_hash.cache_clear()
    build_module._code_hash(videos.pair, True)
    build_module._code_hash.cache_clear()
    names = {part.__name__ for part in digested}
    assert {"pair", "ParaPolicy", "ActPolicy", "FactorisedHead", "BowlOnPlate"} <= names


def test_results_without_their_runs_say_which_training_is_missing(sources, tmp_path):
    elsewhere = dataclasses.replace(sources, runs_dir=tmp_path / "none")
    (built,) = build({"lr_test_pair": ASSETS["lr_test_pair"]}, elsewhere, tmp_path / "out")
    assert built.status == "not run"
    assert "checkpoint of para on lr" in built.message
    assert "scripts/train.py model=para split=lr" in built.command


def test_a_run_that_was_trained_again_since_is_named_before_anything_is_filmed(
    sources, tmp_path, monkeypatch
):
    monkeypatch.setattr(build_module, "shoot", lambda *_: pytest.fail("filmed"))
    run = sources.runs_dir / HERE / "lr" / "regression-resnet10-colour" / "seed0" / "policy.json"
    meta = read_policy_meta(run.parent)
    meta["training"]["minutes"] += 1
    run.write_text(json.dumps(seal(meta)))
    (built,) = build({"lr_test_pair": ASSETS["lr_test_pair"]}, sources, tmp_path / "out")
    assert built.status == "not run"
    assert "another training run" in built.message
    assert "scripts/eval.py model=regression split=lr" in built.command


def test_episodes_of_another_version_of_the_world_are_not_filmed(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "shoot", lambda *_: pytest.fail("filmed"))
    for path in (tmp_path / "results").rglob("lr/*/seed0.json"):
        text = path.read_text()
        path.write_text(text.replace(f'"version": {PHYSICS}', '"version": 1'))
    old = Sources.open(tmp_path / "results", sources.runs_dir, tmp_path)
    (built,) = build({"lr_test_pair": ASSETS["lr_test_pair"]}, old, tmp_path / "out")
    assert built.status == "not run"
    assert f"physics 1 and this code simulates physics {PHYSICS}" in built.message
    assert "scripts/train.py model=para split=lr" in built.command


def test_an_episode_that_cannot_be_repeated_fails_its_asset_and_is_named(
    sources, tmp_path, monkeypatch
):
    def broken(tasks, workers):
        for task, _ in fake_shoot(tasks, workers):
            yield task, f"{task.source}: episode {task.index} ended otherwise"

    monkeypatch.setattr(build_module, "shoot", broken)
    names = {name: ASSETS[name] for name in ("lr_test_pair", "two_stage_diagram")}
    pair, diagram = build(names, sources, tmp_path / "out")
    assert pair.status == "failed"
    assert "para-resnet10-colour/seed0.json: episode 3 ended otherwise" in pair.message
    assert diagram.status == "built"
    assert not list((tmp_path / "out").glob("*.mp4"))


# --- real rollouts -------------------------------------------------------------------------------


def hand_task(tmp_path, **changes):
    start = start_at(Setting(), (0, 0)).to_dict()
    task = EpisodeTask(
        source="results/lr/para/seed0.json", run_dir="runs/x", robot="hand", layout="together",
        env=ENV, conditions=(start,), place=0, index=7, test="ood", stage="PLACE", meaning="placed",
        success=True, steps=0, inference=Inference(), size=48, stride=20, overlay=False,
        out=str(tmp_path / "frames.npy"),
    )  # fmt: skip
    return dataclasses.replace(task, **changes)


@pytest.fixture
def camera(tmp_path, monkeypatch):
    """The worker that films, with the expert as its policy."""
    camera = episodes._Camera()
    oracle = Oracle(camera._environments(hand_task(tmp_path), "bowl_on_plate", 1))
    monkeypatch.setattr(camera, "_load", lambda _run: oracle)
    return camera


def test_a_recorded_episode_is_filmed_from_start_to_end(camera, tmp_path):
    task = hand_task(tmp_path)
    assert camera(task) is None
    frames = np.load(task.out)
    assert frames.shape[1:] == (48, 48, 3)
    env = camera._environments(task, "bowl_on_plate", 1)[0]
    assert len(frames) == 1 + env.steps // 20 + (env.steps % 20 > 0)
    assert np.abs(frames[0].astype(int) - frames[len(frames) // 2]).max() > 50  # something moves


@pytest.mark.long
def test_another_outcome_than_the_recorded_one_is_an_error(camera, tmp_path):
    with pytest.raises(RerunError, match=r"lr/para/seed0.json: ood episode 7 ended in PLACE"):
        camera._film(hand_task(tmp_path, stage="MISS", steps=600))
    assert "evaluate again" in camera(hand_task(tmp_path, stage="MISS", steps=600))


@pytest.mark.long
def test_the_expert_repeats_its_demo(camera, tmp_path):
    task = hand_task(tmp_path, run_dir=None, test="demo")
    assert camera(task) is None
    with pytest.raises(RerunError, match="expert"):
        camera._film(dataclasses.replace(task, success=False))


@pytest.mark.parametrize("env", [{"image_size": "x"}, {"image_size": -1}, {"fog": 1}])
def test_an_environment_that_there_is_not_is_named_before_anything_is_filmed(sources, env):
    (result,) = sources.results.select("lr", "para")
    result.data["config"]["evaluation"]["env"] = env
    with pytest.raises(ResultError, match=r"seed0\.json says .* environment that there is not"):
        choices.episode_task(sources, result, "ood", 3, 64, 4)
