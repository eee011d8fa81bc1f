"""What carries it (camera, pixels, augmentation); how many demonstrations and cameras it takes."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from baselines.floors import FLOORS
from envs.base import load_task
from para.evaluation.result_set import ResultSet
from para.evaluation.results import model_order
from para.figures.drawing import Drawing, panel_title, percent, percent_axis, rate_data
from para.figures.sources import NotRun, Sources
from para.figures.splits import camera_splits, demo_splits, split_title
from para.figures.style import ModelStyle, Theme, model_style, new_figure, soft_grid
from para.places import typed
from para.policies.base import POLICIES, WARPS, Policy
from para.policies.frames import CAMERA, IMAGE
from para.statistics import Rate

LAYOUT = "together"
"""Where objects stand in the three-way figure and in that of cameras: all policies must manage
their tests in distribution."""
THREE_WAY_SPLITS = ("lr", "corner_n8")
THREE_WAY_MODELS = ("regression", "regression_camera", "pixel_regression", "keypoint", "para")
_WITH = ("camera", "forced")
"""Augmentations that move the camera; the second, for policies that cannot follow."""


@dataclass(frozen=True)
class Factors:
    """What a policy has of the three.

    Attributes:
        model: Its name.
        told: It is told the camera.
        pixel: It answers in pixels.
        augmented: It was trained with images whose camera moves along.
        label: Its label in results; None if it was not run.
    """

    model: str
    told: bool
    pixel: bool
    augmented: bool
    label: str | None


def three_way(results: ResultSet) -> list[Factors]:
    """The rows of the three-way figure and table; a row that was not run is there, too."""
    rows, results = [], results.newest(THREE_WAY_SPLITS)
    for model in THREE_WAY_MODELS:
        kind, pixel = _facts(model)
        for augmented in (False, True):
            found = [
                r.model
                for r in results.results
                if r.id.model == model
                and (r.id.augment in _WITH) == augmented
                and r.id.augment in (*_WITH, "colour")
            ]
            label = found[0] if found else None
            rows.append(Factors(model, kind.told_camera, pixel, augmented, label))
    return rows


@cache
def _facts(model: str) -> tuple[type[Policy], bool]:
    """The class of a policy, and whether it answers in pixels."""
    schema = POLICIES.schema(model)
    kind = POLICIES[schema.kind]
    names = {field.name for field in fields(schema)}
    return kind, kind.frame is IMAGE or "head" in names


def followers() -> list[tuple[str, str, str, str]]:
    """Who can follow what, from the classes: (policy, told the camera, answers with, follows)."""
    rows = []
    for model in sorted(POLICIES.options(), key=model_order):
        if not POLICIES.schema(model).acts:
            continue
        kind, pixel = _facts(model)
        answer = "pixels" if pixel else f"{'camera' if kind.frame is CAMERA else 'world'} x, y, z"
        every = "every warp" if kind.follows == WARPS else ", ".join(sorted(kind.follows))
        rows.append((model, "yes" if kind.told_camera else "no", answer, every or "colours only"))
    return rows


def three_way_inputs(sources: Sources) -> list[Path]:
    """Its result files; `NotRun` without any."""
    results = sources.laid(LAYOUT).results
    labels = {row.label for row in three_way(results)} - {None}
    return _require(_paths(results, THREE_WAY_SPLITS, labels), "three_way")


def three_way_figure(sources: Sources, theme: Theme) -> Drawing:
    """Success of each combination, every training seed as a dot; what was not run says so."""
    results = sources.laid(LAYOUT).results.newest(THREE_WAY_SPLITS)
    rows = three_way(results)
    figure = new_figure(5.2, 5.2)
    panels = figure.subplots(1, 2, sharey=True)
    heights = [1.25 * (k // 2) + 0.42 * (k % 2) for k in range(len(rows))]
    data: dict[str, dict[str, dict[str, float]]] = {}
    words = []
    for axes, split in zip(panels, THREE_WAY_SPLITS, strict=True):
        for y, row in zip(heights, rows, strict=True):
            name = f"{_factors(row)} ({model_style(row.model).label})"
            rate = results.rate(split, row.label, "ood") if row.label else Rate(0, 0)
            if not rate.n:
                axes.text(2, y, "not run", va="center", fontsize=9.5, color=theme.muted)
                continue
            _seeds(axes, y, rate, model_style(row.model), row.augmented, theme)
            data.setdefault(split, {})[row.label or ""] = rate_data(rate)
            words.append(f"{split_title(split)}, {name}: {percent(rate)}")
        panel_title(axes, split_title(split), theme)
        axes.set_xlim(-3, 103)
        axes.set_xticks([0, 50, 100])
        axes.set_ylim(max(heights) + 0.5, -0.5)
        soft_grid(axes, "x")
        axes.spines["left"].set_visible(False)
    middles = [(a + b) / 2 for a, b in zip(heights[::2], heights[1::2], strict=True)]
    panels[0].set_yticks(middles, [*map(_row_name, rows[::2])], fontsize=9.5)
    panels[1].tick_params(
        labelleft=False
    )  # the two share the axis, and room would be left for both
    figure.supxlabel("Success on what was held out [%]", fontsize=10.5)
    handles = [
        Line2D([], [], linestyle="none", marker="o", color=theme.muted, label=label, **look)
        for label, look in (
            ("colours only", {"markerfacecolor": "none"}),
            ("camera moves with the image", {}),
            ("one seed", {"markersize": 3}),
        )
    ]
    figure.legend(
        handles=handles, ncols=3, loc="outside upper left", handletextpad=0.1, columnspacing=0.9
    )
    alt = f"Success by what a policy is told, answers, and is trained with. {'; '.join(words)}."
    return Drawing(figure, alt, data)


def _row_name(row: Factors) -> str:
    told = "camera" if row.told else "no camera"
    answer = "pixels" if row.pixel else "world x, y, z"
    return "\n".join([*textwrap.wrap(model_style(row.model).label, 18), f"{told}, {answer}"])


def _factors(row: Factors) -> str:
    told = "told the camera" if row.told else "not told the camera"
    output = "answers in pixels" if row.pixel else "answers in world coordinates"
    return f"{told}, {output}, {'with' if row.augmented else 'without'} the augmentation"


def _seeds(axes: Axes, y: float, rate: Rate, style: ModelStyle, filled: bool, theme: Theme) -> None:
    """A rate with its interval on the line `y`, and a dot for each training seed."""
    low, high = rate.interval
    axes.hlines(y, 100 * low, 100 * high, color=style.colour, linewidth=1.4)
    face = style.colour if filled else theme.surface
    look = {"color": style.colour, "markerfacecolor": face, "clip_on": False, "zorder": 4}
    axes.plot(100 * rate.value, y, style.marker, markersize=7.5, **look)
    if seeds := [100 * seed for seed in rate.seeds]:  # an empty line would spoil the layout
        dots = {"color": style.colour, "markersize": 2.6, "clip_on": False}
        axes.plot(seeds, [y + 0.17] * len(seeds), "o", **dots)


# --- curves over numbers of demos and cameras -----------------------------------------------------


def demonstrations_inputs(sources: Sources) -> list[Path]:
    """Result files of every layout of the task; `NotRun` without any."""
    sets = [sources.laid(layout).results for layout in _layouts(sources)]
    splits = demo_splits().values()
    return _require([p for results in sets for p in _paths(results, splits)], "demonstrations")


def demonstrations_figure(sources: Sources, theme: Theme) -> Drawing:
    """Success against the number of demonstrations, a panel per layout, a line per policy."""
    curve = {n: split for n, split in demo_splits().items() if n != 32}
    found = {layout: sources.laid(layout).results for layout in _layouts(sources)}
    layouts = [one for one, results in found.items() if _lines(results, curve)] or [*found][:1]
    figure = new_figure(5.2, 4.3)
    panels = np.atleast_1d(figure.subplots(1, len(layouts), sharey=True))
    data, words, notes = {}, [], []
    shown: list[str] = []
    for axes, layout in zip(panels, layouts, strict=True):
        drawn, told, missing = _curves(axes, found[layout], curve, theme)
        shown += [label for label in drawn if label not in shown]
        data[layout] = drawn
        words += [f"Objects {layout}, {text}" for text in told]
        notes += [f"{text} (objects {layout})." for text in missing]
        panel_title(axes, f"objects {layout}", theme)
        axes.set_xlabel("Demonstrations")
    percent_axis(panels[0], "Success on the same starts [%]")
    _legend(figure, shown)
    alt = (
        "Success against the number of demonstrations: one in the middle, two in opposite corners, "
        f"up to 64 in all corners, 256 everywhere. {' '.join(words)}"
    )
    return Drawing(figure, alt, data, tuple(notes))


def cameras_inputs(sources: Sources) -> list[Path]:
    """Its result files; `NotRun` without any."""
    return _require(_paths(sources.laid(LAYOUT).results, camera_splits().values()), "cameras")


def cameras_figure(sources: Sources, theme: Theme) -> Drawing:
    """Success on views between the trained ones, against the number of trained viewpoints."""
    figure = new_figure(5.2, 3.9)
    axes = figure.add_subplot()
    data, words, notes = _curves(axes, sources.laid(LAYOUT).results, camera_splits(), theme)
    axes.set_xlabel("Training cameras, 256 demonstrations in all")
    percent_axis(axes, "Success from new views [%]")
    _legend(figure, list(data))
    alt = f"Success from new views against the number of training cameras. {' '.join(words)}"
    return Drawing(figure, alt, data, tuple(f"{text}." for text in notes))


def _curves(
    axes: Axes, results: ResultSet, curve: dict[int, str], theme: Theme
) -> tuple[dict[str, dict[str, dict[str, float]]], list[str], list[str]]:
    """Rates with intervals against a number, on a logarithmic axis.

    Returns:
        Plotted values by policy and number, the same in words, and what was not run.
    """
    lines = _lines(results, curve)
    data, words, notes = {}, [], []
    for k, (label, rates) in enumerate(lines.items()):
        style = model_style(label)
        xs = np.array(list(rates)) * 1.035 ** (k - (len(lines) - 1) / 2)  # side by side
        low, high = 100 * np.array([rate.interval for rate in rates.values()]).T
        axes.vlines(xs, low, high, color=style.colour, linewidth=1.1, alpha=0.75)
        hollow = {"markerfacecolor": theme.surface} if "@" in label else {}
        values = [100 * rate.value for rate in rates.values()]
        look = {"color": style.colour, "marker": style.marker, "markersize": 5.5, **hollow}
        axes.plot(xs, values, style.line, linewidth=1.5, clip_on=False, zorder=4, **look)
        data[label] = {str(n): rate_data(rate) for n, rate in rates.items()}
        listed = ", ".join(f"{n}: {percent(rate)}" for n, rate in rates.items())
        words.append(f"{style.label}: {listed}.")
        if missing := [str(n) for n in curve if n not in rates]:
            notes.append(f"{style.label} was not run with {', '.join(missing)}")
    axes.set_xscale("log")
    axes.set_xticks(list(curve), [str(n) for n in curve])
    axes.minorticks_off()
    axes.set_xlim(0.75 * min(curve), 1.33 * max(curve))
    axes.set_ylim(0, 101.5)
    soft_grid(axes)
    return data, words, notes


def _lines(results: ResultSet, curve: dict[int, str]) -> dict[str, dict[int, Rate]]:
    """Label -> number -> rate of what learns; with one point a policy is of another figure."""
    results = results.newest(curve.values())
    found = {}
    for label in sorted({r.model for r in results.results} - {*FLOORS}, key=model_order):
        rates = {n: results.rate(split, label, "ood") for n, split in curve.items()}
        found[label] = {n: rate for n, rate in rates.items() if rate.n}
    return {label: rates for label, rates in found.items() if len(rates) > 1}


def _legend(figure: Figure, labels: Sequence[str]) -> None:
    handles = []
    for label in sorted(labels, key=model_order):
        style = model_style(label)
        look = {"color": style.colour, "marker": style.marker, "markersize": 5.5}
        look |= {"markerfacecolor": "none"} if "@" in label else {}
        handles.append(Line2D([], [], linestyle=style.line, label=style.label, **look))
    figure.legend(
        handles=handles, ncols=2, loc="outside upper left", columnspacing=1.0, handlelength=1.8
    )


def _layouts(sources: Sources) -> tuple[str, ...]:
    """All of the task's, the one that was published first."""
    return tuple(sorted(load_task(sources.setting.task).layouts, reverse=True))


def _paths(
    results: ResultSet,
    splits: Collection[str],
    labels: Collection[str | None] | None = None,
) -> list[Path]:
    """Files of these policies on these splits; None: of all policies."""
    found = (r for r in results.results if r.split in splits)
    return [r.path for r in found if labels is None or r.model in labels]


def _require(paths: list[Path], figure: str) -> list[Path]:
    if not paths:
        raise NotRun(f"figure={figure} was not run.", f"{typed('reproduce')} figure={figure}")
    return paths
