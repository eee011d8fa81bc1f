"""The recorded frames of the demo: a sheet per thing that is dragged, put together to one picture.

A sheet shows one of them alone at every place of the grid. Where one's pixels differ from the empty
scene's they are its own, shadow included, so pictures of any places are made of few: of n places
for each of two things, 2 n + 1 frames give n^2 pictures. They equal what the simulator renders with
both as long as neither throws its shadow on the other; `para.website.make_demo` renders some anew
and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from para.camera import Camera
from para.types import Observation
from para.website import demo

Place = tuple[int, int]
"""Row and column of the grid."""
Places = Sequence[Place]
"""Of everything that is dragged."""


@dataclass(frozen=True)
class Frames:
    """What a camera sees.

    Attributes:
        layers: For each thing that is dragged (rows, columns, size, size, 3) uint8.
        empty: (size, size, 3) the scene without them; None where there is one layer only.
        camera: The camera.
        x: (rows,) [m].
        y: (columns,) [m].
    """

    layers: Sequence[np.ndarray]
    empty: np.ndarray | None
    camera: Camera
    x: np.ndarray
    y: np.ndarray

    def image(self, places: Places) -> np.ndarray:
        """The picture (size, size, 3) uint8 of some places; what is nearer hides what is behind."""
        cells = [layer[place] for layer, place in zip(self.layers, places, strict=True)]
        if self.empty is None:
            (only,) = cells
            return only.copy()
        at = np.array([(self.x[row], self.y[column], 0.0) for row, column in places])
        found = self.empty.copy()
        for k in np.argsort(-self.camera.project(at)[1], kind="stable"):
            own = (cells[k] != self.empty).any(-1)
            found[own] = cells[k][own]
        return found

    def save(self, folder: Path, name: str) -> tuple[list[str], str | None]:
        """Write the sheets; names of their files, and of the empty scene's."""
        names = []
        for k, layer in enumerate(self.layers):
            rows, columns, size = layer.shape[:3]
            sheet = layer.swapaxes(1, 2).reshape(rows * size, columns * size, 3)
            names.append(_write(sheet, folder / f"{name}_{k}.webp"))
        empty = None if self.empty is None else _write(self.empty, folder / f"{name}_empty.webp")
        return names, empty


def read_frames(folder: Path, facts: demo.DemoFile, view: int) -> Frames:
    """The frames of a camera.

    Args:
        folder: Of the demo.
        facts: What its demo.json says.
        view: Index of the camera.
    """
    size, seen_by = facts.size, facts.views[view]
    grid = len(facts.x), size, len(facts.y), size, 3
    layers = [_read(folder / name).reshape(grid).swapaxes(1, 2) for name in seen_by.sheets]
    empty = _read(folder / seen_by.empty) if seen_by.empty else None
    camera = Camera(np.array(seen_by.intrinsics), np.array(seen_by.T_world_camera), size, size)
    return Frames(layers, empty, camera, np.array(facts.x), np.array(facts.y))


def observations(
    folder: Path, facts: demo.DemoFile, view: int, chosen: Sequence[Places]
) -> list[Observation]:
    """What the page shows its policies with everything at some places; see `read_frames`."""
    frames = read_frames(folder, facts, view)
    state = np.array(facts.ee_position), facts.gripper
    return [Observation(frames.image(places), frames.camera, *state) for places in chosen]


def _write(image: np.ndarray, path: Path) -> str:
    Image.fromarray(image).save(path, lossless=True, quality=75, method=4)
    return path.name


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
