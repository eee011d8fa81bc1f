"""Demonstrations on disk: one HDF5 file per episode, laid out like robomimic's.

    <data_dir>/<task>-<robot>-<layout>[-varied]/<dataset>-<size>px/demo_00000.hdf5 ...

N frames at 10 Hz. World frame: z up, table top z = 0. Poses are position [m] + quaternion (w, x, y,
z). Matrices follow `para.camera.Camera`.

    /                         attrs: format = "para-demo", format_version, checksum
    /data                     attrs: total = N
    /data/demo_0              attrs: num_samples = N, index, seed, dataset, robot, layout, success,
                                     instruction, task, condition, env (JSON),
                                     environment_version, code_version, mujoco_version
        actions               (N, 4) float32    commanded end-effector position and gripper opening
        obs/image             (bytes,) uint8    N PNG files (RGB, lossless), one after the other
        obs/image_offsets     (N + 1,) int64    frame i is obs/image[offsets[i] : offsets[i + 1]]
        obs/ee_pose           (N, 7) float32    tool centre point
        obs/gripper           (N,) float32      measured opening in [0, 1], 1 is open
        obs/objects/<name>    (N, 7) float32    foot of each of the task's objects
        obs/intrinsics        (N, 3, 3) float64
        obs/T_world_camera    (N, 4, 4) float64

Different from robomimic: images are compressed, and a file holds one episode, so that generation
can be killed at any moment. A file has no time stamps: the same episode is the same bytes.
`checksum` is BLAKE2b over every attribute and array. A file without environment_version is of
version 1 of the simulated world; one without an instruction has the task's. Files of format
version 1, of before tasks had names, are read by `para.data.version1`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

from envs.episodes import FIXED
from para.data import version1
from para.data.meta import MetaRecord
from para.errors import DataError
from para.files import atomic_write, not_a_file, parse_json, read_json
from para.places import typed

log = logging.getLogger(__name__)

FORMAT = "para-demo"
FORMAT_VERSION = 2
FRAME_SECONDS = 0.1
"""Time between the frames of a demo [s]."""
PNG_LEVEL = 4
"""128 px: 12.5 kB in 0.9 ms; level 6 saves 5 % of that and takes 2.7 ms, JPEG 95 loses detail."""
ARRAYS = {
    "actions": ((4,), np.float32),
    "obs/ee_pose": ((7,), np.float32),
    "obs/gripper": ((), np.float32),
    "obs/intrinsics": ((3, 3), np.float64),
    "obs/T_world_camera": ((4, 4), np.float64),
}
"""Per-frame arrays of every episode: shape after the frame dimension, type."""
OBJECTS = "obs/objects/"
"""Beginning of the names of object poses, per-frame arrays like `obs/ee_pose`."""
IMPORTED = "import.json"
"""File beside imported demos that says what imported them (para/data/own.py)."""
JSON_ATTRIBUTES = ("task", "condition", "env")


@dataclass(frozen=True)
class EpisodeMeta:
    """What is known about an episode without reading its frames.

    Attributes:
        index: Place in the data set; also the number in the file name.
        seed: Seed that the episode was made with.
        dataset: Name of the data set, e.g. objpos.
        task: The `TaskConfig` of what it shows, as plain data.
        robot: Name of the robot.
        layout: How its objects were placed.
        condition: Start condition, `envs.base.Condition.to_dict()`.
        env: The `EnvConfig` that made it, as plain data.
        success: Did the expert do the task?
        num_samples: N, the number of frames.
        instruction: What a policy is told; "": the task's one.
        environment_version: Version of the simulated world, `envs.base.Task.version`.
        code_version: Version of PARA that made it.
        mujoco_version: Version of MuJoCo that simulated it.
    """

    index: int
    seed: int
    dataset: str
    task: dict[str, Any]
    robot: str
    layout: str
    condition: dict[str, Any]
    env: dict[str, Any]
    success: bool
    num_samples: int
    environment_version: int
    code_version: str
    mujoco_version: str
    instruction: str = ""


@dataclass(frozen=True)
class Episode:
    """One demonstration.

    Attributes:
        meta: What made it.
        frames: N encoded images (`encode_image`), each (bytes,) uint8.
        arrays: The per-frame arrays of `ARRAYS`, and one of each object, by name.
    """

    meta: EpisodeMeta
    frames: list[np.ndarray]
    arrays: dict[str, np.ndarray] = field(repr=False)

    def images(self, which: Iterable[int] | None = None) -> np.ndarray:
        """Decode all frames, or some: (N, H, W, 3) uint8 RGB."""
        which = range(len(self.frames)) if which is None else which
        return np.stack([decode_image(self.frames[i]) for i in which])


def encode_image(image: np.ndarray) -> np.ndarray:
    """Compress an RGB image (H, W, 3) uint8, without loss, to (bytes,) uint8."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])[1].ravel()


def decode_image(encoded: np.ndarray) -> np.ndarray:
    """Inverse of `encode_image`: (bytes,) uint8 to (H, W, 3) uint8 RGB."""
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr)


# ------------------------------------------------------------------------------------ one episode


def write_episode(path: Path | str, episode: Episode) -> None:
    """Write an episode atomically: the file appears complete or not at all.

    Raises:
        DataError: An array has the wrong shape, or is not finite.
        NoSpaceError: The disk is full.
    """
    meta, n = episode.meta, episode.meta.num_samples
    arrays = {
        "obs/image": np.concatenate(episode.frames),
        "obs/image_offsets": np.cumsum([0, *map(len, episode.frames)], dtype=np.int64),
    }
    for name, (_, dtype) in _kinds(episode.arrays).items():
        arrays[name] = np.asarray(episode.arrays[name], dtype=dtype)
    if problem := _problem(n, arrays):
        raise DataError(f"Episode {meta.index}: {problem}.")
    attributes = _to_attributes(meta)
    with atomic_write(path) as aside, h5py.File(aside, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["checksum"] = _checksum(attributes, arrays)
        data = file.create_group("data")
        data.attrs["total"] = n
        demo = data.create_group("demo_0")
        for key, value in attributes.items():
            demo.attrs[key] = value
        for name, array in arrays.items():
            demo.create_dataset(name, data=array, track_times=False)


def read_episode(path: Path | str) -> Episode:
    """Read and verify one episode (frames stay encoded).

    Raises:
        DataError: The file is missing, truncated, altered, not one of ours, of another version, or
            no file at all (a folder, a dangling link). The message names it and the command that
            makes it again.
    """
    path = Path(path)
    if reason := not_a_file(path):
        raise DataError(_bad(path, reason))
    with path.open("rb") as file:
        start = file.read(8)
    if start != b"\x89HDF\r\n\x1a\n":
        raise DataError(_bad(path, f"is not an HDF5 file (it begins with {start!r})"))
    try:
        return _read(path)
    except DataError:
        raise
    except Exception as error:  # what h5py raises for damaged bytes depends on the bytes
        raise DataError(_bad(path, f"is truncated or damaged ({error})")) from error


def _read(path: Path) -> Episode:
    with h5py.File(path, "r") as file:
        if file.attrs.get("format") != FORMAT:
            raise DataError(_bad(path, "is an HDF5 file, but not a PARA demonstration"))
        version = int(file.attrs["format_version"])
        if version not in (1, FORMAT_VERSION):
            raise DataError(
                _bad(path, f"has format version {version}; this code reads 1 and {FORMAT_VERSION}")
            )
        demo = file["data/demo_0"]
        names: list[str] = []
        demo.visit(names.append)
        arrays = {name: demo[name][()] for name in names if isinstance(demo[name], h5py.Dataset)}
        attributes = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in demo.attrs.items()
        }
        if _checksum(attributes, arrays) != file.attrs["checksum"]:
            raise DataError(_bad(path, "was altered after it was written (its checksum differs)"))
    if version == 1:
        attributes, arrays = version1.convert(attributes, arrays)
    meta = _from_attributes(attributes)
    if problem := _problem(meta.num_samples, arrays):
        raise DataError(_bad(path, f"is damaged: {problem}"))
    blob, offsets = arrays.pop("obs/image"), arrays.pop("obs/image_offsets")
    frames = [blob[a:b] for a, b in itertools.pairwise(offsets)]
    return Episode(meta, frames, arrays)


def _kinds(arrays: Iterable[str]) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape after the frame dimension and type of every per-frame array of an episode."""
    objects = sorted(name for name in arrays if name.startswith(OBJECTS))
    return ARRAYS | dict.fromkeys(objects, ARRAYS["obs/ee_pose"])


def _problem(n: int, arrays: dict[str, np.ndarray]) -> str:
    """What is wrong with the arrays of an episode of n frames, "" if nothing is."""
    for name, (shape, _) in _kinds(arrays).items():
        if name not in arrays:
            return f"{name} is missing"
        if arrays[name].shape != (n, *shape) or not np.isfinite(arrays[name]).all():
            got = arrays[name].shape
            return f"{name} must be finite and of shape {(n, *shape)}, and is of shape {got}"
    blob, offsets = arrays["obs/image"], arrays["obs/image_offsets"]
    if len(offsets) != n + 1:
        return f"it has {len(offsets) - 1} images for {n} frames"
    if offsets[0] != 0 or offsets[-1] != len(blob) or (np.diff(offsets) <= 0).any():
        return "obs/image_offsets does not divide obs/image"
    return ""


def check_episode(path: Path | str) -> EpisodeMeta:
    """Verify one file completely; raises like `read_episode`."""
    return read_episode(path).meta


def _to_attributes(meta: EpisodeMeta) -> dict[str, Any]:
    attributes = dataclasses.asdict(meta)
    for key in JSON_ATTRIBUTES:
        attributes[key] = json.dumps(attributes[key], sort_keys=True, allow_nan=False)
    return attributes


def _from_attributes(attributes: dict[str, Any]) -> EpisodeMeta:
    decoded = {key: parse_json(attributes[key]) for key in JSON_ATTRIBUTES}
    values = {"environment_version": 1, "instruction": "", **attributes, **decoded}
    MetaRecord.check(values)
    return EpisodeMeta(**values)


def _checksum(attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(attributes, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]))
    return digest.hexdigest()


# ------------------------------------------------------------------------------------- a data set


def dataset_dir(data_dir: Path | str, setting: str, dataset: str, image_size: int) -> Path:
    """Folder of a data set, e.g. data/<task>-<robot>-<layout>/objpos-128px.

    Args:
        data_dir: Folder of all data sets.
        setting: `envs.base.setting_name` of what it was made in.
        dataset: Its name.
        image_size: Of its images [px].
    """
    return Path(data_dir) / setting / f"{dataset}-{image_size}px"


def episode_path(folder: Path | str, index: int) -> Path:
    """File of episode `index` of a data set."""
    return Path(folder) / f"demo_{index:05d}.hdf5"


def regenerate_command(folder: Path | str) -> str:
    """Command line that (re)makes whatever is missing in a data set's folder."""
    folder = Path(folder)
    if (folder / IMPORTED).exists():
        asked = read_json(folder / IMPORTED, DataError).get("command", "")
        return f"{typed('import_demos')} {asked} fresh=true"
    command = typed("generate_demos")
    setting = re.fullmatch(r"(\w+)-(\w+)-(\w+)(?:-(\w+))?", folder.parent.name)
    made = re.fullmatch(r"(\w+)-(\d+)px", folder.name)
    if not (setting and made):
        return f"{command} dataset=objpos"
    (task, robot, layout, appearance), (dataset, size) = setting.groups(), made.groups()
    command += f" dataset={dataset} task={task} robot={robot} layout={layout}"
    command += f" appearance={appearance}" if appearance else ""
    data_dir = folder.parents[1]
    elsewhere = f" data_dir={data_dir}" if data_dir != Path("data") else ""
    return f"{command} env.image_size={size}{elsewhere}"


def check_dataset(
    folder: Path | str,
    indices: Iterable[int] | None = None,
    made_with: dict[str, dict[str, Any]] | None = None,
    version: int | None = None,
    appearance: str | None = None,
) -> list[EpisodeMeta]:
    """Verify every file of a data set and return what is in it, by index.

    Demos by several versions of PARA or MuJoCo (a set completed after an upgrade) are logged.

    Args:
        folder: The data set.
        indices: Episodes that must be there; None takes those that are.
        made_with: Configurations (task, env) that they must have been made with; None takes any.
        version: Of the simulated world that they must show; None takes any.
        appearance: That they must show; None takes any.

    Raises:
        DataError: The set is empty, incomplete, damaged, mixes format versions, or was made with
            another configuration, in another version of the world or in another appearance. The
            message names the files and the command.
    """
    folder = Path(folder)
    if indices is None:
        paths = sorted(folder.glob("demo_*.hdf5"))
    else:
        paths = [episode_path(folder, index) for index in indices]
    missing = [path for path in paths if not os.path.lexists(path)]
    if not paths or missing:
        what = f"lacks {len(missing)} of {len(paths)} demos" if missing else "has no demos"
        raise DataError(f"{folder} {what}. Make them with: {regenerate_command(folder)}")
    metas, problems = [], []
    for path in paths:
        try:
            metas.append(check_episode(path))
        except DataError as error:
            problems.append(str(error))
            continue
        if path != episode_path(folder, metas[-1].index):
            problems.append(_bad(path, f"holds episode {metas[-1].index}: it was renamed"))
        if version not in (None, shown := metas[-1].environment_version):
            raise DataError(
                f"{path} was made with physics {shown} of the simulated world; this code simulates "
                f"physics {version}. Choose another data_dir=..., or delete {folder} and run: "
                f"{regenerate_command(folder)}"
            )
        if appearance not in (None, shown := metas[-1].condition.get("appearance", FIXED)):
            raise DataError(_bad(path, f"was made with appearance={shown}, not {appearance}"))
        for key, wanted in (made_with or {}).items():
            if difference := _difference(getattr(metas[-1], key), wanted):
                raise DataError(
                    f"{path} was made with another {key} configuration ({difference}). Use the "
                    f"same one, choose another data_dir=..., or delete {folder} and run: "
                    f"{regenerate_command(folder)}"
                )
    if problems:
        more = f"\n... and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise DataError(
            f"{len(problems)} of {len(paths)} demos cannot be used.\n"
            + "\n".join(problems[:5])
            + more
        )
    versions = {(meta.code_version, meta.mujoco_version) for meta in metas}
    if len(versions) > 1:
        mixed = " and ".join(f"PARA {code} with MuJoCo {sim}" for code, sim in sorted(versions))
        log.warning("%s mixes demos made by %s. Delete it for a uniform set.", folder, mixed)
    return metas


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    keys = sorted(found.keys() | wanted.keys())
    return ", ".join(
        f"{key}: {found.get(key)} instead of {wanted.get(key)}"
        for key in keys
        if found.get(key) != wanted.get(key)
    )


def _bad(path: Path, what: str) -> str:
    return f"{path} {what}. Make it again with: {regenerate_command(path.parent)}"
