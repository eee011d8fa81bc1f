"""Success maps: where on the workspace, and from which viewpoints, each policy succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from envs.base import load_task
from envs.splits import load_split, training_indices
from envs.table.legacy import TASK
from envs.table.viewpoints import PHIS_DEG, THETAS_DEG
from envs.table.workspace import grid_positions
from para.figures.charts import SPLIT_TITLES
from para.figures.drawing import Drawing, missing_notes, percent, rate_data
from para.figures.sources import MAIN_MODELS, Sources
from para.figures.style import TRAIN_GREEN, Theme, mix, model_style, new_figure
from para.statistics import Rate

VIEW_TABLE_SPLITS = ("vp_default_to_all", "vp_lr", "vp_io")


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


def draw_outcomes(axes: Axes, model: str, episodes: Sequence[dict[str, Any]], theme: Theme) -> None:
    """One mark per episode: filled = placed, hollow = lifted only, small cross = never lifted."""
    style = model_style(model)
    for stage, look in {
        "MISS": {"marker": "x", "markersize": 5, "markeredgewidth": 1.1, "alpha": 0.8},
        "GRASP": {"marker": style.marker, "markersize": 5.5, "markerfacecolor": "none"},
        "PLACE": {"marker": style.marker, "markersize": 6.2, "markeredgecolor": theme.surface}
        | {"markeredgewidth": 0.6},
    }.items():
        points = [e["condition"]["position"] for e in episodes if e["stage"] == stage]
        x, y = np.array(points).reshape(-1, 2).T
        axes.plot(y, x, linestyle="none", color=style.colour, zorder=3, **look)


def position_success_map(sources: Sources, theme: Theme, split: str) -> Drawing:
    """Every test start of `split` on the workspace with its outcome, PARA beside ACT."""
    models = sources.results.require(split)
    training = grid_positions()[training_indices(load_split(split), load_task(TASK))]
    figure = new_figure(5.2, 2.45)
    panels = figure.subplots(1, 2)
    data, words = {}, []
    for axes, model in zip(panels, MAIN_MODELS, strict=True):
        draw_workspace(axes, theme)
        axes.plot(training[:, 1], training[:, 0], ".", color=TRAIN_GREEN, markersize=3.2, alpha=0.8)
        style = model_style(model)
        episodes = sources.results.episodes(split, model, "ood")
        if model not in models:
            axes.set_title(f"{style.label}: not run", fontweight="normal", color=theme.muted)
            continue
        rate = Rate.of([e["success"] for e in episodes])
        draw_outcomes(axes, model, episodes, theme)
        axes.set_title(f"{style.label}  {rate.successes}/{rate.n}")
        data[model] = rate_data(rate)
        words.append(f"{style.label} {percent(rate)}")
    for axes in panels:
        axes.text(0, -0.235, "robot", ha="center", va="center", fontsize=9.5, color=theme.muted)
    grey = {"linestyle": "none", "color": theme.muted}
    handles = [
        Line2D([], [], linestyle="none", marker=".", color=TRAIN_GREEN, label="train"),
        Line2D([], [], marker="o", label="placed", **grey),
        Line2D([], [], marker="o", markerfacecolor="none", label="lifted only", **grey),
        Line2D([], [], marker="x", markersize=5, label="never lifted", **grey),
    ]
    figure.legend(
        handles=handles, ncols=4, loc="outside lower center", columnspacing=1.0, handletextpad=0.2
    )
    alt = (
        f"Map of the workspace with the outcome at every test position, {SPLIT_TITLES[split]}: "
        + "; ".join(words)
        + "."
    )
    return Drawing(figure, alt, data, missing_notes(models, MAIN_MODELS, split))


def view_rates(episodes: Sequence[dict[str, Any]]) -> dict[tuple[int, int], Rate]:
    """Success rate per viewpoint (theta index, phi index); at theta = 0 all phi are one view."""
    outcomes: dict[tuple[int, int], list[bool]] = {}
    for episode in episodes:
        condition = episode["condition"]
        theta = int(np.argmin(np.abs(np.array(THETAS_DEG) - condition["theta_deg"])))
        phi = int(np.argmin(np.abs(np.array(PHIS_DEG) - condition["phi_deg"] % 360)))
        outcomes.setdefault((theta, phi if theta else 0), []).append(episode["success"])
    return {view: Rate.of(outcomes[view]) for view in sorted(outcomes)}


def view_success_map(sources: Sources, theme: Theme, split: str) -> Drawing:
    """Success rate per viewpoint on the polar grid (radius theta, angle phi), PARA beside ACT."""
    models = sources.results.require(split)
    trained = trained_views(split)
    figure = new_figure(5.2, 3.2)
    panels = figure.subplots(1, 2, subplot_kw={"projection": "polar"})
    data, words = {}, []
    for axes, model in zip(panels, MAIN_MODELS, strict=True):
        style = model_style(model)
        episodes = sources.results.episodes(split, model, "ood")
        rates = view_rates(episodes)
        _draw_view_cells(axes, {v: r.value for v, r in rates.items()}, style.colour, theme)
        for theta, phi in trained:
            axes.plot(
                np.radians(PHIS_DEG[phi]), theta + 0.5 if theta else 0, **_trained_mark(theme)
            )
        total = Rate.of([e["success"] for e in episodes])
        title = (
            f"{style.label}  {total.successes}/{total.n}" if episodes else f"{style.label}: not run"
        )
        axes.set_title(title, loc="center", pad=14)
        if episodes:
            data[model] = {f"{t},{p}": rate_data(r) for (t, p), r in rates.items()}
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
    alt = (
        f"Success per camera viewpoint on a polar grid, {SPLIT_TITLES[split]}: {'; '.join(words)}."
    )
    return Drawing(figure, alt, data, missing_notes(models, MAIN_MODELS, split))


def trained_views(split: str) -> list[tuple[int, int]]:
    """Viewpoints (theta index, phi index) of the demos that train `split`; phi 0 at theta = 0."""
    views = load_split(split).train_views
    return sorted({(t, p if t else 0) for t in views.thetas for p in views.phis})


def _trained_mark(theme: Theme) -> dict[str, Any]:
    return {
        "marker": "o",
        "markersize": 5,
        "color": TRAIN_GREEN,
        "markeredgecolor": theme.surface,
        "markeredgewidth": 0.8,
        "clip_on": False,
    }


def _draw_view_cells(
    axes: Axes, values: dict[tuple[int, int], float], colour: str, theme: Theme
) -> None:
    """Cells of the viewpoint cap: strength of the colour is the success rate, 0 ... 1."""
    step = 2 * np.pi / len(PHIS_DEG)
    for (theta, phi), value in values.items():
        face = mix(colour, theme.surface, 0.04 + 0.96 * value)
        width = step if theta else 2 * np.pi
        axes.bar(
            np.radians(PHIS_DEG[phi]),
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
