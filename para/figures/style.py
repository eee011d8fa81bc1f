"""One visual language for every figure: colours, marks, type, light and dark.

A policy keeps its hue and its mark everywhere; outcome is told by fill and shape, never by hue
alone. The colours are from the colour-blind-safe set of Okabe & Ito (2008), shifted so that each
has a contrast of at least 3:1 on both surfaces (WCAG 2.2, non-text contrast).
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from baselines.floors import FLOORS
from para.files import atomic_write
from para.runs.labels import label_parts, policy_title


@dataclass(frozen=True)
class Theme:
    """The neutral colours of a figure; data colours are the same in every theme."""

    name: str
    surface: str
    """What lies behind the figure (PNG only; the SVG is transparent)."""
    ink: str
    muted: str
    """Secondary text, still 4.5:1 on the surface."""
    grid: str
    suffix: str
    """Appended to the file's stem."""


LIGHT = Theme("light", "#ffffff", "#1b1f24", "#57606a", "#d8dee4", "")
DARK = Theme("dark", "#0e1116", "#e9edf1", "#a3adb8", "#30373f", "-dark")
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class ModelStyle:
    """How one policy looks: the same in every figure."""

    label: str
    colour: str
    marker: str
    line: str = "-"


PARA_BLUE, BASELINE_ORANGE = "#1f83c6", "#d8611f"
_LOOKS: dict[str, tuple[str, str, str]] = {
    "para": (PARA_BLUE, "o", "-"),
    "regression": (BASELINE_ORANGE, "s", "-"),
    "para_volume": (PARA_BLUE, "P", "--"),
    "act": (BASELINE_ORANGE, "^", "--"),
    "act_published": (BASELINE_ORANGE, "D", ":"),
    "regression_camera": ("#8a7d00", "s", "-"),
    "act_camera": ("#8a7d00", "^", "--"),
    "pixel_regression": ("#b0619a", "X", "-"),
    "keypoint": ("#b0619a", "v", "--"),
    "diffusion": ("#6f7bd6", "*", "-"),
    "diffusion_camera": ("#6f7bd6", "h", "--"),
    "para_two_stage-svd_tiny": (PARA_BLUE, "D", "--"),
    "para_two_stage_all-svd_tiny": (PARA_BLUE, "P", ":"),
    "para_joint-svd_tiny": (PARA_BLUE, "^", "-."),
    "para_frozen-svd_tiny": (PARA_BLUE, "v", ":"),
    "para_joint_short-svd_tiny": (PARA_BLUE, "^", ":"),
    "para_two_stage_short-svd_tiny": (PARA_BLUE, "d", ":"),
    "para_two_stage_long_video-svd_tiny": (PARA_BLUE, "X", "--"),
    "para_frozen_long_video-svd_tiny": (PARA_BLUE, "v", "-."),
    "para_two_stage-svd_tiny_64px": (PARA_BLUE, "D", ":"),
    "para_frozen-svd_tiny_64px": (PARA_BLUE, "<", ":"),
    "para_heads_only-svd_tiny": (PARA_BLUE, "h", ":"),
    "regression_two_stage-svd_tiny": (BASELINE_ORANGE, "D", "--"),
    "regression_two_stage_long-svd_tiny": (BASELINE_ORANGE, "d", ":"),
}
"""Colour, marker and line of policies that are drawn together, chosen by hand."""
_LABELS = {
    "para_two_stage-svd_tiny": "PARA on video, two stages",
    "para_two_stage_all-svd_tiny": "PARA, video of all demos",
    "para_joint-svd_tiny": "PARA on video, joint",
    "para_frozen-svd_tiny": "PARA on video, frozen",
    "para_joint_short-svd_tiny": "PARA on video, joint, short",
    "para_two_stage_short-svd_tiny": "PARA on video, two stages, short",
    "para_two_stage_long_video-svd_tiny": "PARA, two stages, more video",
    "para_frozen_long_video-svd_tiny": "PARA, frozen, more video",
    "para_two_stage-svd_tiny_64px": "PARA, two stages, 64 px frames",
    "para_frozen-svd_tiny_64px": "PARA, frozen, 64 px frames",
    "para_heads_only-svd_tiny": "PARA on random video model",
    "regression_two_stage-svd_tiny": "Global regression, video",
    "regression_two_stage_long-svd_tiny": "Global regression, longer",
}
"""Short names of trainings on the video backbone; other labels follow from the policy's title."""
_OTHER_COLOURS = ("#b0619a", "#8a7d00", "#6f7bd6", "#7a828a")
_OTHER_MARKERS = ("v", "X", "*", "h")

TRAIN_GREEN, TEST_INDIGO = "#1a9873", "#5a67e0"
SUCCESS_GREEN, FAIL_RED = "#1a9873", "#d1495b"


@cache
def model_style(name: str) -> ModelStyle:
    """Style of a policy by its label in results; unknown ones get a fixed style of their own."""
    parts = label_parts(name)
    rest = [part for part in (parts.recipe, parts.backbone, parts.augment) if part]
    floor = FLOORS[name].title if name in FLOORS else None
    label = floor or _LABELS.get(name) or ", ".join([policy_title(parts.model), *rest])
    if name in _LOOKS:
        return ModelStyle(label, *_LOOKS[name])
    if parts.model in _LOOKS:
        return ModelStyle(label, _LOOKS[parts.model][0], "d", "-.")
    pick = sum(name.encode()) % len(_OTHER_COLOURS)
    return ModelStyle(label, _OTHER_COLOURS[pick], _OTHER_MARKERS[pick], "-.")


def mix(colour: str, other: str, strength: float) -> tuple[float, float, float]:
    """`strength` of `colour` over `other`, as opaque RGB in [0, 1]."""
    pairs = zip(to_rgb(colour), to_rgb(other), strict=True)
    return tuple(strength * a + (1 - strength) * b for a, b in pairs)


@contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Draw figures in `theme` inside this block; Matplotlib's settings are restored after it."""
    settings = {
        "font.family": "DejaVu Sans",
        "font.size": 10.5,
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 10.5,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "legend.fontsize": 10,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": theme.muted,
        "axes.linewidth": 0.8,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.facecolor": "none",
        "axes.grid": False,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "text.color": theme.ink,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "figure.facecolor": "none",
        "lines.linewidth": 2.0,
        "lines.markersize": 6.5,
        "hatch.linewidth": 0.8,
        "svg.fonttype": "path",
        "svg.hashsalt": "para",
        "image.composite_image": False,
    }
    with mpl.rc_context(settings):
        yield


def new_figure(width: float = 5.2, height: float = 3.4) -> Figure:
    """An empty figure [inches] that pyplot does not know of, laid out by constraints."""
    return Figure(figsize=(width, height), layout="constrained")


def soft_grid(axes: Axes, axis: str = "y") -> None:
    """Grid lines behind the data, no tick marks."""
    axes.set_axisbelow(True)
    axes.grid(True, axis=axis)
    axes.tick_params(length=0)


def save_figure(figure: Figure, stem: Path, theme: Theme, dpi: int = 200) -> list[Path]:
    """Write `<stem><suffix>.svg` (transparent) and `.png` (on the surface); return their paths.

    The same figure gives the same bytes: no date, fixed ids.
    """
    svg, png = (stem.with_name(f"{stem.name}{theme.suffix}{end}") for end in (".svg", ".png"))
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    with atomic_write(svg) as aside:
        aside.write_text(_photographs_as_jpeg(buffer.getvalue().decode()), encoding="utf-8")
    figure.set_layout_engine("none")  # where things are has been found
    figure.set(dpi=dpi, facecolor=theme.surface)
    with atomic_write(png) as aside:
        FigureCanvasAgg(figure).print_png(aside, metadata={"Software": None})
    return [svg, png]


def save_picture(figure: Figure, path: Path, theme: Theme = LIGHT) -> None:
    """Write a PNG for docs/; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    with atomic_write(path) as aside:
        figure.savefig(
            aside, dpi=170, facecolor=theme.surface, metadata={"Software": None}, format="png"
        )


def _photographs_as_jpeg(svg: str) -> str:
    """Re-encode embedded opaque pictures as JPEG, about a sixth of their size as PNG."""

    def shrink(match: re.Match[str]) -> str:
        picture = Image.open(io.BytesIO(base64.b64decode(match.group(1))))
        rgba = picture.convert("RGBA")
        if rgba.getextrema()[3][0] < 255 or rgba.width * rgba.height < 4096:
            return match.group(0)
        out = io.BytesIO()
        rgba.convert("RGB").save(out, "JPEG", quality=88, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()

    return re.sub(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)", shrink, svg)
