"""What a wrong pixel or bin costs, by the camera's elevation: planes of height, and of depth.

python -m para.figures.elevation    draws docs/elevation.png of results/benchmarks/elevation.json
"""

from __future__ import annotations

from pathlib import Path

from para.errors import ResultError
from para.figures.style import (
    LIGHT,
    PARA_BLUE,
    TEST_INDIGO,
    new_figure,
    save_figure,
    soft_grid,
    themed,
)
from para.files import read_json
from para.places import ROOT, shipped

LOOKS = {"height": (PARA_BLUE, "o", "-"), "depth": (TEST_INDIGO, "s", "--")}
"""Colour, mark and line of what bins count."""


def draw(path: Path | None = None, stem: Path | None = None) -> list[Path]:
    """Draw and write the picture; returns its files.

    Raises:
        ResultError: There is no such benchmark.
    """
    again = "Run: python benchmarks/elevation.py results_dir=results"
    path = path or shipped("results") / "benchmarks" / "elevation.json"
    rows = read_json(path, ResultError, again)["rows"]
    kinds = list(dict.fromkeys(row["error"] for row in rows))
    with themed(LIGHT):
        figure = new_figure(9.2, 3.2)
        panels = figure.subplots(1, len(kinds), sharey=True)
        for axes, kind in zip(panels, kinds, strict=True):
            for along, (colour, mark, line) in LOOKS.items():
                own = [row for row in rows if (row["error"], row["along"]) == (kind, along)]
                x = [row["elevation_deg"] for row in own]
                for key, width in (("median_mm", 1.8), ("p95_mm", 0.8)):
                    label = f"bins of {along}" if key == "median_mm" else None
                    axes.plot(
                        x, [row[key] for row in own], line, marker=mark, markersize=4,
                        color=colour, linewidth=width, label=label,
                    )  # fmt: skip
            axes.set(xlabel="elevation of the camera [deg]", yscale="log")
            axes.set_title(f"wrong by {kind}")
            soft_grid(axes)
        panels[0].set(ylabel="distance to the true point [mm]")
        panels[0].legend(frameon=False)
        return save_figure(figure, stem or ROOT / "docs" / "elevation", LIGHT, dpi=150)


if __name__ == "__main__":
    draw()
