"""Result files: written, read, refused, compared."""

import copy
import json
import os
from pathlib import Path

import pytest

from para.errors import ConfigError, ResultError
from para.evaluation import results
from para.evaluation.convert import convert_condition
from para.evaluation.result_set import ResultSet, StoredResult
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
from para.files import MOST_BYTES
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
        "backbone": {"name": "resnet10", "init": "random"},
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
                    "seed": i,
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
    expected = "bowl_on_plate-panda-together/laptop/dev/lr/para-resnet10-none/seed0.json"
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
        ("para@colour", "model=para augment=colour", "model=para augment=colour"),
        (
            "para_volume-dinov2_vits14@none",
            "model=para_volume backbone=dinov2_vits14 augment=none",
            "model=para_volume backbone=dinov2_vits14 augment=none",
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
    usual = ("resnet10", "camera")
    assert label("para", "resnet10", "camera", *usual) == "para"
    assert label("para", "resnet10", "colour", *usual) == "para@colour"
    assert label("para", "dinov2_vits14", "camera", *usual) == "para-dinov2_vits14"
    assert label("para", "dinov2_vits14", "none", *usual) == "para-dinov2_vits14@none"


@pytest.mark.parametrize("name", ["../../evil", "", "a/b", "a-b", "x" * 81, "a b", ".."])
def test_names_from_files_never_become_paths(name, tmp_path):
    fields = ("profile", "starts", "split", "model", "backbone", "augment")
    for field in fields:
        parts = dict.fromkeys(fields, "x") | {field: name}
        with pytest.raises(ConfigError, match="cannot name a run or a result"):
            ResultId(Setting(), **parts, seed=0).path(tmp_path)
    with pytest.raises(ConfigError, match="cannot name a run or a result"):
        assert Setting(task=name).name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "damaged"),
        (json.dumps(_result())[:500], "damaged"),
        ("[1, 2]", "holds no JSON object"),
        (json.dumps({"name": "something else"}), "has no schema number"),
        (json.dumps(_result() | {"schema": 3}), "has schema 3; this version reads schemas 1 and 2"),
        (json.dumps(_result() | {"schema": True}), "has schema True"),
        ("[" * 100_000, "nested deeper than"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested deeper than"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested deeper than"),
        ('{"a":' * 100 + "1" + "}" * 100, "has no schema number"),
        ('{"schema": 2, "seed": NaN}', "NaN is no number"),
        ('{"schema": 2, "seed": 1e999}', "1e999 is too large"),
        ('{"schema": 2, "seed": -1E+0400}', "too large for a number"),
        ('{"schema": 2, "seed": ' + "1" * 400 + ".5}", "too large for a number"),
        ('{"schema": 2, "seed": ' + "9" * 400 + "}", "too large for an integer"),
        (f'{{"schema": 2, "seed": {2**64}}}', "too large for an integer"),
        (f'{{"schema": 2, "seed": {-(2**63) - 1}}}', "too large for an integer"),
        (json.dumps({"schema": 2, "git": "\ud800"}), "no Unicode"),
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
    with pytest.raises(ResultError, match=r"seed0\.json does not exist"):
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
        (_without("backbone", "init"), "backbone.init is missing"),
        (_without("training", "minutes"), "training.minutes is missing"),
        (_without("episodes", 1, "stage"), "episodes.1.stage is missing"),
        (
            _without("episodes", 1, "condition", "theta_deg"),
            "episodes.1.condition.theta_deg is missing",
        ),
        (
            _with("test", "episodes", 0, "test"),
            "episodes.0.test is 'test': input should be 'ood' or 'sanity'",
        ),
        (
            _with("LIFT", "episodes", 0, "stage"),
            "episodes.0: stage 'LIFT' is none of MISS, GRASP, PLACE",
        ),
        (_with(False, "episodes", 0, "success"), "episodes.0: success is False in stage PLACE"),
        (_with(1, "episodes", 0, "success"), "episodes.0.success is 1"),
        (_with(True, "episodes", 0, "steps"), "episodes.0.steps is True"),
        (_with(0, "episodes", 1, "index"), "episode 0 of ood is there twice"),
        (_with(7, "episodes", 1, "index"), "episode 1 of ood is missing"),
        (_with([], "episodes"), "at least 1 item"),
        (_with(-5, "episodes", 0, "steps"), r"episodes\.0\.steps is -5"),
        (_with(-1, "episodes", 0, "index"), r"episodes\.0\.index is -1"),
        (_with("5", "episodes", 0, "condition", "theta_deg"), "theta_deg is '5'"),
        (_with(-5.0, "episodes", 0, "condition", "theta_deg"), "theta_deg is -5.0"),
        (_without("episodes", 0, "condition", "objects", "bowl"), "position has y = 0.1, objects"),
        (_with(None, "evaluation"), "evaluation is None"),
        (_with("2", "hardware", "cores"), r"hardware\.cores is '2'"),
        (_with([1.0], "episodes", 0, "condition", "position"), "position is"),
        (_with([1.0, 2.0, 3.0], "episodes", 0, "condition", "position"), "position is"),
        (_with([1.0, "2"], "episodes", 0, "condition", "position"), r"position\.1 is '2'"),
        (_with("1500", "training", "steps"), r"training\.steps is '1500'"),
        (_with(None, "training", "minutes"), r"training\.minutes is None"),
        (_with("before", "training", "start"), r"training\.start is 'before'"),
        (_with([], "config", "training"), r"config\.training is \[\]"),
        (_with({"stage": {"after_steps": "9"}}, "config", "training"), "after_steps is '9'"),
        (_with("yesterday", "created"), "created is 'yesterday'"),
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


def test_not_a_number_is_neither_written_nor_read(tmp_path):
    result = _result()
    result["episodes"][2]["place_error_m"] = float("nan")
    with pytest.raises(ResultError, match=r"episodes\.2\.place_error_m is nan: .*finite number"):
        write_result(tmp_path / "a.json", result)
    (tmp_path / "a.json").write_text(json.dumps(result))
    with pytest.raises(ResultError, match="NaN is no number"):
        read_result(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkdir, "is a folder, not a file"),
        (os.mkfifo, "is a named pipe, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
        (lambda path: path.symlink_to("nowhere"), "is a link to nowhere, where there is nothing"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.write_bytes(b" " * (MOST_BYTES + 1)), "is larger than 32 MiB"),
    ],
)
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, make, message):
    path = tmp_path / "seed0.json"
    make(path)
    with pytest.raises(ResultError, match=rf"seed0\.json {message}.* evaluate again"):
        read_result(path)


def test_a_result_that_nobody_could_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "MOST_BYTES", 2**20)
    result = _result() | {"notes": "x" * 2**20}
    with pytest.raises(ResultError, match="would be larger than 1 MiB"):
        write_result(tmp_path / "a.json", result)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [_with("GRASP", "episodes", 0, "stage"), _without("git")])
def test_an_altered_result_is_found_by_its_checksum(tmp_path, change):
    path = tmp_path / "a.json"
    write_result(path, _result())
    result = json.loads(path.read_text())
    change(result)
    result["episodes"][0]["success"] = False  # fits the stage now: only the checksum knows
    path.write_text(json.dumps(result))
    with pytest.raises(ResultError, match="was altered after it was written"):
        read_result(path)
    del result["checksum"]  # as in files of before there were checksums
    path.write_text(json.dumps(result))
    if "git" in result:
        assert outcomes(read_result(path), "ood") == [False, True, False]


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


def test_versions_of_the_simulated_world_are_never_mixed(tmp_path):
    old, new = make_result("lr"), make_result("lr", "regression")
    new["environment"]["version"] = 2
    with pytest.raises(ResultError, match="para was evaluated with physics 1, regression with"):
        compare(old, new)
    seeds = [make_result("lr", seed=seed) for seed in (0, 1, 2)]
    for result in seeds[1:]:
        result["environment"]["version"] = 2
    for result in (*seeds, new):
        write_result_file(tmp_path, result)
    found = ResultSet.load(tmp_path).of(Setting(), "laptop")
    assert [result.version for result in found.results] == [1, 2, 2, 2]
    assert [result.seed for result in found.select("lr", "para")] == [1, 2]  # never pooled
    assert found.rate("lr", "para", "ood").n == 2 * 96
    for wrong in (0, 1.5, "2", True):
        new["environment"]["version"] = wrong
        with pytest.raises(ResultError, match=r"environment\.version is"):
            write_result(tmp_path / "x.json", new)


def test_dev_and_final_starts_are_never_pooled_or_paired(tmp_path):
    for seed, starts in ((0, "dev"), (0, "final"), (1, "final")):
        write_result_file(tmp_path, make_result("lr", "para", seed) | {"starts": starts})
    write_result_file(tmp_path, make_result("lr", "regression") | {"starts": "dev"})
    found = ResultSet.load(tmp_path).of(Setting(), "laptop")
    assert [(r.seed, r.id.starts) for r in found.select("lr", "para")] == [
        (0, "final"),
        (1, "final"),
    ]
    assert found.rate("lr", "para", "ood").n == 2 * 96
    assert found.compare("lr", "para", "regression", "ood") is None
    first, second = make_result("lr", "para"), make_result("lr", "regression")
    with pytest.raises(ResultError, match="final starts, regression on dev ones"):
        compare(first | {"starts": "final"}, second | {"starts": "dev"})


def test_files_of_before_starts_and_names_of_augmentations():
    result = make_result("lr", "para")
    del result["augment"]
    for recorded, name in (
        (None, "none"),
        ({"hue": 0.0}, "none"),
        ({"hue": 0.02, "shift": 0.0}, "colour"),
        ({"hue": 0.02, "shift": 0.1}, "camera"),
        ({"name": "mine", "hue": 0.02}, "mine"),
    ):
        result["config"]["training"] = {"augment": recorded}
        assert (result_id(result).starts, result_id(result).augment) == ("dev", name)


def test_committed_results_are_valid():
    found = ResultSet.load(Path(__file__).parents[2] / "results")
    assert found.results
    assert found.left_out == ()
    beside = Path(__file__).parents[2] / "results" / "tuning" / "test_time_augmentation"
    assert {read_result(path)["config"]["evaluation"]["tta"] for path in beside.iterdir()} == {8}


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


def test_a_result_of_aligned_views_is_taken_for_no_other(tmp_path):
    result = make_result("lr", "regression")
    result["config"]["evaluation"] = {"align_view": True}
    path = write_result_file(tmp_path, result)
    found = ResultSet.load(tmp_path)
    assert not found.results
    assert f"move it to aligned/{path.relative_to(tmp_path)}." in found.left_out[0].reason
    path.unlink()
    write_result_file(tmp_path / "aligned", result)
    found = ResultSet.load(tmp_path)
    assert not found.results
    assert not found.left_out
    assert len(found.aligned.results) == 1


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


def test_a_file_is_read_again_when_it_has_changed(tmp_path):
    result = make_result("lr", "para")
    path = write_result_file(tmp_path, result)
    first = StoredResult.read(path, tmp_path)
    assert StoredResult.read(path, tmp_path) is first
    result["episodes"][0]["success"] ^= True
    result["episodes"][0]["stage"] = "PLACE" if result["episodes"][0]["success"] else "MISS"
    write_result_file(tmp_path, result)
    again = StoredResult.read(path, tmp_path)
    assert again.episodes("ood")[0] != first.episodes("ood")[0]
    path.write_text("{")
    with pytest.raises(ResultError, match="is damaged"):
        StoredResult.read(path, tmp_path)
    path.unlink()
    with pytest.raises(ResultError, match="does not exist"):
        StoredResult.read(path, tmp_path)
