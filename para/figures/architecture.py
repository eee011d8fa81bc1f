"""The picture of docs/architecture.md: floors, rooms, and the way of one image through them.

    python -m para.figures.architecture     draws docs/architecture.svg and .png anew

Floors are read from the contract that `make lint` checks, so the picture cannot disagree with it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from para.figures.style import LIGHT, PARA_BLUE, TEST_INDIGO, mix, new_figure, save_figure, themed
from para.places import ROOT

WALK = (
    ("envs.table.env", "image, camera,\nhand"),
    ("para.evaluation.rollout", "observations"),
    ("para.policies.base", "batch"),
    ("para.policies.para", "features at\nthe hand"),
    ("para.backbones.timm", "image → map"),
    ("para.heads.pixel", "map → pixel,\nheight"),
    ("para.camera", "pixel's ray\nmeets height"),
    ("envs.table.env", "servo to\nthe waypoint"),
    ("envs.table.controller", "joint\ncommands"),
)
"""Modules through which an image becomes a command, and what each makes of it."""


def floors() -> list[list[str]]:
    """Names of packages and modules per floor, from the top down."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (
        contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    return [[part.strip(" ()") for part in layer.replace(":", "|").split("|")] for layer in layers]


def lines_of(name: str) -> int:
    """Lines of a package, or of a module."""
    place = ROOT.joinpath(*name.split("."))
    files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def draw() -> list[Path]:
    """Draw and write the picture; returns its files."""
    rows = floors()
    with themed(LIGHT):
        figure = new_figure(9.6, 0.5 * len(rows) + 2.6)
        house, walk = figure.subplots(2, 1, height_ratios=[len(rows), 3.4])
        _house(house, rows)
        _walk(walk)
        return save_figure(figure, ROOT / "docs" / "architecture", LIGHT, dpi=150)


def _house(axes: Axes, rows: list[list[str]]) -> None:
    axes.set_title("Floors: imports only go down (lines of code)")
    axes.set(xlim=(0, 1), ylim=(len(rows), -0.1))
    axes.axis("off")
    walked = {name for name, _ in WALK}
    for y, names in enumerate(rows):
        width = 1 / len(names)
        for k, name in enumerate(names):
            on_way = any(f"{module}.".startswith(f"{name}.") for module in walked)
            _box(
                axes, k * width, y, width, f"{name.removeprefix('para.')}  {lines_of(name)}", on_way
            )


def _walk(axes: Axes) -> None:
    axes.set_title("From an image to a command, and the modules that it passes")
    axes.set(xlim=(0, len(WALK)), ylim=(1, -0.25))
    axes.axis("off")
    for k, (name, what) in enumerate(WALK):
        _box(axes, k, 0.1, 1, what, True, height=0.62)
        short = name.removeprefix("para.").removeprefix("envs.")
        axes.text(k + 0.5, 0.0, short, ha="center", va="bottom", fontsize=7, color=LIGHT.muted)
        if k:
            style = {"arrowstyle": "-|>", "mutation_scale": 9, "color": LIGHT.ink}
            axes.add_patch(FancyArrowPatch((k - 0.04, 0.4), (k + 0.07, 0.4), **style))


def _box(
    axes: Axes, x: float, y: float, width: float, text: str, accent: bool, height: float = 0.78
) -> None:
    colour = PARA_BLUE if accent else TEST_INDIGO
    margin = 0.006 if axes.get_xlim()[1] == 1 else 0.07
    axes.add_patch(
        FancyBboxPatch(
            (x + margin, y),
            width - 2 * margin,
            height,
            boxstyle="round,pad=0,rounding_size=0.01",
            facecolor=mix(colour, LIGHT.surface, 0.22 if accent else 0.08),
            edgecolor=mix(colour, LIGHT.surface, 0.8 if accent else 0.35),
        )
    )
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8)


if __name__ == "__main__":
    draw()
