"""Generation: fixed plans, honest records, and the same bytes whatever happened on the way."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from synthetic_demos import make_episode

from envs.base import TASKS, Condition, EnvConfig, build_task
from envs.table.viewpoints import PHIS_DEG, THETAS_DEG, viewpoint_camera
from envs.table.workspace import EE_START, X_HALF, Y_HALF, grid_positions
from para.data import generate as generation
from para.data.format import (
    check_dataset,
    check_episode,
    dataset_dir,
    episode_path,
    read_episode,
    write_episode,
)
from para.data.generate import GenerateConfig, ensure_dataset, generate, plan, record
from para.errors import ConfigError, DataError, UnknownNameError
from para.files import NoSpaceError
from tests import warm_scripts

SIZE = 48
LIMIT = 6
TASK_CONFIG = TASKS.load("bowl_on_plate")
TASK = build_task(TASK_CONFIG)


def config(data_dir: Path, **other) -> GenerateConfig:
    return GenerateConfig(
        task=TASK_CONFIG,
        robot="hand",
        env=EnvConfig(image_size=SIZE),
        data_dir=str(data_dir),
        outputs_dir=str(data_dir),
        preview=False,
        **{"limit": LIMIT, "workers": 2, **other},
    )


def folder_of(data_dir: Path) -> Path:
    return dataset_dir(data_dir, "bowl_on_plate-hand-together", "objpos", SIZE)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("demo_*.hdf5")}


# ----------------------------------------------------------------------------------------- the plan


def test_objpos_is_the_grid():
    tasks = plan("objpos", TASK)
    positions = np.array([task.condition.position for task in tasks])
    np.testing.assert_allclose(positions, grid_positions())
    assert [task.index for task in tasks] == list(range(256))
    assert {task.condition.theta_deg for task in tasks} == {0.0}


def test_viewpoints_are_eight_by_eight_by_ten():
    tasks = plan("viewpoints", TASK)
    assert len(tasks) == 640
    task = tasks[(3 * 8 + 5) * 10 + 7]
    assert (task.condition.theta_deg, task.condition.phi_deg) == (THETAS_DEG[3], PHIS_DEG[5])
    positions = np.array([task.condition.position for task in tasks])
    assert len(np.unique(positions, axis=0)) == 640
    assert (np.abs(positions) <= [X_HALF, Y_HALF]).all()
    assert (positions.min(0) < [-0.9 * X_HALF, -0.9 * Y_HALF]).all()
    assert (positions.max(0) > [0.9 * X_HALF, 0.9 * Y_HALF]).all()


@pytest.mark.parametrize("dataset", ["objpos", "viewpoints"])
@pytest.mark.parametrize("layout", ["together", "independent"])
def test_plans_are_fixed_and_a_limit_takes_episodes_evenly(dataset, layout):
    tasks = plan(dataset, TASK, layout)
    assert tasks == plan(dataset, TASK, layout)
    few = plan(dataset, TASK, layout, limit=16)
    assert all(tasks[task.index] == task for task in few)
    gaps = np.diff([task.index for task in few])
    assert (few[0].index, few[-1].index) == (0, len(tasks) - 1)
    assert gaps.max() - gaps.min() <= 1
    assert plan(dataset, TASK, layout, limit=10_000) == tasks


def test_independent_puts_the_bowl_on_the_grid_and_the_plate_anywhere():
    tasks = plan("objpos", TASK, "independent")
    np.testing.assert_allclose([task.condition.at("bowl") for task in tasks], grid_positions())
    plates = np.array([task.condition.at("plate") for task in tasks])
    assert len(np.unique(plates, axis=0)) == 256


def test_unknown_names_and_seeds_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'objpos'"):
        plan("objpo", TASK)
    with pytest.raises(UnknownNameError, match="together"):
        plan("objpos", TASK, "togehter")
    with pytest.raises(ConfigError, match="seed=3"):
        generate(config(tmp_path, seed=3))


# -------------------------------------------------------------------------------------- one episode


def test_a_recorded_episode_is_what_happened():
    task = plan("objpos", TASK)[100]
    episode = record(task, "objpos", TASK, "hand", "together", EnvConfig(image_size=SIZE))
    arrays, n = episode.arrays, episode.meta.num_samples
    assert episode.meta.success
    assert Condition.from_dict(episode.meta.condition) == task.condition
    assert episode.images().shape == (n, SIZE, SIZE, 3)
    assert 25 < n < 120  # 10 Hz, 600 control steps at most
    np.testing.assert_allclose(arrays["obs/ee_pose"][0, :3], EE_START, atol=0.01)
    bowl = task.condition.position + np.array([0.0, 0.09])
    np.testing.assert_allclose(arrays["obs/objects/bowl"][0, :2], bowl, atol=0.002)
    final = arrays["obs/objects/bowl"][-1, :2] - arrays["obs/objects/plate"][-1, :2]
    assert np.hypot(*final) < 0.045
    # The fingers open and close once, as commanded, and the measured opening follows.
    commanded, measured = arrays["actions"][:, 3], arrays["obs/gripper"]
    assert np.abs(np.diff(commanded)).sum() == 2
    assert measured[commanded == 0][-1] < 0.5 < measured[-1]
    # The tool goes where it was told to.
    assert np.abs(arrays["actions"][:-1, :3] - arrays["obs/ee_pose"][:-1, :3]).max() < 0.05
    camera = viewpoint_camera(EnvConfig(image_size=SIZE))
    np.testing.assert_allclose(arrays["obs/intrinsics"][n // 2], camera.intrinsics)
    np.testing.assert_allclose(arrays["obs/T_world_camera"][n // 2], camera.T_world_camera)


def test_the_same_episode_is_the_same_bytes_whatever_came_before(tmp_path):
    first, other = plan("viewpoints", TASK, limit=2)
    for name, task in (("a", first), ("b", other), ("c", first)):
        episode = record(task, "viewpoints", TASK, "hand", "together", EnvConfig(image_size=SIZE))
        write_episode(tmp_path / name, episode)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("failures", [1, 99])
def test_failures_are_retried_nearby_then_recorded_as_failures(tmp_path, monkeypatch, failures):
    tried = []

    def failing(task, *_):
        tried.append(task)
        episode = make_episode(task.index, success=len(tried) > failures)
        meta = dataclasses.replace(episode.meta, seed=task.seed)
        return dataclasses.replace(episode, meta=meta)

    monkeypatch.setattr(generation, "record", failing)
    make = generation._Maker(
        tmp_path, "objpos", TASK_CONFIG, "hand", "together", EnvConfig(), "fixed"
    )
    succeeded = make(7)
    meta = check_episode(episode_path(tmp_path, 7))
    assert meta.success == succeeded == (failures == 1)
    assert len(tried) == min(failures + 1, generation.ATTEMPTS)
    assert meta.seed == tried[-1].seed == 7 + 10_000 * (len(tried) - 1)
    positions = np.array([task.condition.position for task in tried])
    moved = np.abs(positions[1:] - positions[0])
    assert (moved > 0).all()
    assert (moved <= generation.RETRY_SHIFT + 1e-12).all()
    assert len({task.condition for task in tried}) == len(tried)


# --------------------------------------------------------------------------------------- whole sets


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """A set of LIMIT demos, made by one worker without interruption."""
    data_dir = tmp_path_factory.mktemp("undisturbed")
    summary = generate(config(data_dir, workers=1))
    assert summary.made == len(summary.metas) == LIMIT
    assert all(meta.success for meta in summary.metas)
    return data_dir


@pytest.fixture
def copy(undisturbed, tmp_path) -> Path:
    shutil.copytree(undisturbed, tmp_path / "copy")
    return tmp_path / "copy"


def test_complete_sets_are_left_alone(copy, monkeypatch):
    monkeypatch.setattr(generation, "build_executor", None)  # would raise if it were used
    before = contents(folder_of(copy))
    summary = generate(config(copy))
    assert (summary.made, summary.replaced) == (0, [])
    folder, metas = ensure_dataset(config(copy), "objpos", LIMIT)
    assert folder == folder_of(copy)
    assert [meta.index for meta in metas] == [0, 51, 102, 153, 204, 255]
    _, some = ensure_dataset(config(copy), "objpos", LIMIT, only=[51, 255])
    assert [meta.index for meta in some] == [51, 255]
    assert contents(folder) == before


def test_damaged_and_missing_files_are_made_again_to_the_byte(copy):
    folder = folder_of(copy)
    expected = contents(folder)
    episode_path(folder, 0).unlink()
    truncated = episode_path(folder, 51)
    truncated.write_bytes(truncated.read_bytes()[:1000])
    dangling = episode_path(folder, 102)
    dangling.unlink()
    dangling.symlink_to("gone")
    (folder / ".demo_00102.0123abcd.hdf5").write_bytes(b"left by a killed writer")
    with pytest.raises(
        DataError, match=r"demo_00051[\s\S]*demo_00102\.hdf5 is a link to gone"
    ):  # training does not repair behind one's back
        ensure_dataset(config(copy), "objpos", LIMIT)
    summary = generate(config(copy))
    assert summary.made == 3
    assert summary.replaced == [truncated, dangling]
    assert "demo_00051.hdf5" in summary.report()
    assert contents(folder) == expected
    assert truncated.with_name("demo_00051.hdf5.bad").stat().st_size == 1000
    assert not list(folder.glob(".demo_*"))


@pytest.mark.slow
def test_sigkill_loses_only_what_was_in_flight(undisturbed, tmp_path):
    folder = folder_of(tmp_path)
    words = ["scripts/generate_demos.py", "dataset=objpos", "robot=hand"]
    words += [f"limit={LIMIT}", f"env.image_size={SIZE}", "workers=2", "preview=false"]
    words += [f"data_dir={tmp_path}", f"outputs_dir={tmp_path}"]
    process = warm_scripts.start(*words, cwd=tmp_path)
    while len(contents(folder)) < 2 and process.poll() is None:
        time.sleep(0.005)
    assert process.kill() == -signal.SIGKILL  # else it had finished already
    time.sleep(1.0)  # the workers notice and leave
    survivors = contents(folder)
    time.sleep(1.0)
    assert 2 <= len(survivors) < LIMIT
    assert contents(folder) == survivors  # nobody writes any more
    assert check_dataset(folder)  # what is there is complete

    stamps = {name: (folder / name).stat().st_mtime_ns for name in survivors}
    warm_scripts.run(*words, cwd=tmp_path)
    assert contents(folder) == contents(folder_of(undisturbed))
    assert {name: (folder / name).stat().st_mtime_ns for name in survivors} == stamps
    assert not list(folder.glob(".demo_*"))


def test_full_disk_is_noticed_before_work_starts(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    monkeypatch.setattr(generation, "build_executor", None)
    with pytest.raises(NoSpaceError, match=r"needs about .* MB but its disk has 0 MB free"):
        generate(config(tmp_path))
    assert contents(folder_of(tmp_path)) == {}


def test_another_environment_is_refused_before_work_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "build_executor", None)
    write_episode(episode_path(folder_of(tmp_path), 0), make_episode(0, size=SIZE))
    cfg = config(tmp_path)
    cfg.env.camera_fovy_deg = 60.0
    for call in (lambda: generate(cfg), lambda: ensure_dataset(cfg, "objpos", LIMIT)):
        with pytest.raises(DataError, match=r"camera_fovy_deg: 45\.0 instead of 60\.0"):
            call()


@pytest.mark.parametrize(
    "changed", [{"theta_deg": 3.0}, {"perturbed": {"bump_m_s": 0.5}}, {"objects": {"bowl": [0.0]}}]
)
def test_demos_of_other_starts_are_refused_before_work_starts(copy, monkeypatch, changed):
    """Made before the task or its data set was changed: nothing else in the file tells."""
    monkeypatch.setattr(generation, "build_executor", None)
    path = episode_path(folder_of(copy), 51)
    episode = read_episode(path)
    episode_path(folder_of(copy), 102).unlink()
    condition = episode.meta.condition | changed
    write_episode(
        path,
        dataclasses.replace(episode, meta=dataclasses.replace(episode.meta, condition=condition)),
    )
    for call in (generate, lambda cfg: ensure_dataset(cfg, "objpos", LIMIT)):
        with pytest.raises(DataError, match=r"demo_00051\S* does not start .* delete .* run: "):
            call(config(copy))


class _Dies:
    """A worker that dies of its first task, and leaves half of a file."""

    def __init__(self, folder: Path, *_: object):
        self.folder = folder

    def __call__(self, index: int) -> bool:
        (self.folder / f".demo_{index:05d}.0123abcd.hdf5").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
        return True


def test_a_dead_worker_is_an_error_that_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "_Maker", _Dies)
    with pytest.raises(DataError, match="run the same command again") as error:
        generate(config(tmp_path, workers=1))
    assert "SIGKILL" in str(error.value)
    assert not list(folder_of(tmp_path).glob(".demo_*"))


def test_a_second_generator_waits_for_the_first(tmp_path):
    order = []

    def second():
        with generation._locked(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with generation._locked(tmp_path):
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
