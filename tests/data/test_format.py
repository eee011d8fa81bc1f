"""Demo files: what is written is read back, and whatever happened to a file is found and named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic_demos import make_dataset, make_episode

from envs.table import PHYSICS
from para.data import format as data_format
from para.data.format import (
    check_dataset,
    check_episode,
    dataset_dir,
    decode_image,
    encode_image,
    episode_path,
    read_episode,
    regenerate_command,
    write_episode,
)
from para.errors import DataError

COMMAND = r"python scripts/generate_demos\.py dataset=objpos"


def test_round_trip_is_lossless(tmp_path):
    episode = make_episode(3)
    path = episode_path(tmp_path, 3)
    write_episode(path, episode)
    back = read_episode(path)
    assert back.meta == episode.meta
    np.testing.assert_array_equal(back.images(), episode.images())
    for name, array in episode.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array.astype(back.arrays[name].dtype))


def test_images_are_rgb_and_lossless():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(encode_image(image)), image)


def test_layout_is_robomimics(tmp_path):
    path = episode_path(tmp_path, 0)
    write_episode(path, make_episode(0, frames=20))
    with h5py.File(path) as file:
        assert file["data"].attrs["total"] == 20
        assert file["data/demo_0"].attrs["num_samples"] == 20
        assert file["data/demo_0/actions"].shape == (20, 4)
        assert file["data/demo_0/obs/T_world_camera"].shape == (20, 4, 4)


def test_same_episode_is_same_bytes_at_another_time(tmp_path):
    write_episode(tmp_path / "a.hdf5", make_episode(0))
    time.sleep(1.1)  # HDF5 time stamps have a resolution of a second
    write_episode(tmp_path / "b.hdf5", make_episode(0))
    assert (tmp_path / "a.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()


def test_refuses_to_write_nonsense(tmp_path):
    episode = make_episode(0)
    broken = dict(episode.arrays, actions=np.full((20, 4), np.nan))
    with pytest.raises(DataError, match="actions must be finite"):
        write_episode(tmp_path / "a.hdf5", dataclasses.replace(episode, arrays=broken))
    with pytest.raises(DataError, match="19 images for 20 frames"):
        write_episode(tmp_path / "a.hdf5", dataclasses.replace(episode, frames=episode.frames[:-1]))
    assert not list(tmp_path.iterdir())


def test_every_truncation_is_found(tmp_path):
    path = episode_path(tmp_path, 0)
    write_episode(path, make_episode(0))
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 20).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"demo_00000\.hdf5 .*{COMMAND}"):
            check_episode(path)


def test_every_altered_byte_of_content_is_found(tmp_path):
    path = episode_path(tmp_path, 0)
    write_episode(path, make_episode(0))
    with h5py.File(path) as file:
        demo = file["data/demo_0"]
        places = [
            demo[name].id.get_offset() + 5 for name in ("actions", "obs/image", "obs/ee_pose")
        ]
    whole = path.read_bytes()
    places.append(whole.index(b'"bowl"'))  # the condition, an attribute
    for place in places:
        altered = bytearray(whole)
        altered[place] ^= 1
        path.write_bytes(altered)
        with pytest.raises(DataError, match=r"altered|damaged"):
            check_episode(path)


def test_altered_bytes_anywhere_never_change_the_content_unnoticed(tmp_path):
    path = episode_path(tmp_path, 0)
    write_episode(path, make_episode(0, frames=5))
    original = read_episode(path)
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 200):
        altered = bytearray(whole)
        altered[place] ^= 0xFF
        path.write_bytes(altered)
        try:
            episode = read_episode(path)
        except DataError:
            continue
        assert episode.meta == original.meta
        np.testing.assert_array_equal(
            np.concatenate(episode.frames), np.concatenate(original.frames)
        )


def test_foreign_files_are_named(tmp_path):
    path = episode_path(tmp_path, 0)
    with h5py.File(path, "w") as file:
        file["data/demo_0/actions"] = np.zeros((3, 7))
    with pytest.raises(DataError, match=f"not a PARA demonstration.*{COMMAND}"):
        check_episode(path)


class Boom:
    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


def test_pickle_in_disguise_is_refused_and_not_run(tmp_path):
    path = episode_path(tmp_path, 0)
    path.write_bytes(pickle.dumps(Boom()))
    with pytest.raises(DataError, match=f"not an HDF5 file.*{COMMAND}"):
        check_episode(path)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Path.mkdir, "is a folder, not a file"),
        (os.mkfifo, "is a named pipe, not a file"),
        (lambda path: path.symlink_to("gone"), "is a link to gone, where there is nothing"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
    ],
)
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, make, what):
    make_dataset(tmp_path)
    episode_path(tmp_path, 2).unlink()
    make(episode_path(tmp_path, 2))
    for indices in (None, range(4)):
        with pytest.raises(DataError, match=rf"1 of 4[^\n]*\n.*demo_00002\.hdf5 {what}.*{COMMAND}"):
            check_dataset(tmp_path, indices)


@pytest.mark.parametrize(
    ("attributes", "arrays", "reason"),
    [
        ({"index": "2"}, {}, "index is '2'"),
        ({"num_samples": 4}, {}, r"actions must be finite and of shape \(4, 4\)"),
        ({"success": 1}, {}, "success is 1"),
        ({"condition": "[" * 100_000}, {}, "nested deeper"),
        ({"env": "[]"}, {}, r"env is \[\]"),
        ({"env": '{"camera_distance": NaN}'}, {}, "NaN is no number"),
        ({}, {"obs/gripper": np.full(5, np.nan, np.float32)}, "obs/gripper must be finite"),
        ({}, {"obs/ee_pose": np.zeros((5, 3), np.float32)}, "obs/ee_pose must be finite"),
        ({}, {"obs/image_offsets": np.arange(6)}, "obs/image_offsets does not divide obs/image"),
    ],
)
def test_nonsense_with_a_checksum_that_fits_is_named(tmp_path, attributes, arrays, reason):
    path = episode_path(tmp_path, 0)
    write_episode(path, make_episode(0, frames=5))
    with h5py.File(path, "r+") as file:
        demo = file["data/demo_0"]
        for name, array in arrays.items():
            del demo[name]
            demo.create_dataset(name, data=array)
        demo.attrs.update(attributes)
        names: list[str] = []
        demo.visit(names.append)
        content = {name: demo[name][()] for name in names if isinstance(demo[name], h5py.Dataset)}
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in demo.attrs.items()}
        file.attrs["checksum"] = data_format._checksum(plain, content)
    with pytest.raises(DataError, match=rf"demo_00000\.hdf5 .*{reason}.*{COMMAND}"):
        read_episode(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        check_episode(episode_path(tmp_path, 9))


def test_mixed_versions_are_named(tmp_path):
    make_dataset(tmp_path)
    with h5py.File(episode_path(tmp_path, 2), "r+") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(DataError, match=r"1 of 4.*\n.*demo_00002.*version 99.*reads 1 and 2"):
        check_dataset(tmp_path)


def test_check_dataset_returns_what_is_there(tmp_path):
    make_dataset(tmp_path)
    assert [meta.index for meta in check_dataset(tmp_path)] == [0, 1, 2, 3]
    assert [meta.seed for meta in check_dataset(tmp_path, [3, 1])] == [3, 1]


def test_empty_and_incomplete_sets_name_the_command(tmp_path):
    with pytest.raises(DataError, match=f"has no demos.*{COMMAND}"):
        check_dataset(tmp_path / "objpos-128px")
    make_dataset(tmp_path)
    with pytest.raises(DataError, match=f"lacks 2 of 6 demos.*{COMMAND}"):
        check_dataset(tmp_path, range(6))


def test_all_bad_files_are_counted(tmp_path):
    make_dataset(tmp_path, episodes=8)
    for index in range(7):
        episode_path(tmp_path, index).write_bytes(b"")
    with pytest.raises(DataError, match=r"7 of 8 demos[\s\S]*demo_00004[\s\S]*and 2 more"):
        check_dataset(tmp_path)


def test_renamed_file_is_found(tmp_path):
    make_dataset(tmp_path)
    episode_path(tmp_path, 1).rename(episode_path(tmp_path, 7))
    with pytest.raises(DataError, match=r"demo_00007.*holds episode 1"):
        check_dataset(tmp_path)


def test_other_environment_is_named(tmp_path):
    make_dataset(tmp_path)
    env = dict(make_episode(0).meta.env)
    assert len(check_dataset(tmp_path, made_with={"env": env})) == 4
    env["camera_distance"] = 2.0
    with pytest.raises(DataError, match=r"env configuration \(camera_distance: 1\.5 instead of 2"):
        check_dataset(tmp_path, made_with={"env": env})


def test_another_version_of_the_simulated_world_is_named(tmp_path):
    make_dataset(tmp_path)
    assert len(check_dataset(tmp_path, version=PHYSICS)) == 4
    assert {meta.environment_version for meta in check_dataset(tmp_path)} == {PHYSICS}
    with pytest.raises(DataError, match=f"physics {PHYSICS} .* simulates physics 99.* run:"):
        check_dataset(tmp_path, version=99)


def test_another_appearance_is_named(tmp_path):
    make_dataset(tmp_path)
    assert len(check_dataset(tmp_path, appearance="fixed")) == 4
    with pytest.raises(DataError, match=r"made with appearance=fixed, not varied\. Make it"):
        check_dataset(tmp_path, appearance="varied")


def test_sets_completed_after_an_upgrade_are_logged(tmp_path, caplog):
    make_dataset(tmp_path)
    check_dataset(tmp_path)
    assert not caplog.records
    episode = make_episode(1)
    meta = dataclasses.replace(episode.meta, mujoco_version="99")
    write_episode(episode_path(tmp_path, 1), dataclasses.replace(episode, meta=meta))
    check_dataset(tmp_path)
    assert "with MuJoCo 99 and PARA" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (
            ("data", "my_task-panda-together", "objpos", 128),
            "dataset=objpos task=my_task robot=panda layout=together env.image_size=128",
        ),
        (
            ("other", "a-hand-independent", "viewpoints", 64),
            "dataset=viewpoints task=a robot=hand layout=independent env.image_size=64 "
            "data_dir=other",
        ),
        (
            ("data", "a-hand-independent-varied", "objpos", 64),
            "dataset=objpos task=a robot=hand layout=independent appearance=varied "
            "env.image_size=64",
        ),
    ],
)
def test_folder_names_lead_back_to_the_command(arguments, command):
    assert regenerate_command(dataset_dir(*arguments)) == (
        f"python scripts/generate_demos.py {command}"
    )


def test_another_task_is_named(tmp_path):
    make_dataset(tmp_path)
    task = dict(make_episode(0).meta.task, kind="other")
    with pytest.raises(DataError, match=r"task configuration \(kind: .* instead of other"):
        check_dataset(tmp_path, made_with={"task": task})


def write_version_1(path, episode):
    """What the writer of version 1 did with an episode of the one task that there was."""
    meta = {
        k: v
        for k, v in dataclasses.asdict(episode.meta).items()
        if k not in ("task", "environment_version")
    }
    condition = {k: v for k, v in meta["condition"].items() if k not in ("task", "objects")}
    condition |= {name: xy[:2] for name, xy in meta["condition"]["objects"].items()}
    attributes = meta | {
        "condition": json.dumps(condition, sort_keys=True),
        "env": json.dumps(meta["env"], sort_keys=True),
    }
    arrays = {
        "obs/image": np.concatenate(episode.frames),
        "obs/image_offsets": np.cumsum([0, *map(len, episode.frames)], dtype=np.int64),
    }
    for name, array in episode.arrays.items():
        kind = np.float64 if name in ("obs/intrinsics", "obs/T_world_camera") else np.float32
        old = f"obs/{name.removeprefix('obs/objects/')}_pose" if "objects" in name else name
        arrays[old] = np.asarray(array, kind)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(attributes, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]))
    with h5py.File(path, "w") as file:
        file.attrs.update(format="para-demo", format_version=1, checksum=digest.hexdigest())
        file.create_group("data").attrs["total"] = meta["num_samples"]
        demo = file.create_group("data/demo_0")
        demo.attrs.update(attributes)
        for name, array in arrays.items():
            demo.create_dataset(name, data=array, track_times=False)


def test_files_of_version_1_read_the_same(tmp_path):
    write_episode(tmp_path / "new.hdf5", make_episode(2))
    write_version_1(tmp_path / "old.hdf5", make_episode(2))
    with h5py.File(tmp_path / "old.hdf5") as file:
        assert {"bowl_pose", "plate_pose"} <= set(file["data/demo_0/obs"])
        plate = make_episode(2).meta.condition["objects"]["plate"]
        assert json.loads(file["data/demo_0"].attrs["condition"])["plate"] == plate[:2]
    old, new = (read_episode(tmp_path / f"{name}.hdf5") for name in ("old", "new"))
    assert old.meta == dataclasses.replace(new.meta, environment_version=1)
    np.testing.assert_array_equal(old.images(), new.images())
    assert old.arrays.keys() == new.arrays.keys()
    for name, array in new.arrays.items():
        np.testing.assert_array_equal(old.arrays[name], array)
        assert old.arrays[name].dtype == array.dtype
    with h5py.File(tmp_path / "old.hdf5", "r+") as file:
        file["data/demo_0/obs/plate_pose"][3, 0] += 0.1
    with pytest.raises(DataError, match="altered"):
        read_episode(tmp_path / "old.hdf5")
