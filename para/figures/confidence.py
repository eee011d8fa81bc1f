"""Success against confidence: does a policy know when it fails?

python -m para.figures.confidence    draws docs/confidence.png of results/benchmarks/confidence.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

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

MAIN = "confidence, early"


def draw(path: Path | None = None, stem: Path | None = None) -> list[Path]:
    """Draw and write the picture; returns its files.

    Raises:
        ResultError: There is no such benchmark.
    """
    again = "Run: python benchmarks/confidence.py results_dir=results"
    path = path or shipped("results") / "benchmarks" / "confidence.json"
    found = read_json(path, ResultError, again)
    with themed(LIGHT):
        figure = new_figure(9.2, 3.4)
        left, right = figure.subplots(1, 2)
        _curve(left, found)
        _kinds(right, found)
        return save_figure(figure, stem or ROOT / "docs" / "confidence", LIGHT, dpi=150)


def _curve(axes: Axes, found: dict[str, Any]) -> None:
    parts = found["curve"]
    middle = [(part["least"] + part["most"]) / 2 for part in parts]
    value, low, high = (
        100 * np.array([part[k] for part in parts]) for k in ("value", "low", "high")
    )
    axes.errorbar(middle, value, [value - low, high - value], fmt="o-", color=PARA_BLUE, capsize=3)
    threshold = found["summary"][MAIN]["threshold"]
    axes.axvline(threshold, color=TEST_INDIGO, linestyle="--")
    axes.annotate(
        "threshold", (threshold, 4), (4, 0), textcoords="offset points", color=TEST_INDIGO
    )
    axes.set(
        xlabel="least confidence of the first three plans", ylabel="success [%]", ylim=(0, 105)
    )
    axes.set_title(f"{len(found['episodes'])} episodes, eighths of equal size")
    soft_grid(axes)


def _kinds(axes: Axes, found: dict[str, Any]) -> None:
    kinds = list(found["success"])
    for row, kind in enumerate(reversed(kinds)):
        for success, colour, shift in ((True, PARA_BLUE, 0.14), (False, "#c2452d", -0.14)):
            scores = [
                episode["early"][0]
                for episode in found["episodes"]
                if episode["kind"] == kind and episode["success"] == success
            ]
            axes.plot(scores, [row + shift] * len(scores), "|", color=colour, markersize=9)
    axes.axvline(found["summary"][MAIN]["threshold"], color=TEST_INDIGO, linestyle="--")
    axes.set_yticks(range(len(kinds)), reversed(kinds))
    axes.set(xlabel="the same, by what was changed")
    axes.set_title("blue: success, red: failure")


if __name__ == "__main__":
    draw()
