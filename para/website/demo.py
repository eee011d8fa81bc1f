"""The demo of the website: what is in its folder, and how it comes onto a page.

A folder holds `demo.json` (`DemoFile`), a policy per ONNX file, sheets of frames per view (WebP,
lossless: row i, column j shows what is dragged at (x[i], y[j]); `para.website.demo_frames`),
`still.webp`, the picture before it is started, and `film.mp4`, for who cannot run it.
`para.website.make_demo` makes one; the repository's lies in website/demo/.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from para.errors import ConfigError
from para.files import not_a_file, read_json
from para.places import shipped
from para.records import Amount, Count, Record, Text
from para.video import VideoError, VideoInfo, probe_video

FOLDER = "demo"
"""Where it lies on the site, and in website/."""
FACTS = "demo.json"
STILL = "still.webp"
FILM = "film.mp4"
RUNTIME = "onnxruntime-web"
"""Folder in website/ with what runs the policies in a browser (see its README.md)."""
AGAIN = "Make it again (python -m para.website.make_demo RUN RUN), or leave it out (demo=none)."
"""The way on where a folder is damaged."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Row = Annotated[list[float], Field(min_length=3, max_length=4)]


class DemoView(Record):
    """A camera, and the sheets of what it sees: one for each thing that is dragged.

    `turn_deg`, `tilt_deg`: how far it stands to the right of the trained view, and above it;
    `empty`: what it sees without any of them, None where there is one sheet only; `bytes`: of these
    files; `differ`: of `checked` pictures so many were not, to the bit, what the simulator renders.
    """

    turn_deg: float
    tilt_deg: float
    sheets: Annotated[list[FileName], Field(min_length=1)]
    empty: FileName | None
    bytes: Count
    checked: Count
    differ: Count
    intrinsics: Annotated[list[Row], Field(min_length=3, max_length=3)]
    T_world_camera: Annotated[list[Row], Field(min_length=4, max_length=4)]


class Median(Record):
    """Distance of the place where the fingers close to the expert's, over the places of a view.

    `mm`: median over those at which they close; `never`: places at which they do not.
    """

    n: Count
    never: Count
    mm: Amount | None


class DemoPolicy(Record):
    """A policy and its file.

    `moved_mm`: how far the file's waypoints are at most from PyTorch's with the same weights;
    `halved_mm`: 16-bit weights move 99 of 100 waypoints by less; `trained`, `unseen`: per view, for
    places in the trained half and in the other.
    """

    name: Text
    title: Text
    file: FileName
    bytes: Count
    steps: Count
    seed: Count
    moved_mm: Amount
    halved_mm: Amount
    trained: list[Median]
    unseen: list[Median]


class DemoObject(Record):
    """An object of the task. `offset`: from the place of what is dragged (x, y) [m]."""

    name: Text
    radius: Amount
    colour: Annotated[list[float], Field(min_length=3, max_length=3)]
    offset: Annotated[list[float], Field(min_length=2, max_length=2)]


class DemoMover(Record):
    """Something that is dragged: an object, or several as one."""

    title: Text
    objects: Annotated[list[DemoObject], Field(min_length=1)]


class DemoMark(Record):
    """A point of the expert's path. `offset`: from the place of what it goes with [m]."""

    mover: Count
    offset: Row


class DemoFile(Record):
    """demo.json. Positions are world frame [m].

    `marks`: where the expert's fingers close, and where they open if they do; `start`: row and
    column of each thing that is dragged; `spacing`: how far they are apart at least;
    `from_demos_mm`: from any place to the nearest of the demonstrations, None where objects stand
    apart.
    """

    command: Text
    size: Count
    x: Annotated[list[float], Field(min_length=1)]
    y: Annotated[list[float], Field(min_length=1)]
    workspace: Annotated[list[float], Field(min_length=2, max_length=2)]
    trained: Annotated[list[float], Field(min_length=4, max_length=4)]
    ee_position: Row
    gripper: float
    marks: Annotated[list[DemoMark], Field(min_length=1, max_length=2)]
    from_demos_mm: Amount | None
    spacing: Amount
    start: list[Annotated[list[Count], Field(min_length=2, max_length=2)]]
    movers: Annotated[list[DemoMover], Field(min_length=1)]
    views: Annotated[list[DemoView], Field(min_length=1)]
    policies: Annotated[list[DemoPolicy], Field(min_length=1)]

    @property
    def files(self) -> list[str]:
        """Names of the files in the folder, but for the film, which is made of the others."""
        sheets = [name for view in self.views for name in view.sheets]
        empty = [view.empty for view in self.views if view.empty]
        return [FACTS, STILL, *(policy.file for policy in self.policies), *sheets, *empty]

    def marks_at(self, places: Sequence[tuple[int, int]]) -> np.ndarray:
        """`marks` (n, 3) [m] with everything at some places of the grid (row, column)."""
        at = np.array([(self.x[row], self.y[column], 0.0) for row, column in places])
        return np.array([at[mark.mover] + mark.offset for mark in self.marks])


@dataclass(frozen=True)
class Demo:
    """A folder that has been looked at.

    Attributes:
        folder: It.
        facts: What its demo.json says.
        size: Width and height of its picture [px].
        film: What its film says about itself.
    """

    folder: Path
    facts: DemoFile
    size: tuple[int, int]
    film: VideoInfo

    @property
    def megabytes(self) -> float:
        """What the first prediction of the first policy loads [MB]: runtime, policy, frames."""
        runtime = sum(path.stat().st_size for path in runtime_files())
        first = self.facts.policies[0].bytes + self.facts.views[0].bytes
        return (runtime + first) / 1e6

    def copy(self, site: Path) -> None:
        """Put it, and what runs it, on a site."""
        for name in (*self.facts.files, FILM):
            _copy(self.folder / name, site / FOLDER / name)
        for path in runtime_files():
            _copy(path, site / FOLDER / path.name)


def read_demo(folder: Path) -> Demo:
    """The demo in a folder.

    Raises:
        ConfigError: There is none, or it is damaged; says how one is made.
    """
    import cv2

    facts = read_facts(folder)
    still = cv2.imread(str(folder / STILL))
    if still is None:
        raise ConfigError(f"{folder / STILL} is no picture. {AGAIN}")
    try:
        film = probe_video(folder / FILM)
    except VideoError as error:
        again = f"Film it again: python -m para.website.demo_film {folder}"
        raise ConfigError(f"{error} {again}") from error
    return Demo(folder, facts, (still.shape[1], still.shape[0]), film)


def read_facts(folder: Path) -> DemoFile:
    """What the demo.json in a folder says; all files but the film are there.

    Raises:
        ConfigError: As `read_demo`.
    """
    value = read_json(folder / FACTS, ConfigError, AGAIN)
    try:
        facts = DemoFile.check(value)
    except ValueError as error:
        raise ConfigError(f"{folder / FACTS}: {error}. {AGAIN}") from error
    for name in facts.files:
        if reason := not_a_file(folder / name):
            raise ConfigError(f"{folder / name} {reason}. {AGAIN}")
    return facts


def shipped_demo() -> Path | None:
    """The demo that comes with the code, if it does."""
    folder = shipped("website") / FOLDER
    return folder if (folder / FACTS).is_file() else None


def runtime_files() -> list[Path]:
    """What runs ONNX files in a browser, and its licence."""
    return sorted(path for path in (shipped("website") / RUNTIME).iterdir() if path.suffix != ".md")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
