"""What a figure function returns, and small helpers that several figures share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from para.figures.sources import published
from para.figures.style import Theme, model_style
from para.statistics import Rate


@dataclass(frozen=True)
class Drawing:
    """A figure and what it says.

    Attributes:
        figure: The picture.
        alt: The same in words, with the numbers, for readers who do not see it.
        data: Plotted values as plain data, so that they can be audited.
        notes: What is missing, e.g. a policy that was not run.
    """

    figure: Figure
    alt: str
    data: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def percent(rate: Rate) -> str:
    """'96 % [90, 98] n=100'."""
    low, high = rate.interval
    return f"{100 * rate.value:.0f} % [{100 * low:.0f}, {100 * high:.0f}] n={rate.n}"


def rate_data(rate: Rate) -> dict[str, float]:
    """Successes, n, percentage and its 95 % interval (in percent)."""
    low, high = rate.interval
    return {
        "successes": rate.successes,
        "n": rate.n,
        "percent": 100 * rate.value,
        "low": 100 * low,
        "high": 100 * high,
    }


def rate_line(axes: Axes, model: str, xs: Sequence[float], rates: Sequence[Rate]) -> None:
    """Success rates [%] with 95 % intervals as a band, in the policy's colour and mark."""
    style = model_style(model)
    values = np.array([100 * r.value for r in rates])
    low, high = 100 * np.array([r.interval for r in rates]).T
    axes.fill_between(xs, low, high, color=style.colour, alpha=0.17, linewidth=0, zorder=2)
    axes.vlines(xs, low, high, color=style.colour, linewidth=1.1, alpha=0.75, zorder=3)
    axes.plot(
        xs, values, style.line, color=style.colour, marker=style.marker, zorder=4, clip_on=False
    )


def image_panel(axes: Axes, image: np.ndarray) -> None:
    """An image (H, W, 3) whose pixel coordinates (u, v) are the data coordinates."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0), interpolation="none")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])


def published_line(axes: Axes, model: str, xs: Sequence[float], values: Sequence[float]) -> None:
    """Published success rates [%]: thin, pale, hollow marks, never to be taken for measured."""
    style = model_style(model)
    axes.plot(
        xs,
        values,
        color=style.colour,
        linestyle=(0, (3, 2)),
        marker=style.marker,
        markerfacecolor="none",
        markersize=5,
        linewidth=1.1,
        alpha=0.7,
        zorder=1.5,
        clip_on=False,
    )


def published_name(model: str) -> str:
    """What a policy was called where its published numbers come from."""
    return published()["names"][model]


def policy_legend(axes: Axes, models: Sequence[str], beside: Sequence[str] = ()) -> None:
    """Legend above of measured policies and of those whose published numbers are drawn beside."""
    handles = []
    for model in dict.fromkeys([*models, *beside]):
        style = model_style(model)
        look = {"color": style.colour, "marker": style.marker}
        if model in models:
            handles.append(Line2D([], [], linestyle=style.line, label=style.label, **look))
        if model in beside:
            look |= {"markerfacecolor": "none", "markersize": 5, "linewidth": 1.1, "alpha": 0.7}
            label = f"{published_name(model)}, published"
            handles.append(Line2D([], [], linestyle=(0, (3, 2)), label=label, **look))
    place = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0)}
    axes.legend(handles=handles, ncols=2, columnspacing=1.0, handlelength=1.8, **place)


def demos_axis(axes: Axes, counts: Sequence[int], where: str) -> None:
    """A logarithmic x axis of numbers of demonstrations, which grow by a constant factor."""
    axes.set_xscale("log", base=counts[1] / counts[0])
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlim(0.88 * counts[0], 1.13 * counts[-1])
    axes.set_xlabel(f"Demonstrations, {where}")


def percent_axis(axes: Axes, label: str = "Success rate [%]") -> None:
    """A y axis from 0 to 100 percent."""
    axes.set_ylim(0, 101.5)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel(label)


def missing_notes(found: Sequence[str], wanted: Sequence[str], what: str) -> tuple[str, ...]:
    """One sentence for each policy that was not run."""
    return tuple(
        f"{model_style(model).label} was not run on {what}."
        for model in wanted
        if model not in found
    )


def panel_title(axes: Axes, text: str, theme: Theme) -> None:
    """A small title in plain weight, for panels of one figure."""
    axes.set_title(text, fontsize=10.5, fontweight="normal", color=theme.ink, loc="left")
