"""LeRobot's data sets v3 (para/data/sources/lerobot_format.py), read without lerobot itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from pydantic import Field

from para.data.cameras import Calibrated, choose_camera, read_cameras
from para.data.format import ARRAYS, EpisodeMeta
from para.data.format import OBJECTS as OURS_OBJECTS
from para.data.mapping import MappingConfig, load_mapping, poses_of
from para.data.meta import MetaRecord
from para.data.sources.lerobot_format import (
    EPISODE_FILES,
    EPISODES,
    IMAGES,
    INFO,
    OBJECTS,
    OURS,
    STATE,
    TASKS,
    VERSION,
    matrices,
)
from para.data.sources.recording import Recording
from para.errors import DataError, UnknownNameError, one_line
from para.extras import require_packages
from para.files import not_a_file, read_json
from para.records import Record


class _Feature(Record):
    dtype: str
    shape: list[int]
    names: Any = None


class _Info(Record):
    codebase_version: str
    fps: float = Field(gt=0)
    features: dict[str, _Feature]
    data_path: str
    video_path: str | None = None
    total_episodes: int | None = None


@dataclass(frozen=True)
class _Set:
    """A data set's head."""

    path: Path
    info: _Info
    image: str
    mapping: MappingConfig
    camera: Calibrated | None
    tasks: dict[int, str]
    metas: list[EpisodeMeta] | None

    @property
    def names(self) -> dict[str, list[str]]:
        """What the columns of features are called."""
        found = {}
        for key, feature in self.info.features.items():
            named = feature.names
            if isinstance(named, dict):  # {motors: [...]}
                named = next((v for v in named.values() if isinstance(v, list)), None)
            if isinstance(named, list):
                found[key] = [str(name) for name in named]
        return found


def read_lerobot(
    path: Path, cameras: Path | None, camera: str | None, mapping: str | None
) -> Iterator[Recording]:
    """The recordings of a data set.

    Args:
        path: Its folder.
        cameras: Calibration file; None: the matrices that the set itself has.
        camera: Name of the camera: its images are observation.images.<name>.
        mapping: Where the poses are (para/data/mapping.py); None: that of sets that we wrote.

    Raises:
        ConfigError: pyarrow is not installed.
        DataError: The set is of another version, lacks something, or is damaged.
    """
    require_packages("lerobot", "pyarrow")
    head = _head(path, cameras, camera, mapping)
    for episode in _episodes(path, head.info):
        yield _recording(head, episode)


def _episodes(path: Path, info: _Info) -> list[dict[str, Any]]:
    """What is known of each episode; a set that was recorded on several days has several files."""
    files = sorted(path.glob(EPISODE_FILES)) or [path / EPISODES]
    found = [row for file in files for row in _table(file).to_pylist()]
    if info.total_episodes not in (None, len(found)):
        raise DataError(
            f"{path / INFO} says total_episodes {info.total_episodes}, and {path}/{EPISODE_FILES} "
            f"tell of {len(found)}: the set is not whole. Copy or download it again."
        )
    return found


def _head(path: Path, cameras: Path | None, camera: str | None, mapping: str | None) -> _Set:
    value = read_json(path / INFO, DataError, "A LeRobot data set has one.")
    try:
        info = _Info.check(value)
    except ValueError as error:
        raise DataError(f"{path / INFO}: {error}.") from error
    if info.codebase_version != VERSION:
        raise DataError(
            f"{path} is a LeRobot data set {one_line(info.codebase_version)}, and {VERSION} is "
            "read. Convert it with LeRobot's own converter: python -m "
            "lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id=..."
        )
    pictures = [k for k, f in info.features.items() if f.dtype in ("image", "video")]
    named = [key for key in pictures if camera in (key, key.removeprefix(IMAGES))]
    chosen = named if camera is not None else pictures
    if len(chosen) != 1:
        there = sorted(key.removeprefix(IMAGES) for key in pictures)
        if camera is not None or not there:
            raise UnknownNameError(f"camera of {path}:", camera or "", there)
        raise DataError(
            f"{path} has several cameras: choose one with camera=NAME. Available: "
            f"{', '.join(there)}."
        )
    image = chosen[0]
    features = matrices(image.removeprefix(IMAGES))
    calibrated = None
    if cameras is not None:
        calibrated = choose_camera(read_cameras(cameras), camera, cameras)
    elif missing := [name for name in features if name not in info.features]:
        raise DataError(
            f"{path} has no camera matrices ({', '.join(missing)}): give cameras=FILE, a "
            "calibration file with K and T_world_camera (docs/robot.md)."
        )
    if mapping is None and STATE not in info.features:
        raise DataError(
            f"{path} has no {STATE}. It has: {', '.join(sorted(info.features))}. Say where its "
            "poses are with mapping=FILE."
        )
    ours = (path / OURS).exists()
    if mapping is None and not ours:
        raise DataError(
            f"{path} does not say what its numbers mean. Say it with mapping=FILE (docs/robot.md); "
            f"{STATE} has: {_columns(info)}."
        )
    return _Set(
        path,
        info,
        image,
        load_mapping(mapping or "para"),
        calibrated,
        _tasks(path),
        _metas(path / OURS) if ours else None,
    )


def _columns(info: _Info) -> str:
    feature = info.features[STATE]
    return one_line(feature.names if feature.names else f"{feature.shape} numbers", 200)


def _metas(path: Path) -> list[EpisodeMeta]:
    episodes = read_json(path, DataError).get("episodes")
    try:
        if not isinstance(episodes, list):
            raise ValueError("episodes is no list")
        for values in episodes:
            MetaRecord.check(values)
        return [EpisodeMeta(**values) for values in episodes]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged: {one_line(error)}.") from error


def _tasks(path: Path) -> dict[int, str]:
    table = _table(path / TASKS)
    text = next((n for n in table.column_names if n != "task_index"), None)
    if text is None or "task_index" not in table.column_names:
        raise DataError(f"{path / TASKS} lacks a column: it has {table.column_names}.")
    return dict(zip(table["task_index"].to_pylist(), table[text].to_pylist(), strict=True))


def _recording(head: _Set, episode: dict[str, Any]) -> Recording:
    try:
        number = episode["episode_index"]
        where = f"{head.path}, episode {number}"
        chunk, file = (episode[f"data/{kind}_index"] for kind in ("chunk", "file"))
        path = head.path / head.info.data_path.format(chunk_index=chunk, file_index=file)
    except KeyError as error:
        raise DataError(f"{head.path / EPISODE_FILES} has no column {error}.") from error
    rows = _rows(path, number)
    count = rows.num_rows
    if count != episode.get("length"):
        raise DataError(
            f"{where} has {count} rows in {path}, and {EPISODE_FILES} says {episode.get('length')}."
        )
    missing = [
        key for key, f in head.info.features.items()
        if f.dtype != "video" and key not in rows.column_names
    ]  # fmt: skip
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}, which {INFO} names.")
    arrays = {
        key: _array(rows, key, feature, count)
        for key, feature in head.info.features.items()
        if feature.dtype not in ("image", "video", "string")
    }
    poses = poses_of(head.mapping, arrays, head.names, where)
    meta = head.metas[number] if head.metas and number < len(head.metas) else None
    if meta is not None and meta.num_samples != count:
        raise DataError(f"{head.path / OURS} is not about this set: {where} has {count} frames.")
    command = arrays.get("action")
    if meta is not None and command is not None and command.shape == (count, 4):
        poses["actions"] = command
    films = head.info.features[head.image].dtype == "video"
    images = partial(_film, head, episode) if films else partial(_pictures, rows, head, where)
    return Recording(
        where=where,
        times=np.arange(count) / head.info.fps,
        images=images,
        arrays={
            **{k: v.astype(ARRAYS[k][1]) for k, v in poses.items()},
            **_matrices(head, arrays, count),
            **{
                OURS_OBJECTS + key.removeprefix(OBJECTS): array
                for key, array in arrays.items()
                if key.startswith(OBJECTS)
            },
        },
        instruction=head.tasks.get(int(arrays["task_index"].flat[0]), ""),
        meta=meta,
    )


def _matrices(head: _Set, arrays: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    if head.camera is not None:
        K = np.tile(head.camera.camera.intrinsics, (count, 1, 1))
        T = np.tile(head.camera.camera.T_world_camera, (count, 1, 1))
    else:
        one, other = matrices(head.image.removeprefix(IMAGES))
        K, T = arrays[one].reshape(count, 3, 3), arrays[other].reshape(count, 4, 4).copy()
    T[:, 2, 3] -= head.mapping.table_height
    return {"obs/intrinsics": K, "obs/T_world_camera": T}


def _finish(head: _Set, image: np.ndarray, where: str) -> np.ndarray:
    mapping = head.mapping
    rows = slice(None, None, -1 if mapping.flip in ("vertical", "both") else 1)
    columns = slice(None, None, -1 if mapping.flip in ("horizontal", "both") else 1)
    image = np.ascontiguousarray(image[rows, columns])
    if head.camera is None:
        return image
    head.camera.require_size(image.shape[1], image.shape[0], where)
    return head.camera.undistorted(image)


def _pictures(rows: Any, head: _Set, where: str, which: Sequence[int]) -> Iterator[np.ndarray]:
    stored = rows[head.image]
    for number in which:
        data = (stored[number].as_py() or {}).get("bytes")
        bgr = None if not data else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise DataError(f"{where}: {head.image} of frame {number} is no image.")
        yield _finish(head, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), where)


def _film(head: _Set, episode: dict[str, Any], which: Sequence[int]) -> Iterator[np.ndarray]:
    key = f"videos/{head.image}"
    if head.info.video_path is None or f"{key}/file_index" not in episode:
        raise DataError(f"{head.path / EPISODE_FILES} does not say where the films of {key} lie.")
    path = head.path / head.info.video_path.format(
        video_key=head.image,
        chunk_index=episode[f"{key}/chunk_index"],
        file_index=episode[f"{key}/file_index"],
    )
    start, fps = float(episode[f"{key}/from_timestamp"]), head.info.fps
    wanted = [start + number / fps for number in which]
    frames = _decode(path, start)
    for time in wanted:
        for at, image in frames:
            if abs(at - time) < 0.5 / fps:
                yield _finish(head, image, str(path))
                break
        else:
            raise DataError(f"{path} has no frame at {time:.3f} s.")


def _decode(path: Path, start: float) -> Iterator[tuple[float, np.ndarray]]:
    """Frames of a film from `start` on, (time [s], (H, W, 3) uint8 RGB)."""
    if reason := not_a_file(path):
        raise DataError(f"{path} {reason}.")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            container.seek(int(max(start - 0.01, 0) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                yield float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise DataError(f"{path} is no film that can be read ({one_line(error)}).") from error


@lru_cache(2)
def _cached(path: Path, changed: int) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file, or damaged ({one_line(error)}).") from error


def _table(path: Path) -> Any:
    if reason := not_a_file(path):
        raise DataError(f"{path} {reason}. A LeRobot data set {VERSION} has it.")
    return _cached(path, path.stat().st_mtime_ns)


def _rows(path: Path, episode: int) -> Any:
    """The rows of an episode, in order."""
    import pyarrow.compute as pc

    table = _table(path)
    if "episode_index" not in table.column_names:
        raise DataError(f"{path} lacks the column episode_index.")
    rows = table.filter(pc.equal(table["episode_index"], episode))
    return rows.sort_by("frame_index") if "frame_index" in rows.column_names else rows


def _array(rows: Any, key: str, feature: _Feature, count: int) -> np.ndarray:
    values = rows[key].to_pylist()
    try:
        array = np.array(values, dtype=feature.dtype)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{key} is not {feature.dtype} {feature.shape}: {one_line(error)}."
        ) from error
    return array.reshape(count, -1)
