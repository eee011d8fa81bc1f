"""The picture at the end of an evaluation: where each policy succeeds.

Splits over positions: every test start on the workspace seen from above, training positions faint.
Splits over viewpoints: the success rate at every viewpoint of the cap. Policies two in a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.projections.polar import PolarAxes

from envs.base import load_task
from envs.splits import SplitConfig
from envs.table.viewpoints import PHIS_DEG, THETAS_DEG
from para.evaluation.config import EvalConfig
from para.evaluation.results import Result, setting_of_result, success_rate
from para.figures.maps import started, trained_positions, view_rates
from para.figures.style import (
    LIGHT,
    TRAIN_GREEN,
    ModelStyle,
    mix,
    model_style,
    new_figure,
    save_figure,
    themed,
)
from para.figures.tasks import Stage, stages_of
from para.runs.folders import setting_of
from para.runs.identity import Setting

_SIZE = 7.5
"""Of marks [points]."""
_ROW = 2
"""Panels in a row: with 200 dots per inch a picture stays narrower than 2,000 px."""
_PANEL = 4.3
"""Width of a panel [inches]."""
_LETTERS = 44
"""So many letters of a panel's title fit beside each other."""


def map_of_evaluation(cfg: EvalConfig, results: Mapping[str, Result]) -> list[Path]:
    """Draw what was evaluated now, held out where that was tested; returns the PNG."""
    test = "ood" if "ood" in cfg.tests else "sanity"
    if not all(any(e["test"] == test for e in r["episodes"]) for r in results.values()):
        return []
    place = Path(cfg.outputs_dir) / "figures" / setting_of(cfg).name / cfg.profile
    return success_map(results, cfg.split, place / f"{cfg.split.name}_success_map", test)[1:]


def success_map(
    results: Mapping[str, Result], split: SplitConfig, stem: Path, test: str = "ood"
) -> list[Path]:
    """Draw the episodes of a test, one panel per policy; write <stem>.svg and <stem>.png.

    Args:
        results: By model label, in the order of the panels; all of one setting.
        split: The split that they belong to.
        stem: Path of the figure without its suffix.
        test: ood | sanity.
    """
    with themed(LIGHT):
        return save_figure(draw_success_map(results, split, test), stem, LIGHT)


def draw_success_map(results: Mapping[str, Result], split: SplitConfig, test: str) -> Figure:
    """The figure of `success_map`; titles are broken into lines and never reach the next panel."""
    episodes = {
        label: [e for e in result["episodes"] if e["test"] == test]
        for label, result in results.items()
    }
    environment = next(iter(results.values()))["environment"]
    setting = setting_of_result(next(iter(results.values())))
    stages = stages_of(setting.task, environment["stages"])
    trained = trained_positions(split, setting)
    by_view = any(len(view_rates(own)) > 1 for own in episodes.values())
    columns = min(_ROW, len(results))
    rows = -(-len(results) // columns)
    figure = new_figure(_PANEL * columns + 0.1, 0.7 + rows * (4.0 if by_view else 3.5))
    title = f"{split.title}: {split.test_titles[test]}"
    title = "\n".join(wrap(title, 34 * columns, max_lines=2))
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)
    kind = {"projection": "polar"} if by_view else {}
    panels = figure.subplots(rows, columns, subplot_kw=kind, squeeze=False).ravel()
    for axes in panels[len(results) :]:
        axes.set_visible(False)
    for axes, (label, result) in zip(panels, results.items(), strict=False):
        style = model_style(label)
        if by_view:
            _draw_views(axes, episodes[label], style)
        else:
            _draw_background(axes, setting)
            axes.plot(*trained.T[::-1], ".", color=TRAIN_GREEN, markersize=3.5, alpha=0.55)
            _draw_episodes(axes, episodes[label], style, stages, setting)
        name = wrap(style.label, _LETTERS, max_lines=2)
        place = {"loc": "center", "pad": 18} if by_view else {"loc": "left", "pad": 6}
        text = "\n".join([*name, str(success_rate(result, test))])
        axes.set_title(text, fontsize=10.5, color=LIGHT.ink, **place)
    handles = _view_legend() if by_view else _position_legend(stages, trained=len(trained) > 0)
    for in_a_row in range(len(handles), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=in_a_row)
        figure.draw_without_rendering()
        if in_a_row == 1 or legend.get_window_extent().width < figure.bbox.width:
            break
        legend.remove()
    return figure


def _draw_background(axes: Axes, setting: Setting) -> None:
    """The table from above with the task's objects, as seen by the camera."""
    from para.figures.scene import render_condition, start_at, top_camera

    camera = top_camera(width=960, height=680, span=0.82)
    picture = render_condition(start_at(setting, (0, 0)), camera, setting.robot)
    faded = (255 - 0.35 * (255 - picture.astype(float))).astype(np.uint8)
    corners = camera.unproject_to_height(
        np.array([[0.0, 0.0], [camera.width, camera.height]], np.float64), np.zeros(2)
    )
    (top, left), (bottom, right) = corners[:, :2]  # x runs down the picture, y to the right
    axes.imshow(faded, extent=(left, right, bottom, top), interpolation="antialiased")
    low, high = (corner[::-1] for corner in load_task(setting.task).workspace)
    edge = np.array([low, (high[0], low[1]), high, (low[0], high[1]), low]).T
    axes.plot(*edge, color=LIGHT.muted, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.axis("off")


def _draw_episodes(
    axes: Axes,
    episodes: list[dict[str, Any]],
    style: ModelStyle,
    stages: Sequence[Stage],
    setting: Setting,
) -> None:
    halo = [withStroke(linewidth=3, foreground=LIGHT.surface)]
    for stage in reversed(stages):  # failures on top, where they are few
        x, y = started([e for e in episodes if e["stage"] == stage.name], setting).T
        effects = halo if stage.first else None
        mark = stage.mark(style, LIGHT.surface, _SIZE)
        axes.plot(y, x, linestyle="none", zorder=3, path_effects=effects, **mark)


def _position_legend(stages: Sequence[Stage], trained: bool) -> list[Line2D]:
    neutral = ModelStyle("", LIGHT.muted, "o")
    marks = [
        Line2D([], [], linestyle="none", label=s.words, **s.mark(neutral, LIGHT.surface, _SIZE))
        for s in reversed(stages)
    ]
    if not trained:
        return marks
    dot = Line2D([], [], linestyle="none", marker=".", color=TRAIN_GREEN, label="trained on")
    return [dot, *marks]


def _draw_views(axes: PolarAxes, episodes: list[dict[str, Any]], style: ModelStyle) -> None:
    """Viewpoint cap: radius is theta, angle is phi, strength of the colour the success rate."""
    width = 2 * np.pi / len(PHIS_DEG)
    for (theta, phi), rate in view_rates(episodes).items():
        face = mix(style.colour, LIGHT.surface, 0.04 + 0.96 * rate.value)
        angle = phi * width
        axes.bar(
            angle,
            1,
            width if theta else 2 * np.pi,
            bottom=theta,
            color=face,
            edgecolor=LIGHT.muted,
            linewidth=0.5,
        )
        ink = "white" if rate.value > 0.6 else LIGHT.ink
        text = f"{rate.successes}/{rate.n}"
        radius = theta + 0.5 if theta else 0
        axes.text(angle, radius, text, ha="center", va="center", fontsize=6.5, color=ink)
    axes.set_ylim(0, len(THETAS_DEG))
    axes.set_yticks([])
    axes.set_xticks(np.radians([0, 90, 180, 270]), ["0°", "90°", "180°", "270°"])
    axes.tick_params(pad=1)
    axes.grid(False)
    axes.spines["polar"].set_visible(False)


def _view_legend() -> list[Line2D]:
    look = {"linestyle": "none", "marker": "s", "markersize": 9, "markeredgecolor": LIGHT.muted}
    return [
        Line2D([], [], color=mix(LIGHT.muted, LIGHT.surface, share), label=label, **look)
        for share, label in ((0.04, "0 %"), (0.5, "50 %"), (1.0, "100 % of a view's episodes"))
    ]
