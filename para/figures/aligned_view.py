"""Views from elsewhere, as they are seen and as a policy is shown them with `align_view=true`.

python -m para.figures.aligned_view    draws docs/aligned_view.png
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from envs.base import EnvConfig, load_task
from para.evaluation.aligned import aligned
from para.figures.drawing import image_panel, panel_title
from para.figures.style import LIGHT, PARA_BLUE, new_figure, save_picture, themed
from para.places import ROOT
from para.runs.identity import Setting
from para.types import Observation

VIEWS_DEG = {
    "usual view": (0, 0),
    "25° to the right": (25, 0),
    "25° up and left": (25, 135),
    "35° to the left": (35, 180),
}
"""Titles of the columns, and their viewpoints (theta, phi)."""
START = 212
"""Of the training grid: the workspace's middle is free."""
_ARROW_M = 0.15
"""Along the world's y axis, from the middle of the workspace."""


@dataclass(frozen=True)
class Pair:
    """A view.

    Attributes:
        title: Where the camera stands.
        seen: What it sees.
        shown: What a policy is shown.
    """

    title: str
    seen: Observation
    shown: Observation


def pairs(size: int = 256) -> list[Pair]:
    """The same scene from each of VIEWS_DEG."""
    setting = Setting()
    task = load_task(setting.task)
    env = task.environment(setting.robot, setting.layout, EnvConfig(image_size=size))
    found = []
    for title, (theta, phi) in VIEWS_DEG.items():
        env.begin(replace(task.grid(START, setting.layout), theta_deg=theta, phi_deg=phi))
        seen = env.observe()
        found.append(Pair(title, seen, aligned(seen, env.usual_camera, task.workspace)))
    return found


def arrow(view: Observation) -> np.ndarray:
    """Ends (2, 2) [px] of an arrow along y from the middle of the workspace."""
    return view.camera.project(np.array([[0.0, 0.0, 0.0], [0.0, _ARROW_M, 0.0]]))[0]


def draw(path: Path = ROOT / "docs" / "aligned_view.png") -> None:
    """Write the picture of docs/protocol.md."""
    with themed(LIGHT):
        figure = new_figure(7.2, 3.9)
        grid = figure.add_gridspec(2, len(VIEWS_DEG))
        for k, pair in enumerate(pairs()):
            for row, view in enumerate((pair.seen, pair.shown)):
                axes = figure.add_subplot(grid[row, k])
                _panel(axes, view)
                if row == 0:
                    panel_title(axes, pair.title, LIGHT)
                if k == 0:
                    axes.set_ylabel(("as seen", "as shown")[row], fontsize=9.5)
        save_picture(figure, path)


def _panel(axes: Axes, view: Observation) -> None:
    image_panel(axes, view.image)
    start, end = arrow(view)
    style = {"arrowstyle": "-|>", "linewidth": 2, "color": PARA_BLUE, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)


if __name__ == "__main__":
    draw()
