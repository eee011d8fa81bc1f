"""Foreign demonstrations as demo files (para/data/format.py): scripts/import_demos.py."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from envs.base import EnvConfig, build_task, setting_name
from envs.demos import HUMAN
from envs.libero.package import require_package
from para import __version__
from para.common import CommonConfig
from para.data.fitting import fitted_episode
from para.data.format import (
    IMPORTED,
    Episode,
    EpisodeMeta,
    dataset_dir,
    encode_image,
    episode_path,
    write_episode,
)
from para.data.mapping import load_mapping
from para.data.own import OWN, own_folder, own_name, read_imported, write_imported
from para.data.sources.folder import read_folder
from para.data.sources.hdf5 import read_hdf5
from para.data.sources.lerobot import read_lerobot
from para.data.sources.libero import ROBOT, read_libero, recorded_task
from para.data.sources.recording import Recording
from para.errors import ConfigError, DataError, one_line
from para.fields import choice, number, require, word
from para.files import require_writable

log = logging.getLogger(__name__)

LIBERO = "libero"
SOURCES = ("folder", "hdf5", "lerobot", LIBERO)
HUB = "hf://"
"""Beginning of a path on the Hugging Face hub: hf://OWNER/NAME."""


@dataclass
class ImportConfig(CommonConfig):
    """scripts/import_demos.py"""

    script: ClassVar[str] = "import_demos"

    source: str = choice("folder", SOURCES)
    """folder | hdf5 | lerobot | libero. libero shows the states of LIBERO's own files again in its
    simulator (docs/libero.md): pictures of env.image_size, true cameras, a set that its splits
    train on. task= need not be said: the file says it."""
    path: str = ""
    """The set: a folder, a file (hdf5, libero), or hf://OWNER/NAME (lerobot)."""
    name: str | None = word(None)
    """What the imported set is called; null: as its folder or file."""
    cameras: str | None = None
    """Calibration file (cameras.json); null: what the set itself has."""
    camera: str | None = None
    """Whose images are taken, where there are several."""
    mapping: str | None = None
    """Which numbers are poses: a name of configs/mapping, or a YAML file."""
    instruction: str | None = None
    """What is done, where the set does not say."""
    fps: float | None = number(None, least=10, most=1000)
    """Frames per second of an HDF5 set; null: what it says, else 20."""
    size: int | None = number(None, least=16, most=8192)
    """Cut images to the middle square and resize them to so many px; null: as they are."""
    limit: int | None = number(None, least=1, most=100_000)
    """Import the first so many demonstrations."""
    fresh: bool = False
    """Replace what was imported under this name before."""

    @property
    def called(self) -> str:
        """Name of the imported set."""
        return self.name or own_name(Path(self.path.removeprefix(HUB)).with_suffix(""))

    @property
    def folder(self) -> Path:
        """Where the imported set goes."""
        if self.source == LIBERO:
            setting = setting_name(self.task.name, ROBOT, HUMAN)
            return dataset_dir(self.data_dir, setting, LIBERO, self.env.image_size)
        return own_folder(self.data_dir, self.called)

    def rules(self, key: str, run: Any) -> None:
        """There is a set, and its source knows the other keys."""
        if self.source == LIBERO:
            require_package()
            told = ("name", "cameras", "camera", "mapping", "instruction", "fps", "size")
            unused = [key for key in told if getattr(self, key) is not None]
            require(
                not unused,
                f"{' and '.join(f'{key}=' for key in unused)}: leave it away, source=libero takes "
                "that from the file and the simulator (env.image_size= is the size of pictures).",
            )
        require(bool(self.path), "path= names no set: give path=FOLDER (or FILE).")
        require(
            not self.path.startswith(HUB) or self.source == "lerobot",
            f"path={self.path}: only source=lerobot comes from the hub.",
        )
        require(
            self.mapping is None or self.source != "folder",
            "mapping= is for source=lerobot and source=hdf5: the columns of poses.csv have names.",
        )
        require(
            self.mapping is not None or self.source != "hdf5",
            "source=hdf5 needs mapping=robomimic, mapping=libero or mapping=FILE.yaml: which "
            "numbers are the tool's pose?",
        )
        require(
            self.fps is None or self.source == "hdf5",
            "fps= is for source=hdf5: the others say when their frames were taken.",
        )


@dataclass(frozen=True)
class ImportSummary:
    """What `import_demos` did.

    Attributes:
        folder: The imported set.
        demos: How many.
        frames: Of all of them, at 10 Hz.
        recorded: Frames that they had before.
    """

    folder: Path
    demos: int
    frames: int
    recorded: int

    def report(self) -> str:
        """A few lines for people."""
        thinned = f" of {self.recorded}" if self.recorded != self.frames else ""
        return f"{self.folder}: {self.demos} demos, {self.frames}{thinned} frames at 10 Hz."


def import_demos(cfg: ImportConfig) -> ImportSummary:
    """Write the demonstrations of a foreign set as demo files.

    Raises:
        DataError: The set is empty, or one of its demonstrations cannot be read; those before it
            are not kept as a set.
        ConfigError: Another set was imported under this name.
    """
    if cfg.source == LIBERO:
        cfg = replace(cfg, task=recorded_task(Path(cfg.path), cfg.task))
    folder, command = cfg.folder, _command(cfg)
    if (folder / IMPORTED).exists() and not cfg.fresh:
        before = read_imported(folder)["command"]
        if before != command:
            raise ConfigError(
                f"{folder} was imported by another command ({before}). Choose another name=..., or "
                "replace it with fresh=true."
            )
    elif not cfg.fresh and any(folder.glob("demo_*.hdf5")):
        raise ConfigError(f"{folder} holds other demos. Choose another name=..., or fresh=true.")
    require_writable(folder)
    frames = recorded = 0
    written: set[Path] = set()
    (folder / IMPORTED).unlink(missing_ok=True)
    for recording in _recordings(cfg):
        episode = _episode(cfg, recording, len(written))
        path = episode_path(folder, episode.meta.index)
        if path in written:
            raise DataError(f"{recording.where}: there are two demos {episode.meta.index}.")
        write_episode(path, episode)
        written.add(path)
        frames += episode.meta.num_samples
        recorded += len(recording.times)
        if len(written) == cfg.limit:
            break
    if not written:
        raise DataError(f"{cfg.path} has no demonstrations: it is an empty set.")
    for path in set(folder.glob("demo_*.hdf5")) - written:  # of an earlier import
        path.unlink()
    write_imported(folder, command, cfg.source)
    return ImportSummary(folder, len(written), frames, recorded)


def _command(cfg: ImportConfig) -> str:
    words = [f"source={cfg.source}", f"path={cfg.path}"]
    if cfg.source == LIBERO:
        usual = dataclasses.asdict(EnvConfig())
        env = dataclasses.asdict(cfg.env).items()
        words += [f"task={cfg.task.name}"]
        words += [f"env.{key}={value}" for key, value in env if value != usual[key]]
    else:
        words += [f"name={cfg.called}"]
    for key in ("cameras", "camera", "mapping", "instruction", "fps", "size", "limit"):
        if (value := getattr(cfg, key)) is not None:
            words.append(f"{key}={value}")
    return shlex.join(words)


def _recordings(cfg: ImportConfig) -> Iterator[Recording]:
    path = _local(cfg)
    if not path.exists():
        raise DataError(f"path={cfg.path} does not exist.")
    if cfg.source == LIBERO:
        return read_libero(path, build_task(cfg.task), cfg.env)
    cameras = Path(cfg.cameras) if cfg.cameras else None
    if cfg.source == "hdf5":
        return read_hdf5(path, cameras, cfg.camera, load_mapping(str(cfg.mapping)), cfg.fps)
    if not path.is_dir():
        raise DataError(f"path={cfg.path} is a file: source={cfg.source} reads a folder.")
    if cfg.source == "lerobot":
        return read_lerobot(path, cameras, cfg.camera, cfg.mapping)
    return read_folder(path, cameras, cfg.camera)


def _local(cfg: ImportConfig) -> Path:
    """The set on this machine; one of the hub is fetched first."""
    if not cfg.path.startswith(HUB):
        return Path(cfg.path)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(cfg.path.removeprefix(HUB), repo_type="dataset"))
    except Exception as error:  # network, permissions, a name that does not exist
        raise DataError(
            f"path={cfg.path} cannot be had from the hub ({one_line(error, 200)}). Fetch it "
            "elsewhere and give its folder: path=FOLDER."
        ) from error


def _episode(cfg: ImportConfig, recording: Recording, number: int) -> Episode:
    recording.require_whole()
    ticks = recording.ticks()
    numbers, shown = np.unique(ticks, return_inverse=True)  # a lost frame's neighbour twice
    once = [encode_image(image) for image in recording.images(numbers.tolist())]
    frames = [once[k] for k in shown]
    meta = recording.meta or _meta(cfg, recording, number)
    episode = Episode(
        replace(meta, num_samples=len(ticks)),
        frames,
        {name: array[ticks] for name, array in recording.arrays.items()},
    )
    return fitted_episode(episode, cfg.size) if cfg.size else episode


def _meta(cfg: ImportConfig, recording: Recording, number: int) -> EpisodeMeta:
    told = cfg.instruction or recording.instruction or cfg.called.replace("_", " ")
    return EpisodeMeta(
        index=number,
        seed=0,
        dataset=cfg.called,
        task={"name": OWN, "kind": OWN},
        robot=OWN,
        layout=OWN,
        condition={"task": OWN, "objects": {}, "theta_deg": 0.0, "phi_deg": 0.0},
        env={},
        success=True,
        num_samples=len(recording.times),
        environment_version=1,
        code_version=__version__,
        mujoco_version="none",
        instruction=told,
    )
