"""Demo files as another library's data set: scripts/export_demos.py."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from envs.base import load_task
from envs.splits import load_split, training_indices
from para.common import CommonConfig
from para.data.format import (
    FRAME_SECONDS,
    OBJECTS,
    Episode,
    EpisodeMeta,
    decode_image,
    read_episode,
)
from para.data.sources import lerobot_format as v3
from para.errors import ConfigError, DataError
from para.extras import require_packages
from para.fields import choice, number, require, word
from para.files import atomic_write_json
from para.video import write_video

FILE_BYTES = 100e6
"""Rows go to a new Parquet file from this size on, as LeRobot does."""
SAMPLED = 32
"""Images of an episode that statistics are made from, at most."""
QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")


@dataclass
class ExportDemosConfig(CommonConfig):
    """scripts/export_demos.py"""

    script: ClassVar[str] = "export_demos"

    target: str = choice("lerobot", ("lerobot",))
    """lerobot (version 3)."""
    data: str = ""
    """Folder of demos (demo_*.hdf5), generated or imported."""
    split: str | None = None
    """Only the demos that train this split, as split=lr does; null: all of them."""
    out: str | None = None
    """Folder to make; null: <outputs_dir>/lerobot/<name of the data set>."""
    camera: str = word("front")
    """What the camera is called: observation.images.<camera>."""
    images: str = choice("png", ("png", "video"))
    """png (every bit, in the Parquet files) | video (H.264, much smaller)."""
    crf: int = number(18, least=0, most=51)
    """Quality of H.264: 18 is visually lossless, 6 more halve the size."""
    fresh: bool = False
    """Replace a data set that lies there already."""

    @property
    def folder(self) -> Path:
        """Where it goes."""
        name = Path(self.data).absolute().name
        return Path(self.out) if self.out else Path(self.outputs_dir) / self.target / name

    def rules(self, key: str, run: Any) -> None:
        """There are demos, and such a split."""
        require(bool(self.data), "data= names no demos: give data=FOLDER, with demo_*.hdf5 in it.")
        if self.split:
            split = load_split(self.split)
            require(
                split.simulated and not split.every_task,
                f"split={self.split} names no demos of one simulated data set: give another.",
            )


@dataclass(frozen=True)
class ExportSummary:
    """What `export_demos` wrote: where, how many episodes and frames, how large [bytes]."""

    folder: Path
    episodes: int
    frames: int
    size: int

    def report(self) -> str:
        """A few lines for people."""
        return (
            f"{self.folder}: LeRobot data set {v3.VERSION}, {self.episodes} episodes, "
            f"{self.frames} frames, {self.size / 1e6:.1f} MB."
        )


def export_demos(cfg: ExportDemosConfig) -> ExportSummary:
    """Write a folder of demos as a LeRobot data set v3, with camera matrices per frame.

    It is written beside its place and renamed when it is complete.

    Raises:
        ConfigError: pyarrow is not installed, or something lies in its place.
        DataError: There are no demos, one is damaged, they differ in size or arrays, or do not
            train `cfg.split`.
    """
    require_packages("lerobot", "pyarrow")
    source, folder = Path(cfg.data), cfg.folder
    paths = sorted(source.glob("demo_*.hdf5"))
    if not paths:
        raise DataError(f"data={source} has no demos (demo_*.hdf5).")
    if folder.exists() and not (cfg.fresh and (folder / v3.INFO).exists()):
        raise ConfigError(
            f"{folder} exists. Choose another out=FOLDER, or replace a data set with fresh=true."
        )
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        writer = _Writer(cfg, aside)
        for path in paths:
            episode = read_episode(path)
            if cfg.split is None or _trains(episode.meta, cfg.split, path):
                writer.add(episode, path)
        if not writer.episodes:
            raise DataError(f"None of the demos in data={source} trains split={cfg.split}.")
        writer.finish()
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return ExportSummary(folder, len(writer.episodes), writer.frames, size)


def _trains(meta: EpisodeMeta, name: str, path: Path) -> bool:
    """Does training on the split see this demo? Failed ones it never does.

    Raises:
        DataError: It is of another data set than the one that trains the split.
    """
    dataset, indices = _training(name, meta.task["name"], meta.layout)
    if meta.dataset != dataset:
        which = f"the data set {meta.dataset}, which does not train split={name}"
        raise DataError(f"{path} is of {which}.")
    return meta.success and meta.index in indices


@cache
def _training(name: str, task_name: str, layout: str) -> tuple[str, frozenset[int]]:
    """Data set and indices of the demos that train a split; empty where there are none."""
    split, task = load_split(name), load_task(task_name)
    dataset = "" if split.unfit(task) else split.dataset_for(task, layout)
    return dataset, frozenset(training_indices(split, task, layout) if dataset else ())


class _Writer:
    """A data set that grows by episodes."""

    def __init__(self, cfg: ExportDemosConfig, folder: Path):
        self.cfg, self.folder, self.frames = cfg, folder, 0
        self.key = v3.IMAGES + cfg.camera
        self.shape: tuple[int, ...] = ()
        self.features: dict[str, Any] = {}
        self.tasks: dict[str, int] = {}
        self.metas: list[dict[str, Any]] = []
        self.episodes: list[dict[str, Any]] = []
        self._stats = _Stats()
        self._file, self._parquet = -1, None

    def add(self, episode: Episode, path: Path) -> None:
        """Append an episode."""
        number, count = len(self.episodes), episode.meta.num_samples
        shape = decode_image(episode.frames[0]).shape
        columns = _columns(episode, self.cfg.camera)
        features = _features(columns, self.key, shape, self.cfg)
        if not self.features:
            self.features, self.shape = features, shape
        if features != self.features:
            raise DataError(
                f"{path} has other arrays or image sizes than the demos before it: export sets of "
                "one kind."
            )
        task = self.tasks.setdefault(episode.meta.instruction, len(self.tasks))
        columns |= {
            "timestamp": (np.arange(count) * FRAME_SECONDS).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, number),
            "index": self.frames + np.arange(count),
            "task_index": np.full(count, task),
        }
        entry = {
            "episode_index": number,
            "tasks": [episode.meta.instruction],
            "length": count,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + count,
            **self._films(episode, number),
        }
        entry |= self._rows(columns, episode)
        self.episodes.append(entry | {f"meta/episodes/{k}_index": 0 for k in ("chunk", "file")})
        self.metas.append(asdict(episode.meta))
        self.frames += count
        some = np.unique(np.linspace(0, count - 1, min(count, SAMPLED)).round().astype(int))
        self._stats.add(columns, self.key, episode.images(some))

    def finish(self) -> None:
        """Write what comes last: the head of the set."""
        self._parquet.close()
        names = list(self.episodes[0])
        _write_table(self.folder / v3.EPISODES, {n: [e[n] for e in self.episodes] for n in names})
        _write_table(
            self.folder / v3.TASKS,
            {"task_index": list(self.tasks.values()), INDEX: list(self.tasks)},
            index=INDEX,
        )
        atomic_write_json(
            self.folder / v3.INFO,
            {
                "codebase_version": v3.VERSION,
                "robot_type": self.metas[0]["robot"],
                "total_episodes": len(self.episodes),
                "total_frames": self.frames,
                "total_tasks": len(self.tasks),
                "chunks_size": v3.FILES_PER_CHUNK,
                "data_files_size_in_mb": round(FILE_BYTES / 1e6),
                "video_files_size_in_mb": 200,
                "fps": round(1 / FRAME_SECONDS),
                "splits": {"train": f"0:{len(self.episodes)}"},
                "data_path": v3.DATA_PATH,
                "video_path": v3.VIDEO_PATH if self.cfg.images == "video" else None,
                "features": self.features,
            },
        )
        atomic_write_json(self.folder / v3.STATS, self._stats.summary())
        atomic_write_json(self.folder / v3.OURS, {"episodes": self.metas})

    def _films(self, episode: Episode, number: int) -> dict[str, Any]:
        if self.cfg.images != "video":
            return {}
        path = self.folder / v3.numbered(v3.VIDEO_PATH, number, self.key)
        fps = round(1 / FRAME_SECONDS)
        write_video(path, map(decode_image, episode.frames), fps=fps, crf=self.cfg.crf)
        chunk, file = divmod(number, v3.FILES_PER_CHUNK)
        return {
            f"videos/{self.key}/chunk_index": chunk,
            f"videos/{self.key}/file_index": file,
            f"videos/{self.key}/from_timestamp": 0.0,
            f"videos/{self.key}/to_timestamp": episode.meta.num_samples / fps,
        }

    def _rows(self, columns: dict[str, np.ndarray], episode: Episode) -> dict[str, Any]:
        """Write the rows of an episode; returns where they lie."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = {name: _arrow(array) for name, array in columns.items()}
        if self.cfg.images == "png":
            pictures = [
                {"bytes": frame.tobytes(), "path": f"frame-{i:06d}.png"}
                for i, frame in enumerate(episode.frames)
            ]
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            arrays = {self.key: pa.array(pictures, kind), **arrays}
        table = pa.table(arrays)
        path = self.folder / v3.numbered(v3.DATA_PATH, max(self._file, 0))
        if self._parquet is None or path.stat().st_size > FILE_BYTES:
            if self._parquet is not None:
                self._parquet.close()
            self._file += 1
            path = self.folder / v3.numbered(v3.DATA_PATH, self._file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._parquet = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._parquet.write_table(table)
        chunk, file = divmod(self._file, v3.FILES_PER_CHUNK)
        return {"data/chunk_index": chunk, "data/file_index": file}


INDEX = "__index_level_0__"
"""Column that pandas takes for the index of a table; LeRobot looks instructions up in it."""


def _write_table(path: Path, columns: dict[str, list[Any]], index: str | None = None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(columns)
    if index:  # as pandas writes it, which need not be installed for that
        described = [
            {"name": name if name != index else None, "field_name": name, "metadata": None}
            | dict.fromkeys(("pandas_type", "numpy_type"), "unicode" if name == index else "int64")
            for name in columns
        ]
        pandas = {"index_columns": [index], "column_indexes": [], "columns": described}
        table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _columns(episode: Episode, camera: str) -> dict[str, np.ndarray]:
    """What an episode says of each frame, by feature: (N, ...) arrays."""
    arrays, count = episode.arrays, episode.meta.num_samples
    K, T = v3.matrices(camera)
    state = np.column_stack([arrays["obs/ee_pose"], arrays["obs/gripper"]])
    return {
        v3.STATE: state.astype(np.float32),
        v3.ACTION: arrays["actions"].astype(np.float32),
        K: arrays["obs/intrinsics"].reshape(count, 9),
        T: arrays["obs/T_world_camera"].reshape(count, 16),
        **{
            v3.OBJECTS + name.removeprefix(OBJECTS): arrays[name]
            for name in sorted(arrays)
            if name.startswith(OBJECTS)
        },
    }


def _features(
    columns: dict[str, np.ndarray], key: str, shape: tuple[int, ...], cfg: ExportDemosConfig
) -> dict[str, Any]:
    """Features as info.json has them."""
    height, width, channels = shape
    picture: dict[str, Any] = {
        "dtype": "image",
        "shape": [height, width, channels],
        "names": ["height", "width", "channels"],
    }
    if cfg.images == "video":
        if height % 2 or width % 2:
            raise DataError(
                f"images=video needs an even height and width, and these images have {width} x "
                f"{height} px: use images=png."
            )
        facts = {"height": height, "width": width, "channels": channels, "codec": "h264"}
        facts |= {"pix_fmt": "yuv420p", "is_depth_map": False, "fps": round(1 / FRAME_SECONDS)}
        picture |= {"dtype": "video", "info": {f"video.{k}": v for k, v in facts.items()}}
        picture["info"]["has_audio"] = False
    matrix = [f"{row}{column}" for row in range(4) for column in range(4)]
    names = {
        v3.STATE: [*POSE, "gripper"],
        v3.ACTION: ["x", "y", "z", "gripper"],
        v3.matrices(cfg.camera)[0]: ["fx", "skew", "cx", "0", "fy", "cy", "00", "01", "1"],
        v3.matrices(cfg.camera)[1]: matrix,
    }
    found = {
        name: {
            "dtype": array.dtype.name,
            "shape": list(array.shape[1:]),
            "names": names.get(name, list(POSE)),
        }
        for name, array in columns.items()
    }
    counted = {
        name: {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
        for name in v3.NUMBERED
    }
    return {key: picture, **found, **counted}


def _arrow(array: np.ndarray) -> Any:
    import pyarrow as pa

    if array.ndim == 1:
        return pa.array(array)
    flat = pa.array(np.ascontiguousarray(array).ravel())
    offsets = np.arange(0, array.size + 1, array.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


class _Stats:
    """Statistics of all features; images by a sample of frames, in [0, 1] per channel."""

    def __init__(self) -> None:
        self._columns: dict[str, list[np.ndarray]] = {}
        self._pixels: list[np.ndarray] = []
        self._key = ""

    def add(self, columns: dict[str, np.ndarray], key: str, images: np.ndarray) -> None:
        """Count an episode; `images`: (n, H, W, 3) uint8."""
        for name, array in columns.items():
            self._columns.setdefault(name, []).append(array.reshape(len(array), -1))
        self._key = key
        self._pixels.append(images[:, ::4, ::4].reshape(-1, 3) / 255)

    def summary(self) -> dict[str, Any]:
        """As stats.json has them."""
        numbers = {name: _described(np.concatenate(a)) for name, a in self._columns.items()}
        pixels = _described(np.concatenate(self._pixels))
        count = pixels.pop("count")
        channels = {name: [[[v]] for v in values] for name, values in pixels.items()}
        return numbers | {self._key: channels | {"count": count}}


def _described(array: np.ndarray) -> dict[str, list[float]]:
    values = array.astype(np.float64)
    described = {kind: getattr(values, kind)(axis=0).tolist() for kind in ("min", "max", "mean")}
    described["std"] = values.std(axis=0).tolist()
    for q, row in zip(QUANTILES, np.quantile(values, QUANTILES, axis=0), strict=True):
        described[f"q{round(100 * q):02d}"] = row.tolist()
    return described | {"count": [len(values)]}
