"""Clips of filmed episodes: the policy's name, the outcome at the end, and the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from para.evaluation.result_set import StoredResult
from para.figures.build import Media
from para.figures.episodes import EpisodeTask
from para.figures.style import DARK, FAIL_RED, SUCCESS_GREEN, model_style
from para.files import atomic_write
from para.video import draw_text, probe_video, write_video

FPS = 25
STRIDE = 4
"""Control steps of 20 ms per frame: twice as fast as it happened."""
CLIP = 384
"""Size of a clip [px]."""
CLIP_BYTES = 400_000
HOLD_S = 1.5
"""The last frame, with the outcome, stays for this long."""


def side_by_side(
    results: Sequence[StoredResult],
    tasks: Sequence[EpisodeTask],
    films: Sequence[np.ndarray],
    folder: Path,
    names: Sequence[str],
    where: str,
    data: dict[str, Any],
) -> list[Media]:
    """One video per policy on the same start, all of the same length.

    Files are named `<name>.mp4`; `where` says in words which test it is, and `data` is noted with
    each video.
    """
    longest = max(len(frames) for frames in films)
    made = []
    for result, task, frames, name in zip(results, tasks, films, names, strict=True):
        style = model_style(result.model)
        clip = labelled(frames, longest, style.label, style.colour, task)
        alt = f"{style.label} on start {task.index} of {where}: {task.meaning}."
        facts = {
            "model": result.model,
            "seed": result.seed,
            "test": task.test,
            "index": task.index,
            "outcome": outcome(task),
            "stage": task.stage,
            "meaning": task.meaning,
        }
        path = folder / f"{name}.mp4"
        made.append(save_video(path, clip, FPS, CLIP_BYTES, alt, data | facts))
    return made


def outcome(task: EpisodeTask) -> str:
    """success | fail"""
    return "success" if task.success else "fail"


def labelled(
    frames: np.ndarray, length: int, label: str, colour: str, task: EpisodeTask | None
) -> Iterable[np.ndarray]:
    """Frames with the policy's name, held to `length`, and at the end the outcome of `task`."""
    for i in range(length):
        frame = frames[min(i, len(frames) - 1)].copy()
        _name_badge(frame, label, colour)
        if task and i >= len(frames) - 1:
            _mark_outcome(frame, task)
        yield frame
    for _ in range(round(HOLD_S * FPS)):
        yield frame


def _name_badge(frame: np.ndarray, label: str, colour: str) -> None:
    """The policy's name on a dark badge with a bar in its colour, in the upper left corner."""
    width = 24 + 12 * len(label)
    frame[12:40, 12 : 12 + width] = rgb(DARK.surface)
    frame[12:40, 12:18] = rgb(colour)
    draw_text(frame, label, (25, 26), size=16, bold=True, anchor="lm")


def _mark_outcome(frame: np.ndarray, task: EpisodeTask) -> None:
    """A coloured frame, and a badge with a mark and the outcome in words."""
    colour = rgb(SUCCESS_GREEN if task.success else FAIL_RED)
    height, width = frame.shape[:2]
    cv2.rectangle(frame, (2, 2), (width - 3, height - 3), colour, 5)
    top, length = height - 44, 52 + 9 * len(task.meaning)
    frame[top : height - 12, 12 : 12 + length] = colour
    draw_mark(frame, (30, top + 16), 9, task.success)
    draw_text(frame, task.meaning, (50, top + 16), size=16, bold=True, anchor="lm")


def draw_mark(frame: np.ndarray, centre: tuple[int, int], radius: int, success: bool) -> None:
    """A white check mark or cross."""
    x, y = centre
    r, thick = radius, max(2, radius // 3)
    if success:
        lines = [(-r, 0, -r // 3, int(0.7 * r)), (-r // 3, int(0.7 * r), r, int(-0.8 * r))]
    else:
        s = int(0.8 * r)
        lines = [(-s, -s, s, s), (-s, s, s, -s)]
    for x0, y0, x1, y1 in lines:
        start, end = (x + x0, y + y0), (x + x1, y + y1)
        cv2.line(frame, start, end, (255, 255, 255), thick, cv2.LINE_AA)


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour as (red, green, blue), 0 ... 255."""
    return tuple(round(255 * c) for c in to_rgb(colour))


def save_video(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: int,
    most_bytes: int,
    alt: str,
    data: dict[str, Any],
) -> Media:
    """Write a video of at most `most_bytes`, and its last frame as a poster."""
    frames = list(frames)
    for crf in (22, 25, 28, 31, 35, 40):
        write_video(path, frames, fps=fps, crf=crf)
        if path.stat().st_size <= most_bytes:
            break
    poster = path.with_suffix(".jpg")
    with atomic_write(poster) as aside:
        Image.fromarray(frames[-1]).save(aside, "JPEG", quality=82, optimize=True)
    info = probe_video(path)
    return Media(path.name, info.width, info.height, alt, {"poster": poster.name}, data)
