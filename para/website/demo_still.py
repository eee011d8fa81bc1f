"""What the policies of the demo plan from one frame, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.colors import to_rgb

from para.figures.style import model_style
from para.types import ActionChunk, Observation
from para.video import draw_dot, draw_path, draw_text, overlay_heatmap, resize

PANEL, GAP = 480, 12
"""Side of a panel, and what is between two [px]."""
_WHITE = (255, 255, 255)


def draw_still(
    seen: Observation,
    chunks: Sequence[ActionChunk],
    models: Sequence[str],
    marks: np.ndarray,
    outline: np.ndarray | None = None,
) -> np.ndarray:
    """What several policies predict from one frame, side by side.

    Args:
        seen: The frame.
        chunks: A prediction per policy.
        models: Their names in results.
        marks: Where the expert's fingers close, and where they open (n, 3) [m]; x and +.
        outline: Corners (n, 3) [m] of a line around something on the table.

    Returns:
        (PANEL, n PANEL + (n - 1) GAP, 3) uint8.
    """
    panels = []
    for chunk, model in zip(chunks, models, strict=True):
        panel = _panel(seen, chunk, model, marks, outline)
        panels += [np.full((PANEL, GAP, 3), 255, np.uint8), panel]
    return np.concatenate(panels[1:], axis=1)


def closing(chunk: ActionChunk) -> int | None:
    """The waypoint at which the fingers first close; None where they never do."""
    closed = np.flatnonzero(chunk.gripper < 0.5)
    return int(closed[0]) if len(closed) else None


def _panel(
    seen: Observation,
    chunk: ActionChunk,
    model: str,
    marks: np.ndarray,
    outline: np.ndarray | None,
) -> np.ndarray:
    camera = seen.camera.resized(PANEL, PANEL)
    style = model_style(model)
    colour = tuple(round(255 * c) for c in to_rgb(style.colour))
    marked = closing(chunk)
    marked = len(chunk.gripper) - 1 if marked is None else marked
    panel = resize(seen.image, PANEL, PANEL)
    if chunk.heatmaps is not None:
        panel = overlay_heatmap(panel, chunk.heatmaps[marked], strength=0.6)
    if outline is not None:
        draw_path(panel, camera.project(outline)[0], (235, 235, 235), 1)
    path = np.vstack([seen.ee_position, chunk.positions[np.isfinite(chunk.positions).all(1)]])
    shadow = path * [1, 1, 0]
    draw_path(panel, camera.project(shadow)[0], (150, 150, 150), 1)
    pixels, _ = camera.project(path)
    draw_path(panel, pixels, colour, 3)
    for pixel in pixels:
        draw_dot(panel, pixel, 4, colour, 1)
    draw_dot(panel, camera.project(chunk.positions[marked])[0], 8, _WHITE, 3)
    for mark, kind in zip(marks, (cv2.MARKER_TILTED_CROSS, cv2.MARKER_CROSS), strict=False):
        u, v = camera.project(mark)[0].round().astype(int).tolist()
        cv2.drawMarker(panel, (u, v), (20, 20, 20), kind, 22, 5)
        cv2.drawMarker(panel, (u, v), (255, 230, 60), kind, 20, 2)
    draw_text(panel, style.label, (14, 12), size=22, bold=True, outline=2)
    return panel
