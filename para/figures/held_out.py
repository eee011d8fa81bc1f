"""Films of held-out demos: what the policy sees and expects, over what the demo shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from para.data.format import FRAME_SECONDS
from para.evaluation.config import EvalConfig
from para.evaluation.held_out import Errors, Frame, held_out_policies, write_errors
from para.runs.folders import trained_setting
from para.video import draw_dot, draw_path, draw_text, overlay_heatmap, resize, write_video

SIZE = 448
"""Side of a film [px]."""
SHOWN, PLANNED = (255, 255, 255), (64, 196, 255)
"""Colours of the demo's path and of the policy's."""


def film_held_out(path: Path, frames: Iterable[Frame], title: str) -> Path:
    """Write the film of one demo: heatmaps over the image, both paths, the mean error [mm]."""
    fps = round(1 / FRAME_SECONDS)
    return write_video(path, (draw_frame(frame, title) for frame in frames), fps=fps, crf=20)


def draw_frame(frame: Frame, title: str) -> np.ndarray:
    """One frame (SIZE, SIZE, 3): all heatmaps of the plan, the path planned and the one shown."""
    observation, chunk, truth = frame
    picture = resize(observation.image, SIZE, SIZE)
    if chunk.heatmaps is not None:
        highest = chunk.heatmaps.max(axis=(1, 2), keepdims=True)
        picture = overlay_heatmap(picture, (chunk.heatmaps / np.maximum(highest, 1e-12)).max(0))
    camera = observation.camera.resized(SIZE, SIZE)
    there = np.isfinite(chunk.positions).all(-1)
    for points, colour in ((truth, SHOWN), (chunk.positions[there], PLANNED)):
        pixels = camera.project(np.vstack([observation.ee_position, points]).astype(np.float64))[0]
        draw_path(picture, pixels, colour, 2)
        draw_dot(picture, pixels[-1], 4, colour)
    error = 1e3 * np.linalg.norm(chunk.positions - truth, axis=-1)[there]
    mean = f"{error.mean():.0f} mm" if len(error) else "no place"
    draw_text(picture, f"{title}: {mean}", (10, 8), 18, outline=2)
    draw_text(picture, "shown", (10, SIZE - 26), 16, SHOWN, outline=2)
    draw_text(picture, "planned", (70, SIZE - 26), 16, PLANNED, outline=2)
    return picture


def show_held_out(console: Console, cfg: EvalConfig) -> list[Errors]:
    """Evaluate on imported demos: write errors and `cfg.video` films of each policy, say what came.

    Raises:
        ParaError: See `held_out_policies`.
    """
    found, written = [], []
    for policy in held_out_policies(cfg):
        errors = policy.errors(cfg)
        found.append(errors)
        written.append(write_errors(policy, errors))
        place = Path(cfg.outputs_dir, "videos", trained_setting(cfg).name, policy.trained.profile)
        for demo in policy.demos[: cfg.video]:
            stem = f"held_out_{policy.path.parent.name}_{policy.path.stem}_demo{demo:05d}.mp4"
            title = f"{policy.label}, demo {demo}"
            written.append(film_held_out(place / stem, policy.frames(demo, cfg), title))
    console.print(error_table(found, cfg))
    for path in written:
        console.print(str(path), highlight=False, markup=False, soft_wrap=True)
    return found


def error_table(found: list[Errors], cfg: EvalConfig) -> Table:
    """A row per policy; the last one says what no motion at all would be."""
    title = f"Waypoints on {len(found[0].demos)} held-out demos of {escape(str(cfg.data))}"
    table = Table(title=title, title_justify="left")
    table.add_column("policy", no_wrap=True)
    for column in ("mm", "95 %", "median", "p95", "px", "gripper", "missed"):
        table.add_column(column, justify="right")
    for errors in found:
        low, high = errors.interval_mm or (float("nan"),) * 2
        table.add_row(
            escape(errors.label),
            f"{errors.mm:.1f}",
            f"{low:.1f} to {high:.1f}" if errors.interval_mm else "one demo",
            *(f"{value:.1f}" for value in (errors.median_mm, errors.p95_mm)),
            f"{errors.px:.1f} of {errors.image_size}",
            f"{100 * errors.gripper:.0f} %",
            str(errors.missed),
        )
    table.add_row("no motion", f"{found[0].still_mm:.1f}", *[""] * 6)
    return table
