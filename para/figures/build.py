"""Building an asset, and the cache that makes a second build cheap.

An asset is a function of input files. Its key is a hash of their content and of the code that draws
it; while the key and the files that it made are the same, nothing is drawn again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from envs.base import TASKS
from envs.splits import SPLITS
from para.asides import scratch_folder
from para.backbones import BACKBONES
from para.errors import ParaError
from para.figures.drawing import Drawing
from para.figures.episodes import EpisodeTask, shoot
from para.figures.sources import PUBLISHED_FILE, NotRun, Sources
from para.figures.style import THEMES, save_figure, themed
from para.files import atomic_write, atomic_write_json, not_a_file, read_json, seal
from para.heads import HEADS
from para.policies.base import POLICIES
from para.runs.code import code_digest

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Media:
    """One file that an asset made, or one picture in all its forms.

    Attributes:
        file: Name in the output folder: an SVG, or a video.
        width: Pixels, so that a page can reserve the place.
        height: Pixels.
        alt: The content in words.
        variants: Other forms by role: dark, png, dark_png (figures); poster (videos).
        data: Plain data, as JSON has it: plotted values; for videos split, model, test, index,
            outcome, rule.
    """

    file: str
    width: int
    height: int
    alt: str
    variants: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """All file names."""
        return [self.file, *self.variants.values()]


@dataclass(frozen=True)
class Film:
    """What a set of videos needs, and how it is put together from the frames.

    Attributes:
        tasks: Episodes to film; their `out` is filled in when they are filmed.
        compose: (frames of each task, folder) -> the videos made.
        notes: What is missing.
    """

    tasks: tuple[EpisodeTask, ...]
    compose: Callable[[Sequence[np.ndarray], Path], list[Media]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asset:
    """A figure or a set of videos.

    Attributes:
        make: Figures: (sources, theme) -> Drawing. Videos: (sources) -> Film.
        inputs: Files that it depends on; raises `NotRun` if they do not exist yet.
        description: One line.
        kind: figure | video.
        simulates: It renders scenes or runs policies: any component may have a part in it.
    """

    make: Callable[..., Any]
    inputs: Callable[[Sources], Iterable[Path]]
    description: str
    kind: str = "figure"
    simulates: bool = False


@dataclass(frozen=True)
class BuiltAsset:
    """What became of an asset.

    Attributes:
        name: Its name in `para.figures.registry.assets`.
        kind: figure | video.
        status: built | cached | not run | failed.
        description: One line.
        media: What was made; empty unless built or cached.
        inputs: The files that it was made from, as given.
        message: Why there is nothing, for "not run" and "failed".
        command: What to run to get it, for "not run".
        notes: What is missing from it, e.g. a policy that was not run.
    """

    name: str
    kind: str
    status: str
    description: str
    media: tuple[Media, ...] = ()
    inputs: tuple[str, ...] = ()
    message: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Job:
    """An asset that has to be built."""

    name: str
    asset: Asset
    key: str
    inputs: tuple[Path, ...]

    def finish(self, out_dir: Path, media: Sequence[Media], notes: Sequence[str]) -> BuiltAsset:
        """Note in the cache what was made."""
        built = BuiltAsset(
            self.name,
            self.asset.kind,
            "built",
            self.asset.description,
            media=tuple(media),
            inputs=tuple(str(path) for path in self.inputs if path != PUBLISHED_FILE),
            notes=tuple(notes),
        )
        _write_cache(out_dir, self.key, built)
        # As a later build will find it: JSON knows no tuples.
        return _read_cache(out_dir, self.name, self.key) or built

    def fail(self, message: str) -> BuiltAsset:
        """What to say about an asset that cannot be built."""
        log.error("%s: %s", self.name, message)
        return _without_media(self.name, self.asset, "failed", message)


def _without_media(
    name: str, asset: Asset, status: str, message: str, command: str = ""
) -> BuiltAsset:
    return BuiltAsset(name, asset.kind, status, asset.description, message=message, command=command)


def build(
    assets: Mapping[str, Asset], sources: Sources, out_dir: Path, beside: Path | None = None
) -> list[BuiltAsset]:
    """Build `assets` into `out_dir`: figures first, then all videos with one pool of processes.

    Returns one entry per asset, in their order. An asset whose inputs were never made has status
    "not run", one whose inputs are unusable has status "failed"; neither stops the rest. What was
    built into the folder `beside` from the same inputs is copied from there.
    """
    done: dict[str, BuiltAsset] = {}
    films: list[tuple[_Job, Film]] = []
    for name, asset in _tracked(assets.items(), "Figures", len(assets), sources.progress):
        try:
            inputs = tuple(sorted({Path(path) for path in asset.inputs(sources)}))
            job = _Job(name, asset, _key(name, asset, inputs), inputs)
            cached = _read_cache(out_dir, name, job.key) or _copied(beside, job, out_dir)
            if cached is not None:
                done[name] = dataclasses.replace(cached, status="cached")
            elif asset.kind == "figure":
                done[name] = job.finish(out_dir, *_draw(name, asset, sources, out_dir))
            else:
                films.append((job, asset.make(sources)))
        except NotRun as error:
            done[name] = _without_media(name, asset, "not run", str(error), error.command)
        except (ParaError, OSError) as error:
            log.error("%s: %s", name, error)
            done[name] = _without_media(name, asset, "failed", str(error))
    done |= _shoot(films, sources, out_dir)
    return [done[name] for name in assets]


def _tracked(items: Iterable[T], title: str, total: int, progress: bool) -> Iterator[T]:
    """The items, with a progress bar on stderr if `progress`."""
    console = Console(stderr=True)
    yield from track(items, title, total, console=console, disable=not progress)


def _shoot(
    films: Sequence[tuple[_Job, Film]], sources: Sources, out_dir: Path
) -> dict[str, BuiltAsset]:
    """Film the episodes of all videos; put each video together as soon as its frames are there."""
    without_episodes = [(job, film) for job, film in films if not film.tasks]
    done = {job.name: _compose(job, film, [], [], out_dir) for job, film in without_episodes}
    if len(without_episodes) == len(films):
        return done
    with scratch_folder() as folder:
        owner: dict[str, tuple[_Job, Film, list[EpisodeTask]]] = {}
        tasks = []
        for job, film in films:
            own = [
                dataclasses.replace(task, out=str(folder / f"{job.name}-{i}.npy"))
                for i, task in enumerate(film.tasks)
            ]
            owner |= {task.out: (job, film, own) for task in own}
            tasks += own
        waiting = {job.name: len(film.tasks) for job, film in films}
        problems: dict[str, list[str]] = {job.name: [] for job, _ in films}
        shots = shoot(tasks, sources.workers)
        for task, problem in _tracked(shots, "Videos", len(tasks), sources.progress):
            job, film, own = owner[task.out]
            waiting[job.name] -= 1
            problems[job.name] += [problem] if problem else []
            if waiting[job.name] == 0:
                done[job.name] = _compose(job, film, own, problems[job.name], out_dir)
    return done


def _compose(
    job: _Job, film: Film, tasks: Sequence[EpisodeTask], problems: Sequence[str], out_dir: Path
) -> BuiltAsset:
    try:
        if problems:
            return job.fail("; ".join(problems))
        frames = [np.load(task.out, mmap_mode="r", allow_pickle=False) for task in tasks]
        return job.finish(out_dir, film.compose(frames, out_dir), film.notes)
    except (ParaError, OSError) as error:
        return job.fail(str(error))
    finally:
        for task in tasks:
            Path(task.out).unlink(missing_ok=True)


def _draw(
    name: str, asset: Asset, sources: Sources, out_dir: Path
) -> tuple[list[Media], tuple[str, ...]]:
    """Draw a figure in every theme: `<name>.svg`, `<name>.png` and the same with `-dark`."""
    files: dict[str, str] = {}
    for theme in THEMES:
        with themed(theme):
            drawing: Drawing = asset.make(sources, theme)
            svg, png = save_figure(drawing.figure, out_dir / name, theme)
        dark = theme.suffix.lstrip("-")
        files |= {dark or "light": svg.name, f"{dark}_png".lstrip("_"): png.name}
    width, height = drawing.figure.get_size_inches() * 96
    media = Media(files.pop("light"), round(width), round(height), drawing.alt, files, drawing.data)
    return [media], drawing.notes


def _key(name: str, asset: Asset, inputs: Sequence[Path]) -> str:
    digest = hashlib.sha256(name.encode())
    for path in inputs:
        digest.update(f"{path.name}\0{_file_hash(path, path.stat().st_mtime_ns)}".encode())
    make = asset.make.func if isinstance(asset.make, partial) else asset.make
    digest.update(_code_hash(make, asset.simulates).encode())
    return digest.hexdigest()


@cache
def _file_hash(path: Path, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _code_hash(make: Callable[..., Any], simulates: bool) -> str:
    """Hash of the code that draws, of the components that it may use, and of Matplotlib's version.

    What an asset shows depends on all the code that it runs, so none is left out: better drawn once
    too often than wrong.
    """
    import matplotlib

    # By name: which others have been imported by now depends on what this process did before.
    registries = (BACKBONES, HEADS, POLICIES, SPLITS, TASKS) if simulates else ()
    components = [registry[name] for registry in registries for name in registry]
    return f"{matplotlib.__version__} {code_digest([make, *components])}"


def _cache_file(out_dir: Path, name: str) -> Path:
    return out_dir / ".cache" / f"{name}.json"


def _read_cache(out_dir: Path, name: str, key: str) -> BuiltAsset | None:
    """What an earlier build noted, if its key is the same and its files are still what they were.

    A note that cannot be read is the same as none: the asset is built again.
    """
    try:
        note = read_json(_cache_file(out_dir, name))
        if note["key"] != key:
            return None
        for file, checksum in note["files"].items():
            path = out_dir / file
            if not_a_file(path) or _file_hash(path, path.stat().st_mtime_ns) != checksum:
                return None
        fields = note["built"]
        media = tuple(Media(**m) for m in fields.pop("media"))
        for tuple_field in ("inputs", "notes"):
            fields[tuple_field] = tuple(fields[tuple_field])
        return BuiltAsset(media=media, **fields)
    except (ParaError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _copied(beside: Path | None, job: _Job, out_dir: Path) -> BuiltAsset | None:
    """What another folder holds of a job, copied to `out_dir` with its note."""
    built = _read_cache(beside, job.name, job.key) if beside else None
    for file in (file for media in (built.media if built else ()) for file in media.files):
        with atomic_write(out_dir / file) as aside:
            shutil.copyfile(beside / file, aside)
    return job.finish(out_dir, built.media, built.notes) if built else None


def _write_cache(out_dir: Path, key: str, built: BuiltAsset) -> None:
    """Note what was built, and remove files of an earlier build that this one did not make."""
    path = _cache_file(out_dir, built.name)
    files = [file for media in built.media for file in media.files]
    try:
        earlier = dict(read_json(path)["files"])
    except (ParaError, KeyError, TypeError, ValueError):
        earlier = {}
    for file in set(earlier) - set(files):
        (out_dir / Path(file).name).unlink(missing_ok=True)
    checksums = {
        file: _file_hash(out_dir / file, (out_dir / file).stat().st_mtime_ns) for file in files
    }
    note = {"key": key, "files": checksums, "built": dataclasses.asdict(built)}
    atomic_write_json(path, seal(note))
