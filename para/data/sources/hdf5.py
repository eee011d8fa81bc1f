"""HDF5 files laid out like robomimic's and LIBERO's: /data/demo_<k> with obs/... and actions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from para.data.cameras import Calibrated, choose_camera, read_cameras
from para.data.mapping import MappingConfig, poses_of
from para.data.sources.recording import Recording
from para.errors import ConfigError, DataError, ParaError, one_line
from para.files import not_a_file, parse_json

CONTROL_HZ = 20.0
"""Of robosuite's demonstrations, robomimic's and LIBERO's, where the file says nothing [Hz]."""


def read_hdf5(
    path: Path, cameras: Path | None, camera: str | None, mapping: MappingConfig, fps: float | None
) -> Iterator[Recording]:
    """The recordings of a file, or of all *.hdf5 files of a folder.

    Args:
        path: File or folder.
        cameras: Calibration file: such files have no camera matrices.
        camera: Name of its camera; None: the only one.
        mapping: Where the poses are.
        fps: Frames per second; None: what the file says, else CONTROL_HZ.

    Raises:
        DataError: A file is missing or damaged, or lacks what the mapping speaks of.
    """
    files = sorted([*path.glob("*.hdf5"), *path.glob("*.h5")]) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} has no HDF5 file (*.hdf5).")
    if cameras is None:
        raise ConfigError(
            "HDF5 sets hold no camera matrices: give cameras=FILE, a calibration file with K and "
            "T_world_camera (docs/robot.md)."
        )
    chosen = choose_camera(read_cameras(cameras), camera, cameras)
    for file in files:
        yield from _read(file, chosen, mapping, fps)


def _read(
    path: Path, camera: Calibrated, mapping: MappingConfig, fps: float | None
) -> Iterator[Recording]:
    with demos_in(path) as (attributes, demos):
        rate = fps or rate_in(attributes)
        told = _instruction(attributes)
        for name, demo in demos.items():
            yield _recording(f"{path}:{name}", demo, camera, mapping, rate, told)


@contextmanager
def demos_in(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, h5py.Group]]]:
    """What a file says of its demos, and their groups by name, in the order of their numbers.

    Raises:
        DataError: There is no such file, it has no demos, or what is read of it is damaged.
    """
    if reason := not_a_file(path):
        raise DataError(f"{path} {reason}.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is no HDF5 file, or a damaged one ({one_line(error)}).") from error
    with file:
        try:
            demos = file.get("data")
            names = [n for n in demos or () if isinstance(demos[n], h5py.Group)]
            if not names:
                raise DataError(
                    f"{path} has no demonstrations: /data/demo_<k> is empty or missing."
                )
            names.sort(key=lambda n: [int(digits) for digits in re.findall(r"\d+", n)] or [0])
            yield dict(demos.attrs), {name: demos[name] for name in names}
        except ParaError:
            raise
        except Exception as error:  # what h5py raises for damaged bytes depends on the bytes
            raise DataError(f"{path} is truncated or damaged ({one_line(error)}).") from error


def _recording(
    where: str,
    demo: h5py.Group,
    camera: Calibrated,
    mapping: MappingConfig,
    rate: float,
    instruction: str,
) -> Recording:
    there: list[str] = []
    demo.visit(there.append)
    found = [name for name in there if isinstance(demo[name], h5py.Dataset)]
    pictures = [name for name in found if demo[name].ndim == 4 and demo[name].shape[-1] == 3]
    key = mapping.image or (pictures[0] if len(pictures) == 1 else "")
    if key not in pictures:
        raise DataError(
            f"{where} has no image {key!r}: set image: in the mapping to one of: "
            f"{', '.join(pictures) or 'none is there'}."
        )
    count = len(demo[key])
    arrays = {
        name: demo[name][()] for name in found if name not in pictures and demo[name].ndim > 0
    }
    poses = poses_of(mapping, arrays, {}, where)
    for name, array in poses.items():
        if len(array) != count:
            raise DataError(f"{where}: {name} has {len(array)} rows for {count} images.")
    camera.require_size(demo[key].shape[2], demo[key].shape[1], where)
    matrix = camera.camera.T_world_camera.copy()
    matrix[2, 3] -= mapping.table_height
    return Recording(
        where=where,
        times=np.arange(count) / rate,
        images=partial(_images, demo[key], mapping.flip, camera),
        arrays={
            **poses,
            "obs/intrinsics": np.tile(camera.camera.intrinsics, (count, 1, 1)),
            "obs/T_world_camera": np.tile(matrix, (count, 1, 1)),
        },
        instruction=instruction,
    )


def _images(
    stored: h5py.Dataset, flip: str, camera: Calibrated, which: Sequence[int]
) -> Iterator[np.ndarray]:
    rows = slice(None, None, -1 if flip in ("vertical", "both") else 1)
    columns = slice(None, None, -1 if flip in ("horizontal", "both") else 1)
    for number in which:
        image = stored[number][rows, columns]
        if image.dtype != np.uint8:
            raise DataError(f"{stored.name} is {image.dtype}: images are uint8.")
        yield camera.undistorted(np.ascontiguousarray(image))


def rate_in(attributes: dict[str, Any]) -> float:
    """Frames per second: robomimic and LIBERO write down what their environment was made with."""
    try:
        value = parse_json(attributes["env_args"])["env_kwargs"]["control_freq"]
        return float(value) if value > 0 else CONTROL_HZ
    except (KeyError, ValueError, TypeError):
        return CONTROL_HZ


def _instruction(attributes: dict[str, Any]) -> str:
    """LIBERO says it in problem_info."""
    try:
        said = parse_json(attributes["problem_info"])["language_instruction"]
    except (KeyError, ValueError, TypeError):
        return ""
    return " ".join(said) if isinstance(said, list) else str(said)
