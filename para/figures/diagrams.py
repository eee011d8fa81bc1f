"""Schematic diagrams: the two-stage training of the video backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from para.figures.drawing import Drawing
from para.figures.sources import Sources, published
from para.figures.style import PARA_BLUE, TRAIN_GREEN, Theme, mix, new_figure


def box(
    axes: Axes,
    theme: Theme,
    x: float,
    y: float,
    width: float,
    height: float,
    text: str,
    **look: Any,
) -> None:
    """A rounded box with centred text; `colour` tints it, `frozen=True` dashes its outline."""
    colour = look.get("colour", theme.muted)
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.09",
            facecolor=mix(colour, theme.surface, look.get("strength", 0.2)),
            edgecolor=colour,
            linewidth=1.2,
            linestyle="--" if look.get("frozen") else "-",
        )
    )
    axes.text(
        x + width / 2,
        y + height / 2,
        text,
        ha="center",
        va="center",
        fontsize=look.get("fontsize", 9.5),
        linespacing=1.25,
        fontweight=look.get("fontweight", "normal"),
    )


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], theme: Theme, **look: Any
) -> None:
    """An arrow from `start` to `end` in data coordinates."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=11,
            linewidth=1.4,
            color=look.pop("color", theme.muted),
            shrinkA=0,
            shrinkB=0,
            **look,
        )
    )


def two_stage_diagram(sources: Sources, theme: Theme) -> Drawing:
    """How the video backbone is trained: the video model alone, then it and the heads together."""
    figure = new_figure(5.2, 4.1)
    axes = figure.add_subplot()
    axes.set_xlim(0, 5.2)
    axes.set_ylim(0.15, 4.25)
    axes.axis("off")
    _stage(axes, theme, 2.42, "Stage 1", "video", "learn to predict what will be seen")
    box(axes, theme, 0.1, 2.66, 1.05, 0.8, "current\nframe")
    box(axes, theme, 1.55, 2.66, 1.65, 0.8, "video model\n(UNet)", colour=TRAIN_GREEN)
    _frames(axes, theme, 3.6, 2.66, "future frames")
    arrow(axes, (1.15, 3.06), (1.55, 3.06), theme)
    arrow(axes, (3.2, 3.06), (3.6, 3.06), theme)
    _stage(axes, theme, 0.1, "Stage 2", "joint", "learn to act, features adapt along")
    box(axes, theme, 0.1, 0.34, 1.05, 0.8, "current\nframe")
    box(axes, theme, 1.55, 0.34, 1.65, 0.8, "the same UNet,\nits features", colour=TRAIN_GREEN)
    box(axes, theme, 3.6, 0.34, 1.5, 0.8, "PARA heads:\nwhere, how high", colour=PARA_BLUE)
    arrow(axes, (1.15, 0.74), (1.55, 0.74), theme)
    arrow(axes, (3.2, 0.74), (3.6, 0.74), theme)
    arrow(axes, (2.375, 2.66), (2.375, 1.14), theme, color=TRAIN_GREEN)
    axes.text(2.47, 2.18, "weights", fontsize=9.5, color=theme.ink, va="center")
    alt = (
        "Diagram of two-stage training. Stage 1: a video diffusion model learns to predict future "
        "frames from the current frame. Stage 2: its weights go on, and UNet and PARA heads are "
        "trained together. Published success: "
        + ", ".join(f"{row['title']} {row['success']} %" for row in published()["video"])
        + "."
    )
    return Drawing(figure, alt)


def _stage(axes: Axes, theme: Theme, y: float, title: str, name: str, text: str) -> None:
    """The heading of a stage, above its row of boxes."""
    axes.text(0.1, y + 1.35, f"{title}: {name}", fontsize=11.5, fontweight="bold", va="bottom")
    axes.text(5.1, y + 1.37, text, fontsize=9.5, va="bottom", ha="right", color=theme.muted)


def _frames(axes: Axes, theme: Theme, x: float, y: float, text: str) -> None:
    """A stack of frames."""
    for k in (2, 1, 0):
        box(
            axes,
            theme,
            x + 0.09 * k,
            y + 0.08 * k - 0.04,
            1.3,
            0.72,
            text if k == 0 else "",
            colour=TRAIN_GREEN,
            strength=np.interp(k, [0, 2], [0.16, 0.05]),
        )
