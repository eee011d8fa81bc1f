"""Success maps: where on the workspace, and from which viewpoints, each policy succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from envs.base import Condition, load_task
from envs.demos import DEMO_SETS
from envs.splits import SplitConfig, load_split, training_indices
from envs.table.viewpoints import PHIS_DEG, THETAS_DEG
from envs.table.workspace import grid_positions
from para.evaluation.results import MAIN_MODELS
from para.figures.drawing import Drawing, missing_notes, percent, rate_data
from para.figures.sources import Sources
from para.figures.splits import split_title
from para.figures.style import TRAIN_GREEN, ModelStyle, Theme, mix, model_style, new_figure
from para.figures.tasks import Stage
from para.runs.identity import Setting
from para.statistics import Rate

View = tuple[float, float]
"""A viewpoint as indices (theta, phi) into THETAS_DEG and PHIS_DEG; halves lie between two."""
_STEP = 2 * np.pi / len(PHIS_DEG)
"""From one azimuth to the next [rad]."""


def draw_workspace(axes: Axes, theme: Theme) -> None:
    """The workspace [m] as the default camera sees it: y to the right, the robot at the top."""
    low, high = grid_positions().min(0), grid_positions().max(0)
    size = high - low
    axes.add_patch(
        Rectangle(
            (low[1] - 0.015, low[0] - 0.015),
            size[1] + 0.03,
            size[0] + 0.03,
            facecolor="none",
            edgecolor=theme.muted,
            linewidth=0.8,
        )
    )
    axes.set_xlim(low[1] - 0.022, high[1] + 0.022)
    axes.set_ylim(high[0] + 0.022, low[0] - 0.06)
    axes.set_aspect("equal")
    axes.axis("off")


def draw_outcomes(
    axes: Axes,
    style: ModelStyle,
    episodes: Sequence[dict[str, Any]],
    stages: Sequence[Stage],
    theme: Theme,
    setting: Setting,
) -> None:
    """One mark per episode where it started: filled = success, a cross = nothing reached."""
    for stage in stages:
        x, y = started([e for e in episodes if e["stage"] == stage.name], setting).T
        axes.plot(y, x, linestyle="none", zorder=3, **stage.mark(style, theme.surface, 6.2))


def position_success_map(sources: Sources, theme: Theme, split: str) -> Drawing:
    """Every test start of `split` on the workspace with its outcome, policies side by side."""
    models = sources.require(split)
    training = trained_positions(load_split(split), sources.setting)
    figure = new_figure(5.2, 2.45)
    panels = figure.subplots(1, 2)
    data, words = {}, []
    for axes, model in zip(panels, MAIN_MODELS, strict=True):
        draw_workspace(axes, theme)
        axes.plot(*training.T[::-1], ".", color=TRAIN_GREEN, markersize=3.2, alpha=0.8)
        style = model_style(model)
        episodes = sources.results.episodes(split, model, "ood")
        if model not in models:
            axes.set_title(f"{style.label}: not run", fontweight="normal", color=theme.muted)
            continue
        rate = sources.results.rate(split, model, "ood")
        draw_outcomes(axes, style, episodes, sources.stages, theme, sources.setting)
        axes.set_title(f"{style.label}  {rate.successes}/{rate.n}")
        data[model] = rate_data(rate)
        words.append(f"{style.label} {percent(rate)}")
    for axes in panels:
        axes.text(0, -0.235, "robot", ha="center", va="center", fontsize=9.5, color=theme.muted)
    grey = ModelStyle("", theme.muted, "o")
    handles = [
        Line2D([], [], linestyle="none", marker=".", color=TRAIN_GREEN, label="train"),
        *(
            Line2D([], [], linestyle="none", label=stage.meaning, **mark)
            for stage in sources.stages[::-1]
            for mark in [stage.mark(grey, theme.surface, 6.2)]
        ),
    ]
    figure.legend(
        handles=handles, ncols=4, loc="outside lower center", columnspacing=1.0, handletextpad=0.2
    )
    alt = (
        f"Map of the workspace with the outcome at every test position, {split_title(split)}: "
        + "; ".join(words)
        + "."
    )
    return Drawing(figure, alt, data, missing_notes(models, MAIN_MODELS, split))


def started(episodes: Sequence[dict[str, Any]], setting: Setting) -> np.ndarray:
    """Where episodes started, (n, 2) [m]: the first of the places that decide a start.

    Of objects that stand apart that is the one that is moved, as on the training grid.
    """
    task = load_task(setting.task)

    def place(condition: dict[str, Any]) -> Sequence[float]:
        if condition["objects"] and task.anchors(setting.layout):
            return task.where(Condition.from_dict(condition), setting.layout)[0]
        return condition["position"]

    places = [place(episode["condition"]) for episode in episodes]
    return np.array(places, float).reshape(-1, 2)


def trained_positions(split: SplitConfig, setting: Setting) -> np.ndarray:
    """Where the demos stand that train `split`, (n, 2) [m]; none where they are on no grid."""
    task = load_task(setting.task)
    if not DEMO_SETS[split.dataset_for(task, setting.layout)].on_grid:
        return np.empty((0, 2))
    return grid_positions()[training_indices(split, task, setting.layout)]


def view_rates(episodes: Sequence[dict[str, Any]]) -> dict[View, Rate]:
    """Successes and episodes of all seeds per viewpoint, for colours.

    At theta = 0 all phi are one view.
    """
    outcomes: dict[View, list[bool]] = {}
    for episode in episodes:
        condition = episode["condition"]
        view = view_of(condition["theta_deg"], condition["phi_deg"])
        outcomes.setdefault(view, []).append(episode["success"])
    return {view: Rate.of(outcomes[view]) for view in sorted(outcomes)}


def view_success_map(sources: Sources, theme: Theme, split: str) -> Drawing:
    """Success rate per viewpoint on the polar grid (radius theta, angle phi)."""
    models = sources.require(split)
    trained = trained_views(split, sources.setting)
    figure = new_figure(5.2, 3.2)
    panels = figure.subplots(1, 2, subplot_kw={"projection": "polar"})
    data, words = {}, []
    for axes, model in zip(panels, MAIN_MODELS, strict=True):
        style = model_style(model)
        episodes = sources.results.episodes(split, model, "ood")
        rates = view_rates(episodes)
        _draw_view_cells(axes, {v: r.value for v, r in rates.items()}, style.colour, theme)
        for theta, phi in trained:
            axes.plot(phi * _STEP, theta + 0.5 if theta else 0, **_trained_mark(theme))
        total = sources.results.rate(split, model, "ood")
        title = (
            f"{style.label}  {total.successes}/{total.n}" if episodes else f"{style.label}: not run"
        )
        axes.set_title(title, loc="center", pad=14)
        if episodes:
            data[model] = {
                f"{t:g},{p:g}": {"successes": r.successes, "n": r.n} for (t, p), r in rates.items()
            }
            words.append(f"{style.label} {percent(total)}")
    figure.legend(
        handles=[
            *(
                Line2D(
                    [],
                    [],
                    linestyle="none",
                    marker="s",
                    markersize=9,
                    color=mix(theme.muted, theme.surface, share),
                    markeredgecolor=theme.muted,
                    label=label,
                )
                for share, label in ((0.04, "0 %"), (0.5, "50 %"), (1.0, "100 %"))
            ),
            Line2D([], [], linestyle="none", label="trained view", **_trained_mark(theme)),
        ],
        ncols=4,
        loc="outside lower center",
        columnspacing=1.2,
        handletextpad=0.3,
    )
    alt = f"Success per camera viewpoint on a polar grid, {split_title(split)}: {'; '.join(words)}."
    return Drawing(figure, alt, data, missing_notes(models, MAIN_MODELS, split))


def trained_views(split: str, setting: Setting) -> list[View]:
    """Viewpoints (theta index, phi index) of the demos that train `split`; phi 0 at theta = 0."""
    config, task = load_split(split), load_task(setting.task)
    indices = training_indices(config, task, setting.layout)
    demos = DEMO_SETS[config.dataset_for(task, setting.layout)]
    views = {demos.view(index) for index in indices}
    return sorted({(theta, phi if theta else 0) for theta, phi in views})


def view_of(theta_deg: float, phi_deg: float) -> View:
    """The viewpoint at these angles, to half a step, as indices; phi 0 at theta = 0."""
    theta = round(2 * theta_deg / THETAS_DEG[1]) / 2
    phi = round(2 * (phi_deg % 360) / PHIS_DEG[1]) / 2 % len(PHIS_DEG)
    return theta, phi if theta else 0


def angles_deg(view: View) -> tuple[float, float]:
    """Polar angle and azimuth [deg] of a viewpoint that is told by indices."""
    return view[0] * THETAS_DEG[1], view[1] * PHIS_DEG[1]


def _trained_mark(theme: Theme) -> dict[str, Any]:
    return {
        "marker": "o",
        "markersize": 5,
        "color": TRAIN_GREEN,
        "markeredgecolor": theme.surface,
        "markeredgewidth": 0.8,
        "clip_on": False,
    }


def _draw_view_cells(axes: Axes, values: dict[View, float], colour: str, theme: Theme) -> None:
    """Cells of the viewpoint cap: strength of the colour is the success rate, 0 ... 1."""
    for (theta, phi), value in values.items():
        face = mix(colour, theme.surface, 0.04 + 0.96 * value)
        width = _STEP if theta else 2 * np.pi
        axes.bar(
            phi * _STEP,
            1.0,
            width,
            bottom=theta,
            color=face,
            edgecolor=theme.surface,
            linewidth=1.2 if theta else 0,
        )
    rings = len(THETAS_DEG)
    axes.set_ylim(0, rings)
    axes.set_yticks([])
    axes.set_xticks(np.radians([0, 90, 180, 270]), ["0°", "90°", "180°", "270°"], fontsize=9.5)
    axes.tick_params(pad=1)
    axes.grid(False)
    axes.spines["polar"].set(color=theme.grid)
