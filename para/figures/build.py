"""Building an asset, and the cache that makes a second build cheap.

An asset is a function of input files. Its key is a hash of their content and of the code that draws
it; while the key and the files that it made are the same, nothing is drawn again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from para.errors import ParaError
from para.figures.drawing import Drawing
from para.figures.sources import PUBLISHED_FILE, NotRun, Sources
from para.figures.style import THEMES, save_figure, themed
from para.files import atomic_write_json

log = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[2]
FIGURE_CODE = ("para/figures", "para/statistics.py")
SCENE_CODE = (*FIGURE_CODE, "envs", "configs/split")
VIDEO_CODE = ("para", "envs", "baselines", "configs/split")


@dataclass(frozen=True)
class Media:
    """One file that an asset made, or one picture in all its forms.

    Attributes:
        file: Name in the output folder: an SVG, or a video.
        width: Pixels, so that a page can reserve the place.
        height: Pixels.
        alt: The content in words.
        variants: Other forms by role: dark, png, dark_png (figures); poster (videos).
        data: Plain data: plotted values; for videos split, model, test, index, outcome, rule.
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
class Asset:
    """A figure or a set of videos.

    Attributes:
        make: Figures: (sources, theme) -> Drawing. Videos: (sources, folder) -> list of Media.
        inputs: Files that it depends on; raises `NotRun` if they do not exist yet.
        description: One line.
        kind: figure | video.
        code: Files and folders of this repository that it is drawn by.
    """

    make: Callable[..., Any]
    inputs: Callable[[Sources], Iterable[Path]]
    description: str
    kind: str = "figure"
    code: tuple[str, ...] = FIGURE_CODE


@dataclass(frozen=True)
class BuiltAsset:
    """What became of an asset.

    Attributes:
        name: Its name in `ASSETS`.
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


def build_asset(name: str, asset: Asset, sources: Sources, out_dir: Path) -> BuiltAsset:
    """Build one asset, unless what is in `out_dir` is up to date."""
    common = {"name": name, "kind": asset.kind, "description": asset.description}
    try:
        inputs = sorted({Path(path) for path in asset.inputs(sources)})
        key = _key(name, asset, inputs)
        cached = _read_cache(out_dir, name, key)
        if cached is not None:
            return dataclasses.replace(cached, status="cached")
        if asset.kind == "figure":
            media, notes = _draw(name, asset, sources, out_dir)
        else:
            media, notes = asset.make(sources, out_dir)
    except NotRun as error:
        return BuiltAsset(status="not run", message=str(error), command=error.command, **common)
    except ParaError as error:
        log.error("%s: %s", name, error)
        return BuiltAsset(status="failed", message=str(error), **common)
    built = BuiltAsset(
        status="built",
        media=tuple(media),
        inputs=tuple(str(path) for path in inputs if path != PUBLISHED_FILE),
        notes=tuple(notes),
        **common,
    )
    _write_cache(out_dir, key, built)
    return built


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
    digest.update(_code_hash(asset.code).encode())
    return digest.hexdigest()


@cache
def _file_hash(path: Path, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _code_hash(parts: tuple[str, ...]) -> str:
    """Hash of the source files below `parts`, and of Matplotlib's version."""
    import matplotlib

    digest = hashlib.sha256(matplotlib.__version__.encode())
    for part in parts:
        root = _ROOT / part
        paths = [root] if root.is_file() else sorted(root.rglob("*"))
        for path in paths:
            if path.suffix in (".py", ".yaml", ".xml"):
                digest.update(path.relative_to(_ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _cache_file(out_dir: Path, name: str) -> Path:
    return out_dir / ".cache" / f"{name}.json"


def _read_cache(out_dir: Path, name: str, key: str) -> BuiltAsset | None:
    """What an earlier build noted, if its key is the same and its files are still what they were.

    A note that cannot be read is the same as none: the asset is built again.
    """
    try:
        note = json.loads(_cache_file(out_dir, name).read_text(encoding="utf-8"))
        if note["key"] != key:
            return None
        for file, checksum in note["files"].items():
            path = out_dir / file
            if _file_hash(path, path.stat().st_mtime_ns) != checksum:
                return None
        fields = note["built"]
        media = tuple(Media(**m) for m in fields.pop("media"))
        for tuple_field in ("inputs", "notes"):
            fields[tuple_field] = tuple(fields[tuple_field])
        return BuiltAsset(media=media, **fields)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_cache(out_dir: Path, key: str, built: BuiltAsset) -> None:
    """Note what was built, and remove files of an earlier build that this one did not make."""
    path = _cache_file(out_dir, built.name)
    files = [file for media in built.media for file in media.files]
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        earlier = {}
    for file in set(earlier) - set(files):
        (out_dir / Path(file).name).unlink(missing_ok=True)
    checksums = {
        file: _file_hash(out_dir / file, (out_dir / file).stat().st_mtime_ns) for file in files
    }
    note = {"key": key, "files": checksums, "built": dataclasses.asdict(built)}
    atomic_write_json(path, note)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture [px]."""
    with Image.open(path) as picture:
        return picture.size
