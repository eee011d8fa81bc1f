"""Foreign sets become demo files, number by number; what is wrong with them is one sentence."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from foreign_sets import camera_file, folder_set, hdf5_set, read_rows, write_rows
from synthetic_demos import camera, make_dataset, make_episode

from envs.base import load_task
from envs.splits import load_split, training_indices
from para.cli import load_config
from para.commands.export_demos import main as export_main
from para.commands.import_demos import main as import_main
from para.data.cameras import read_cameras
from para.data.dataset import DemoDataset
from para.data.exporting import ExportDemosConfig, export_demos
from para.data.format import (
    check_dataset,
    episode_path,
    read_episode,
    regenerate_command,
    write_episode,
)
from para.data.importing import ImportConfig, import_demos
from para.data.own import open_own
from para.data.sources.recording import Recording
from para.errors import ConfigError, DataError, ParaError, UnknownNameError
from para.fields import check
from para.files import read_json


@cache
def usual(config: type) -> Any:
    return load_config(config)  # composed once: the suite has many of these


def imported(tmp_path: Path, **keys: Any) -> Path:
    keys = {key: str(value) if isinstance(value, Path) else value for key, value in keys.items()}
    cfg = replace(usual(ImportConfig), data_dir=f"{tmp_path}/data", **keys)
    check(cfg)
    return import_demos(cfg).folder


def exports(data: Path, out: Path, **keys: Any) -> Path:
    cfg = replace(usual(ExportDemosConfig), data=str(data), out=str(out), **keys)
    check(cfg)
    return export_demos(cfg).folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A LeRobot set of two demos, and a failed one."""
    place = tmp_path_factory.mktemp("exported")
    make_dataset(place / "demos", 3, frames=8)
    return exports(place / "demos", place / "set")


def test_only_the_demos_that_train_a_split_are_exported(tmp_path):
    task, split = load_task("bowl_on_plate"), load_split("lr")
    left = training_indices(split, task, "together")
    right = sorted(set(range(256)) - set(left))
    for index in (*left[20:23], *right[20:22]):
        path = episode_path(tmp_path / "demos", index)
        write_episode(path, make_episode(index, 8, success=index != left[20]))
    folder = exports(tmp_path / "demos", tmp_path / "left", split="lr")
    metas = read_json(folder / "meta/para.json", DataError)["episodes"]
    assert [meta["index"] for meta in metas] == left[21:23]

    with pytest.raises(DataError, match=r"data set objpos, which does not train split=vp_lr"):
        exports(tmp_path / "demos", tmp_path / "views", split="vp_lr")
    with pytest.raises(DataError, match=r"None of the demos in .* trains split=corner_n4"):
        exports(tmp_path / "demos", tmp_path / "corners", split="corner_n4")
    for name, words in (("multi_task", "no demos of one"), ("own", "no demos of one")):
        with pytest.raises(ConfigError, match=words):
            exports(tmp_path / "demos", tmp_path / name, split=name)
    with pytest.raises(UnknownNameError, match="lrr"):
        exports(tmp_path / "demos", tmp_path / "typo", split="lrr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demos", "left"]


def test_a_folder_comes_in_number_by_number(tmp_path):
    folder = imported(tmp_path, path=folder_set(tmp_path / "monday"))
    assert folder == tmp_path / "data/own/monday"
    assert [meta.instruction for meta in check_dataset(folder)] == ["monday"] * 3
    for k in range(3):
        made, came = make_episode(k, 12), read_episode(episode_path(folder, k))
        assert (made.images() == came.images()).all()
        for name in ("actions", "obs/ee_pose", "obs/gripper", "obs/intrinsics"):
            np.testing.assert_allclose(came.arrays[name], made.arrays[name], atol=1e-7)
    assert "source=folder" in regenerate_command(folder)
    assert len(DemoDataset(folder, range(3))) == 36


@pytest.mark.parametrize(("rate", "kept"), [(10, 30), (20, 15), (30, 10), (15, 20), (12.5, 24)])
def test_other_frame_rates_keep_the_nearest_frame_to_each_tenth_of_a_second(tmp_path, rate, kept):
    path = folder_set(tmp_path / "set", 1, 30, rate)
    episode = read_episode(episode_path(imported(tmp_path, path=path), 0))
    assert episode.meta.num_samples == kept
    wanted = np.arange(kept) * 0.1
    whole = make_episode(0, 30).arrays["obs/ee_pose"][:, 0]
    times = np.interp(
        episode.arrays["obs/ee_pose"][:, 0] * np.sign(whole[-1] - whole[0]),
        whole * np.sign(whole[-1] - whole[0]),
        np.arange(30) / rate,
    )
    assert np.abs(times - wanted).max() <= 0.5 / rate + 1e-4


def test_robomimic_comes_in_at_ten_hertz_above_the_table(tmp_path):
    path = hdf5_set(tmp_path / "demos.hdf5")
    high = camera().T_world_camera.copy()
    high[2, 3] += 0.8
    cameras = camera_file(tmp_path / "cameras.json", T_world_camera=high.tolist())
    words = {"source": "hdf5", "path": path, "cameras": cameras, "mapping": "robomimic"}
    folder = imported(tmp_path, **words, instruction="lift")
    made, came = make_episode(1, 24), read_episode(episode_path(folder, 1))
    assert came.meta.num_samples == 12
    assert came.meta.instruction == "lift"
    assert (came.images() == made.images(range(0, 24, 2))).all()
    for name in ("obs/ee_pose", "obs/gripper", "obs/T_world_camera"):
        np.testing.assert_allclose(came.arrays[name], made.arrays[name][::2], atol=1e-6)
    np.testing.assert_array_equal(came.arrays["actions"][:, 3], made.arrays["actions"][::2, 3])


def test_a_round_trip_through_lerobot_keeps_every_bit(tmp_path, exported):
    folder = imported(tmp_path, source="lerobot", path=exported)
    for k in range(3):
        made = exported.parent / "demos" / f"demo_{k:05d}.hdf5"
        assert episode_path(folder, k).read_bytes() == made.read_bytes()


def test_a_lerobot_set_of_two_days_is_read_whole_or_refused(tmp_path, exported):
    """LeRobot goes on in a new file of episodes when a recording is resumed."""
    import pyarrow.parquet as parquet

    exported = Path(shutil.copytree(exported, tmp_path / "two_days"))
    first = exported / "meta/episodes/chunk-000/file-000.parquet"
    table = parquet.read_table(first)
    parquet.write_table(table.slice(0, 1), first)
    with pytest.raises(DataError, match=r"total_episodes 3, and .* tell of 1: .*not whole"):
        imported(tmp_path, source="lerobot", path=exported)
    parquet.write_table(table.slice(1), first.with_name("file-001.parquet"))
    folder = imported(tmp_path, source="lerobot", path=exported)
    assert len(list(folder.glob("demo_*.hdf5"))) == 3


def test_lost_frames_are_held_and_pauses_are_refused():
    def ticks(*times):
        return Recording("a recording", np.array(times), iter, {}).ticks().tolist()

    assert ticks(0, 0.1, 0.2, 0.3) == [0, 1, 2, 3]
    assert ticks(0, 0.1, 0.2, 0.39, 0.5, 0.6) == [0, 1, 2, 3, 3, 4, 5]
    with pytest.raises(DataError, match=r"frame 2 comes 3.100 s after the one before.*Cut"):
        ticks(0, 0.1, 3.2, 3.3)


def test_the_neighbour_of_a_lost_frame_is_taken_with_all_its_numbers(tmp_path):
    folder = folder_set(tmp_path / "set", 1, 8)
    whole = read_episode(episode_path(imported(tmp_path, path=folder, name="whole"), 0))
    rows = read_rows(folder)
    write_rows(folder, [row for k, row in enumerate(rows) if k != 3])
    lost = read_episode(episode_path(imported(tmp_path, path=folder, name="lost"), 0))
    instead = 4 if (lost.images()[3] == whole.images()[4]).all() else 2
    kept = [0, 1, 2, instead, 4, 5, 6, 7]
    assert (lost.images() == whole.images()[kept]).all()
    for name in ("obs/ee_pose", "obs/gripper"):
        np.testing.assert_array_equal(lost.arrays[name], whole.arrays[name][kept])


def test_a_round_trip_through_video_keeps_all_numbers_and_nearly_the_images(tmp_path, exported):
    source = exported.parent / "demos"
    film = exports(source, tmp_path / "film", images="video")
    folder = imported(tmp_path, source="lerobot", path=film)
    made, came = (read_episode(episode_path(where, 2)) for where in (source, folder))
    assert made.meta == came.meta
    for name, array in made.arrays.items():
        np.testing.assert_array_equal(came.arrays[name], array)
    error = made.images().astype(float) - came.images()
    assert 0 < np.sqrt((error**2).mean()) < 8


def test_a_foreign_lerobot_set_needs_mapping_and_cameras(tmp_path, exported):
    (exported / "meta/para.json").rename(tmp_path / "para.json")
    try:
        with pytest.raises(DataError, match=r"mapping=FILE.*qw"):
            imported(tmp_path, source="lerobot", path=exported)
        own = tmp_path / "mine.yaml"
        own.write_text(
            "position: {key: observation.state, columns: [x, y, z]}\n"
            "rotation: {key: observation.state, columns: [3, 4, 5, 6]}\n"
            "rotation_is: quaternion_wxyz\ngripper: {key: observation.state, columns: [gripper]}\n"
        )
        folder = imported(tmp_path, source="lerobot", path=exported, mapping=own)
        own.write_text("position: {key: observation.state, columns: [x, y, height]}\n")
        with pytest.raises(DataError, match=r"no column 'height': it has 8 \(x, y, z, qw"):
            imported(tmp_path, source="lerobot", path=exported, mapping=own, name="other")
    finally:
        (tmp_path / "para.json").rename(exported / "meta/para.json")
    made, came = make_episode(0, 8), read_episode(episode_path(folder, 0))
    np.testing.assert_allclose(came.arrays["obs/ee_pose"], made.arrays["obs/ee_pose"], atol=1e-6)
    assert came.meta.task["name"] == "own"


def test_images_are_fitted_where_a_size_is_asked_for_and_cameras_with_them(tmp_path):
    path = folder_set(tmp_path / "set", 1, 4)
    whole = read_episode(episode_path(imported(tmp_path, path=path), 0))
    small = read_episode(episode_path(imported(tmp_path, path=path, name="s", size=32), 0))
    assert small.images().shape == (4, 32, 32, 3)
    K, smaller = (e.arrays["obs/intrinsics"][0] for e in (whole, small))
    np.testing.assert_allclose(smaller[:2], K[:2] / 2)


def test_distortion_is_taken_out_and_opencv_pixels_are_moved(tmp_path):
    bent = camera_file(tmp_path / "c.json", pixel_centre=0.0, distortion=[-0.3, 0.1, 0, 0, 0])
    one = read_cameras(bent)["front"]
    np.testing.assert_allclose(one.camera.intrinsics[:2, 2], camera().intrinsics[:2, 2] + 0.5)
    K = one.camera.intrinsics - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    straight = np.array([[10.0, 12.0], [50.0, 20.0]])
    rays = np.column_stack([(straight - K[:2, 2]) / K[[0, 1], [0, 1]], np.ones(2)])
    seen, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), K, np.array(one.distortion))
    image = np.zeros((64, 64, 3), np.uint8)
    for u, v in seen[:, 0]:
        cv2.circle(image, (round(u * 16), round(v * 16)), 32, (255,) * 3, -1, cv2.LINE_AA, 4)
    corrected = one.undistorted(image)[..., 0].astype(float)
    for u, v in straight:
        near = corrected[int(v) - 4 : int(v) + 5, int(u) - 4 : int(u) + 5]
        rows, columns = np.mgrid[int(v) - 4 : int(v) + 5, int(u) - 4 : int(u) + 5]
        centre = [(near * grid).sum() / near.sum() for grid in (columns, rows)]
        np.testing.assert_allclose(centre, (u, v), atol=0.3)


def _without(column: str):
    def change(folder: Path) -> None:
        write_rows(folder, [{k: v for k, v in r.items() if k != column} for r in read_rows(folder)])

    return change


def _with(column: str, value: object, row: int = 3):
    def change(folder: Path) -> None:
        rows = read_rows(folder)
        write_rows(folder, [{**r, column: value} if i == row else r for i, r in enumerate(rows)])

    return change


def _camera(**changes: object):
    return lambda folder: camera_file(folder / "cameras.json", **changes)


def _file(name: str, text: str | None):
    def change(folder: Path) -> None:
        (folder / name).unlink()
        if text is not None:
            (folder / name).write_text(text)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without("x"), "lacks the columns x. It has: episode, time"),
        (_without("qx"), "some of the columns qw, qx, qy, qz"),
        (_with("z", "high"), "numbers are needed"),
        (_with("y", "nan"), "is NaN or infinite"),
        (_with("qw", "3.0"), "a quaternion has length"),
        (_with("time", "0.0"), "is not after the one before"),
        (_with("image", "images/none.png"), "does not exist"),
        (_with("image", "../../etc/passwd"), "lies outside"),
        (_with("image", "poses.csv"), "is no image that can be read"),
        (_file("poses.csv", None), "poses.csv does not exist"),
        (_file("poses.csv", ""), "lacks the columns episode"),
        (_file("poses.csv", "episode,time,image,x,y,z\n"), "has no rows: it is an empty set"),
        (_file("poses.csv", "episode,time,image,x,y,z,torque\n1,1,a,1,1,1,1\n"), "'torque'"),
        (_file("cameras.json", None), "cameras.json does not exist"),
        (_file("cameras.json", "{}"), "has no camera"),
        (_camera(intrinsics=None), "intrinsics is missing"),
        (_camera(T_world_camera=np.zeros((4, 4)).tolist()), "not a rotation matrix"),
        (_camera(width=640, height=480), "was calibrated for 640 x 480"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_sentence(tmp_path, change, says):
    change(folder_set(tmp_path / "set", 2, 6))
    with pytest.raises(ParaError) as caught:
        imported(tmp_path, path=tmp_path / "set")
    assert says in str(caught.value)
    assert str(caught.value).count("\n") <= 1
    with pytest.raises(DataError):
        open_own(tmp_path / "data/own/set")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("path=", "path= names no set"),
        ("path=nowhere", "does not exist"),
        ("path=set source=lerobot", "meta/info.json does not exist"),
        ("path=set/poses.csv", "source=folder reads a folder"),
        ("path=set/poses.csv source=hdf5 mapping=libero cameras=set/cameras.json", "no HDF5 file"),
        ("path=set source=hdf5 mapping=libero cameras=set/cameras.json", "has no HDF5 file"),
        ("path=demos.hdf5 source=hdf5", "needs mapping="),
        ("path=demos.hdf5 source=hdf5 mapping=robomimic", "give cameras=FILE"),
        ("path=demos.hdf5 source=hdf5 mapping=libro", "Did you mean 'libero'"),
        (
            "path=demos.hdf5 source=hdf5 mapping=libero cameras=set/cameras.json",
            "has no image 'obs/agentview_rgb'",
        ),
        ("path=set mapping=libero", "the columns of poses.csv have names"),
        ("path=set camera=side", "'side'"),
        ("path=set fps=20", "fps= is for source=hdf5"),
        ("path=hf://nobody/nothing", "only source=lerobot"),
    ],
)
def test_what_is_wrong_with_the_command_is_one_sentence(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    folder_set(tmp_path / "set", 1, 3)
    hdf5_set(tmp_path / "demos.hdf5", 1, 4)
    keys: dict[str, Any] = dict(word.split("=") for word in words.split())
    with pytest.raises(ParaError, match=re.escape(says)):
        imported(tmp_path, **keys | ({"fps": 20.0} if "fps" in keys else {}))


def test_the_commands_import_and_export(tmp_path, capsys):
    import_main([f"path={folder_set(tmp_path / 'set', 1, 3)}", f"data_dir={tmp_path}"])
    export_main([f"data={tmp_path}/own/set", f"out={tmp_path}/out"])
    said = capsys.readouterr().out
    assert f"{tmp_path}/own/set: 1 demos, 3 frames at 10 Hz." in said
    assert f"{tmp_path}/out: LeRobot data set v3.0, 1 episodes, 3 frames" in said
    with pytest.raises(SystemExit) as caught:
        export_main([f"data={tmp_path}/own/set", f"out={tmp_path}/out"])
    assert caught.value.code == 2
    assert "exists. Choose another out=FOLDER" in capsys.readouterr().err


def test_hdf5_that_lacks_what_the_mapping_speaks_of_names_what_there_is(tmp_path):
    path = hdf5_set(tmp_path / "demos.hdf5", 1, 4)
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/obs/robot0_eef_pos"]
    words = {"source": "hdf5", "mapping": "robomimic"}
    words |= {"cameras": camera_file(tmp_path / "c.json")}
    with pytest.raises(DataError, match=r"has no 'obs/robot0_eef_pos'. It has: actions,"):
        imported(tmp_path, **words, path=path)
    with h5py.File(tmp_path / "empty.hdf5", "w") as file:
        file.create_group("data")
    with pytest.raises(DataError, match="has no demonstrations"):
        imported(tmp_path, **words, path=tmp_path / "empty.hdf5")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda info: info.update(codebase_version="v2.1"), "v2.1, and v3.0 is read"),
        (lambda info: info.update(fps=5), "frames per second"),
        (lambda info: info["features"].pop("camera.front.intrinsics"), "has no camera matrices"),
        (lambda info: info["features"].pop("observation.state"), "has no observation.state"),
        (lambda info: info["features"].update(torque=info["features"]["action"]), "torque"),
        (lambda info: info.pop("features"), "features is missing"),
        (lambda info: info["features"].pop("observation.images.front"), "camera"),
    ],
)
def test_a_lerobot_set_that_lacks_something_is_one_sentence(tmp_path, exported, change, says):
    place = exported / "meta/info.json"
    text = place.read_text()
    info = json.loads(text)
    change(info)
    place.write_text(json.dumps(info))
    try:
        with pytest.raises(ParaError, match=says) as caught:
            imported(tmp_path, source="lerobot", path=exported)
    finally:
        place.write_text(text)
    assert "\n" not in str(caught.value)


def test_an_import_replaces_only_its_own(tmp_path):
    path = folder_set(tmp_path / "set", 2, 4)
    folder = imported(tmp_path, path=path)
    assert imported(tmp_path, path=path) == folder
    with pytest.raises(ConfigError, match="was imported by another command"):
        imported(tmp_path, path=path, limit=1)
    imported(tmp_path, path=path, limit=1, fresh=True)
    assert len(list(folder.glob("demo_*"))) == 1


def test_a_set_without_pyarrow_says_what_to_install(tmp_path, monkeypatch, exported):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"para-robot\[lerobot\]"):
        imported(tmp_path, source="lerobot", path=exported)
