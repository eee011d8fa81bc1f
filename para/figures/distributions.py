"""What trains and what tests: positions over a top view of the scene, and viewpoints with frames.

Each dot of a position figure is the middle of the task's objects. Made from configs/split and from
the simulator alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from envs.base import Condition, load_task
from envs.splits import load_split, test_conditions
from envs.table.viewpoints import PHIS_DEG, THETAS_DEG
from envs.table.workspace import grid_positions
from para.camera import Camera
from para.figures.drawing import Drawing
from para.figures.maps import View, angles_deg, trained_positions, trained_views, view_of
from para.figures.scene import start_at, top_picture, view_picture
from para.figures.sources import Sources
from para.figures.style import TEST_INDIGO, TRAIN_GREEN, Theme, new_figure

TRAIN_MARK = {"marker": "o", "markersize": 5.5, "color": TRAIN_GREEN}
TEST_MARK = {"marker": "D", "markersize": 5.5, "color": TEST_INDIGO}
_OUTLINE = {"markeredgecolor": "white", "markeredgewidth": 0.8, "linestyle": "none"}


def position_distribution(sources: Sources, theme: Theme, split: str) -> Drawing:
    """Training and test positions of `split` on a rendered top view of the scene."""
    config, setting = load_split(split), sources.setting
    train = trained_positions(config, setting)
    test = np.array([start.position for start in _tests(sources, split)])
    # The scene shows one demo, in the middle but not under the arm.
    middle = train.mean(0) + np.array([0.1, 0.0])
    example = train[np.argmin(np.linalg.norm(train - middle, axis=1))]
    picture, camera = top_picture(start_at(setting, example), setting.robot)
    figure = new_figure(5.2, 4.15)
    axes = figure.add_subplot()
    axes.imshow(picture, extent=(0, camera.width, camera.height, 0), interpolation="none")
    axes.plot(*_on_table(camera, test), **TEST_MARK, **_OUTLINE)
    axes.plot(*_on_table(camera, train), **TRAIN_MARK, **_OUTLINE)
    axes.set_xlim(0, camera.width)
    axes.set_ylim(camera.height, 0)
    axes.axis("off")
    _train_test_legend(figure, f"train: {len(train)} demos", f"test: {len(test)} starts")
    alt = (
        f"Top view of the table, robot at the top, with the {len(train)} training positions and "
        f"the {len(test)} test positions of split {split}: {config.title}."
    )
    data = {"train": train.tolist(), "test": test.tolist()}
    return Drawing(figure, alt, data)


def _tests(sources: Sources, split: str) -> list[Condition]:
    """Starts of the held-out test."""
    setting = sources.setting
    return test_conditions(load_split(split), "ood", load_task(setting.task), setting.layout)


def _on_table(camera: Camera, positions: np.ndarray) -> np.ndarray:
    """Pixels (2, n) of positions (n, 2) on the table top."""
    points = np.column_stack([positions, np.zeros(len(positions))])
    return camera.project(points)[0].T


def _train_test_legend(figure: Figure, train: str, test: str) -> None:
    handles = [
        Line2D([], [], label=train, **TRAIN_MARK, **_OUTLINE),
        Line2D([], [], label=test, **TEST_MARK, **_OUTLINE),
    ]
    figure.legend(handles=handles, ncols=2, loc="outside lower center", handletextpad=0.1)


def distractor_distribution(sources: Sources, theme: Theme) -> Drawing:
    """Clean training scenes beside cluttered test scenes, from the policy's camera."""
    tests, setting = _tests(sources, "distractor"), sources.setting
    trained = trained_positions(load_split("distractor"), setting)
    shown = [start_at(setting, grid_positions()[i]) for i in (68, 135, 201)]
    counts = [start.distractors for start in tests]
    figure = new_figure(5.2, 4.1)
    rows = {
        f"train: {len(trained)} demos, clean": shown,
        f"test: {len(tests)} starts, {min(counts)}-{max(counts)} other objects": tests[:3],
    }
    _frame_rows(figure, sources, rows)
    alt = (
        "Three clean training scenes above three test scenes with "
        f"{', '.join(map(str, counts[:3]))} distractor objects."
    )
    return Drawing(figure, alt, {"test": [start.to_dict() for start in tests[:3]]})


def _frame_rows(figure: Figure, sources: Sources, rows: dict[str, Sequence[Condition]]) -> None:
    """Rows of frames, the first titled and framed as training, the second as test."""
    columns = max(len(conditions) for conditions in rows.values())
    bands = figure.subfigures(len(rows), 1)
    marks = zip(bands, rows.items(), (TRAIN_MARK, TEST_MARK), strict=True)
    for band, (title, conditions), mark in marks:
        band.set_facecolor("none")
        handle = Line2D([], [], label=title, **mark, **_OUTLINE)
        band.legend(handles=[handle], loc="outside upper left", handletextpad=0.1)
        for axes, condition in zip(band.subplots(1, columns), conditions, strict=True):
            show_frame(axes, view_picture(condition, sources.setting.robot), mark["color"])


def show_frame(axes: Axes, picture: np.ndarray, colour: str, label: str = "") -> None:
    """A picture with a coloured frame and, if given, a label in its corner."""
    axes.imshow(picture, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linewidth=2.2)
    if label:
        axes.text(
            0.04,
            0.955,
            label,
            transform=axes.transAxes,
            va="top",
            fontsize=10,
            fontweight="bold",
            color="white",
            bbox={"boxstyle": "round,pad=0.18", "facecolor": "#1b1f24", "edgecolor": "none"}
            | {"alpha": 0.8},
        )


def tested_views(sources: Sources, split: str) -> list[View]:
    """Viewpoints of the held-out test; phi 0 at theta = 0."""
    return sorted({view_of(start.theta_deg, start.phi_deg) for start in _tests(sources, split)})


_SAMPLE_VIEWS = {
    "vp_default_to_all": [(0, 0), *((7 - 3 * (phi % 2), phi) for phi in range(7))],
    "vp_lr": [(5, phi) for phi in range(8)],
    "vp_io": [*((3, phi) for phi in (0, 2, 4, 6)), *((7, phi) for phi in (1, 3, 5, 7))],
}
"""Viewpoints (theta index, phi index) of the published figures, chosen by hand."""


def _sample_views(split: str, tested: Sequence[View]) -> list[View]:
    """Eight of the tested viewpoints, evenly spread, unless they were chosen by hand."""
    spread = np.linspace(0, len(tested) - 1, min(8, len(tested)))
    return _SAMPLE_VIEWS.get(split) or [tested[round(i)] for i in spread]


def polar_overview(sources: Sources, theme: Theme, split: str) -> Drawing:
    """Trained and tested viewpoints on the polar grid, with a frame from eight of them."""
    train, test = trained_views(split, sources.setting), tested_views(sources, split)
    figure = new_figure(5.2, 6.3)
    upper, lower = figure.subfigures(2, 1, height_ratios=[3.3, 2.8])
    for part in (upper, lower):
        part.set_facecolor("none")
    axes = upper.add_subplot(projection="polar")
    for views, mark, size in ((test, TEST_MARK, 5.5), (train, TRAIN_MARK, 6.5)):
        angles = np.radians([angles_deg(view)[1] for view in views])
        look: dict[str, Any] = {**mark, "markersize": size}
        axes.plot(
            angles,
            [angles_deg(view)[0] for view in views],
            **look,
            linestyle="none",
            markeredgecolor=theme.surface,
            markeredgewidth=0.8,
            clip_on=False,
            zorder=3,
        )
    axes.set_ylim(0, 27.5)
    axes.set_yticks(THETAS_DEG[1:], [""] * 7)
    for theta in (THETAS_DEG[i] for i in (3, 5, 7)):
        axes.text(np.radians(22.5), theta, f"{theta:.0f}°", ha="center", va="center", fontsize=9.5)
    axes.set_xticks(np.radians(PHIS_DEG), [f"{p:g}°" for p in PHIS_DEG], fontsize=9.5)
    axes.tick_params(pad=0)
    axes.grid(True)
    axes.spines["polar"].set_visible(False)
    handles = [
        Line2D([], [], label=label, **mark, **{**_OUTLINE, "markeredgecolor": theme.surface})
        for label, mark in (
            (f"train: {len(train)} view{'s' * (len(train) > 1)}", TRAIN_MARK),
            (f"test: {len(test)} views", TEST_MARK),
        )
    ]
    upper.legend(handles=handles, ncols=2, loc="outside upper center", handletextpad=0.1)
    panels = lower.subplots(2, 4).ravel()
    sample = _sample_views(split, test)
    for panel in panels[len(sample) :]:
        panel.set_visible(False)
    for panel, letter, shown in zip(panels, "ABCDEFGH", sample, strict=False):
        trained, (theta, phi) = shown in train, angles_deg(shown)
        colour = TRAIN_GREEN if trained else TEST_INDIGO
        condition = start_at(sources.setting, (0, 0), theta_deg=theta, phi_deg=phi)
        show_frame(panel, view_picture(condition, sources.setting.robot), colour, letter)
        panel.set_xlabel(f"{theta:.0f}°, {phi:g}°", fontsize=9.5, labelpad=3)
        beside = np.radians(phi + 90 if theta else 67.5)
        axes.annotate(
            letter,
            (np.radians(phi), theta),
            xytext=(11 * np.cos(beside), 11 * np.sin(beside)),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold",
            zorder=4,
        )
    alt = (
        f"Camera viewpoints of split {split} on a polar grid (radius: angle theta from the default "
        f"view, 0 to 25 degrees; azimuth phi): {len(train)} trained and {len(test)} tested, with "
        "sample frames."
    )
    data = {"train": [list(v) for v in train], "test": [list(v) for v in test]}
    return Drawing(figure, alt, data)


def hemisphere_distribution(sources: Sources, theme: Theme) -> Drawing:
    """Frames of the trained hemisphere of viewpoints above frames of the tested one (vp_lr)."""
    views = trained_views("vp_lr", sources.setting), tested_views(sources, "vp_lr")
    figure = new_figure(5.2, 3.5)
    rows = {}
    for name, shown in zip(("train", "test"), views, strict=True):
        phis = sorted({phi for theta, phi in shown if theta})
        azimuths = [angles_deg((1, phi))[1] for phi in phis]
        title = f"{name}: φ = {azimuths[0]:g}° to {azimuths[-1]:g}°"
        rows[title] = [
            start_at(sources.setting, (0, 0), theta_deg=THETAS_DEG[-1], phi_deg=phi)
            for phi in azimuths
        ]
    _frame_rows(figure, sources, rows)
    alt = (
        "The same scene from trained viewpoints (upper row) and from tested ones (lower row), all "
        f"{THETAS_DEG[-1]:g} degrees from the default view."
    )
    return Drawing(figure, alt)
