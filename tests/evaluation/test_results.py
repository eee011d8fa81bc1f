"""Result files: written, read, refused, compared."""

import copy
import json
from pathlib import Path

import pytest

from para.errors import ConfigError, ResultError
from para.evaluation.convert import convert_condition
from para.evaluation.result_set import ResultSet
from para.evaluation.results import (
    compare,
    outcomes,
    rates_by_theta,
    read_result,
    result_id,
    stage_counts,
    stage_steps,
    success_rate,
    total_minutes,
    total_steps,
    write_result,
)
from para.runs.identity import ResultId, Setting, label
from para.runs.labels import model_commands
from para.statistics import Rate
from tests.results_fixture import make_result
from tests.results_fixture import write_result as write_result_file


def _result(model="para", successes=(True, True, False), test="ood"):
    return {
        "schema": 2,
        "split": "lr",
        "model": model,
        "seed": 0,
        "created": "2026-01-01T00:00:00+00:00",
        "git": "abc",
        "profile": "laptop",
        "environment": {
            "task": "bowl_on_plate",
            "robot": "panda",
            "layout": "together",
            "stages": ["MISS", "GRASP", "PLACE"],
        },
        "backbone": {"name": "resnet18", "init": "random"},
        "training": {"minutes": 4.0, "steps": 1500, "demos": 128},
        "hardware": {"cores": 2},
        "config": {},
        "episodes": [
            {
                "index": i,
                "seed": i,
                "test": test,
                "condition": {
                    "task": "bowl_on_plate",
                    "objects": {"bowl": [0.01 * i, 0.19, 0.0], "plate": [0.01 * i, 0.01, 0.0]},
                    "position": [0.01 * i, 0.1],
                    "theta_deg": 5.0 * (i % 2),
                    "phi_deg": 0.0,
                    "distractors": 0,
                },
                "stage": "PLACE" if success else "GRASP",
                "success": success,
                "steps": 200,
                "place_error_m": 0.01,
                "seconds": 1,
            }
            for i, success in enumerate(successes)
        ],
    }


def test_round_trip(tmp_path):
    path = result_id(_result()).path(tmp_path)
    expected = "bowl_on_plate-panda-together/laptop/lr/para-resnet18/seed0.json"
    assert path.relative_to(tmp_path).as_posix() == expected
    write_result(path, _result())
    assert read_result(path) == _result()


def test_schema_1_is_read_as_schema_2(tmp_path):
    """What the first version wrote: objects by their own keys, waypoints with the model."""
    new = _result()
    old = copy.deepcopy(new) | {"schema": 1, "robot": "panda", "layout": "together"}
    del old["environment"]
    old["config"] = {"evaluation": {"batch": 8}, "training": {"model": {"execute": 4}}}
    for episode in old["episodes"]:
        objects = episode["condition"].pop("objects")
        del episode["condition"]["task"]
        episode["condition"] |= {name: pose[:2] for name, pose in objects.items()}
        episode["bowl_position"], episode["plate_position"] = [1, 2, 0], [3, 4, 0]
    (tmp_path / "old.json").write_text(json.dumps(old))
    read = read_result(tmp_path / "old.json")
    assert read["schema"] == 2
    assert read["environment"] == new["environment"]
    assert read["config"]["evaluation"] == {"batch": 8, "execute": 4}
    for episode, expected in zip(read["episodes"], new["episodes"], strict=True):
        assert episode["condition"] == expected["condition"]
        assert episode["objects"] == {"bowl": [1, 2, 0], "plate": [3, 4, 0]}
    assert result_id(read) == result_id(new)
    (tmp_path / "old.json").write_text(json.dumps(old | {"episodes": [{"condition": 3}]}))
    with pytest.raises(ResultError, match="says schema 1, but cannot be read as such"):
        read_result(tmp_path / "old.json")
    assert convert_condition({"seed": 3}) == {"task": "bowl_on_plate", "objects": {}, "seed": 3}


@pytest.mark.parametrize(
    ("label", "training", "evaluation"),
    [
        ("para", "model=para", "model=para"),
        ("act", "model=act", "model=act"),
        ("para-resnet50", "model=para backbone=resnet50", "model=para backbone=resnet50"),
        (
            "para_two_stage-svd_tiny",
            "model=para backbone=svd_tiny recipe=two_stage",
            "model=para_two_stage backbone=svd_tiny",
        ),
    ],
)
def test_commands_of_a_label(label, training, evaluation):
    assert model_commands(label, "split=lr") == (
        f"python scripts/train.py {training} split=lr && "
        f"python scripts/eval.py {evaluation} split=lr"
    )


def test_names():
    setting = Setting("bowl_on_plate", "hand", "independent")
    assert setting.name == "bowl_on_plate-hand-independent"
    assert label("para", "resnet18", "resnet18") == "para"
    assert label("para", "dinov2_vits14", "resnet18") == "para-dinov2_vits14"


@pytest.mark.parametrize("name", ["../../evil", "", "a/b", "a-b", "x" * 81, "a b", ".."])
def test_names_from_files_never_become_paths(name, tmp_path):
    for field in ("profile", "split", "model", "backbone"):
        parts = {"profile": "p", "split": "s", "model": "m", "backbone": "b"} | {field: name}
        with pytest.raises(ConfigError, match="cannot name a run or a result"):
            ResultId(Setting(), **parts, seed=0).path(tmp_path)
    with pytest.raises(ConfigError, match="cannot name a run or a result"):
        assert Setting(task=name).name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "damaged"),
        (json.dumps(_result())[:500], "damaged"),
        ("[1, 2]", "no schema number"),
        (json.dumps({"name": "something else"}), "no schema number"),
        (json.dumps(_result() | {"schema": 3}), "has schema 3; this version reads schemas 1 and 2"),
        (b"\xff\xfe\x00\x80", "not text"),
    ],
)
def test_damaged_and_foreign_files_are_named(tmp_path, content, message):
    path = tmp_path / "lr" / "para" / "seed0.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ResultError, match=message) as caught:
        read_result(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(ResultError, match=r"seed0\.json: No such file"):
        read_result(tmp_path / "seed0.json")


def _without(*path):
    def change(result):
        for name in path[:-1]:
            result = result[name]
        del result[path[-1]]

    return change


def _with(value, *path):
    def change(result):
        for name in path[:-1]:
            result = result[name]
        result[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("git"), "git is missing"),
        (_without("backbone", "init"), "backbone needs name and init"),
        (_without("training", "minutes"), "training is incomplete"),
        (_without("episodes", 1, "stage"), "stage of episode 1 is missing"),
        (_without("episodes", 1, "condition", "theta_deg"), "condition of episode 1"),
        (_with("test", "episodes", 0, "test"), "episode 0: test 'test'"),
        (_with("LIFT", "episodes", 0, "stage"), "episode 0: stage 'LIFT'"),
        (_with(False, "episodes", 0, "success"), "success False in stage PLACE"),
        (_with(1, "episodes", 0, "success"), "success of episode 0 is 1"),
        (_with(True, "episodes", 0, "steps"), "steps of episode 0 is True"),
        (_with(float("nan"), "episodes", 2, "place_error_m"), "place_error_m of episode 2 is nan"),
        (_with(0, "episodes", 1, "index"), "episode 1 is there twice"),
    ],
)
def test_wrong_fields_are_refused_when_read_and_when_written(tmp_path, change, message):
    result = _result()
    change(result)
    with pytest.raises(ResultError, match=message):
        write_result(tmp_path / "a.json", result)
    assert not (tmp_path / "a.json").exists()
    (tmp_path / "a.json").write_text(json.dumps(result))
    with pytest.raises(ResultError, match=message):
        read_result(tmp_path / "a.json")


def test_more_fields_are_welcome(tmp_path):
    result = _result() | {"mood": "good"}
    result["episodes"][0]["plans"] = 4
    write_result(tmp_path / "a.json", result)
    assert read_result(tmp_path / "a.json") == result


def test_rates():
    result = _result(successes=(True, False, True, True))
    result["episodes"][1]["stage"] = "MISS"
    result["episodes"].reverse()  # the order in the file does not matter
    assert outcomes(result, "ood") == [True, False, True, True]
    assert success_rate(result) == Rate(3, 4)
    assert success_rate(result, "sanity").n == 0
    assert stage_counts(result) == {"MISS": 1, "GRASP": 0, "PLACE": 3}
    assert rates_by_theta(result) == {0.0: Rate(2, 2), 5.0: Rate(1, 2)}


def test_policies_are_compared_on_common_starts():
    para = _result(successes=(True,) * 8)
    act = _result("regression", successes=(False,) * 6)
    comparison = compare(para, act)
    assert (comparison.only_first, comparison.only_second, comparison.n) == (6, 0, 6)
    assert comparison.p_value == pytest.approx(2 / 2**6)
    moved = copy.deepcopy(act)
    moved["episodes"][3]["condition"]["position"][0] += 0.001
    with pytest.raises(ResultError, match="not tested on the same starts: episode 3"):
        compare(para, moved)


def test_committed_results_are_valid():
    found = ResultSet.load(Path(__file__).parents[2] / "results")
    assert found.results
    assert found.left_out == ()


def test_a_set_of_results_is_narrowed_before_anything_is_pooled(tmp_path):
    for split in ("lr", "vp_io"):
        write_result_file(tmp_path, make_result(split, "regression"))
    paper = make_result("lr", "regression") | {"profile": "paper"}
    write_result_file(tmp_path, paper)
    (tmp_path / "stray.json").write_text(json.dumps(paper))
    found = ResultSet.load(tmp_path)
    assert len(found.results) == 3
    assert [item.name for item in found.left_out] == ["stray.json"]
    assert "lies elsewhere" in found.left_out[0].reason
    laptop = found.of(Setting(), "laptop")
    assert len(laptop.select("lr", "regression-laptop_cnn")) == 0
    assert [r.seed for r in laptop.select("lr", "regression")] == [0]
    assert laptop.rate("lr", "regression", "ood").n == 96
    assert laptop.models("vp_io") == ["regression"]


def test_budgets_count_every_stage():
    result = make_result("lr", "para")
    assert (total_steps(result), total_minutes(result)) == (1500, 3.5)
    assert stage_steps(result) == "1500"
    video = {"steps": 600, "minutes": 10.0}
    joint = {"steps": 100, "minutes": 2.0}
    result["training"]["start"] = {"training": joint, "start": {"training": video, "start": None}}
    result["config"]["training"] = {"stage": {"after_steps": 700}}
    assert (total_steps(result), total_minutes(result)) == (2200, 15.5)
    assert stage_steps(result) == "700 + 1500"
