"""A film of an evaluation as one picture, for a page that plays no films:

    python scripts/eval.py policy=para_lr
    python -m para.figures.strip outputs/videos/.../para_lr_lr_test_ep000_success.mp4

Above what happens, below what the policy sees at that moment, with its heatmap, from left to right.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from para.errors import ParaError
from para.figures.recorder import FPS, HOLD_S, MAIN, SIDE, VIEW
from para.places import ROOT
from para.video import VideoError, draw_text, probe_video, read_frames, resize, write_picture

WIDTH, GAP = 1960, 6
"""Of the picture, and between its frames [px]."""


def film_strip(film: Path, path: Path, count: int = 7) -> Path:
    """Draw moments of a film side by side, the last of them with its outcome.

    Args:
        film: A video that `VideoRecorder` made.
        path: The picture, PNG.
        count: Moments, at equal distances in time.

    Raises:
        VideoError: It is no such video.
    """
    info = probe_video(film)
    if (info.width, info.height) != (MAIN + SIDE, MAIN) or info.frames <= count + HOLD_S * FPS:
        raise VideoError(f"{film} is no film of an evaluation.")
    end = info.frames - round(HOLD_S * FPS)  # from there on it shows the outcome
    moments = np.linspace(0, end, count).round().astype(int).tolist()
    side = (WIDTH - (count - 1) * GAP) // count
    top, left, size = VIEW
    strip = np.full((2 * side + GAP, count * (side + GAP) - GAP, 3), 255, np.uint8)
    for column, frame in enumerate(read_frames(film, moments)):
        x = column * (side + GAP)
        scene = frame[:, :MAIN]
        view = frame[top : top + size, MAIN + left : MAIN + left + size]
        strip[:side, x : x + side] = resize(scene, side, side)
        strip[side + GAP :, x : x + side] = resize(view, side, side)
        clock = f"{moments[column] / FPS:.1f} s"
        draw_text(strip, clock, (x + 8, 8), size=18, bold=True, outline=2)
    return write_picture(path, strip)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m para.figures.strip", description="A film of an evaluation as one picture."
    )
    parser.add_argument("film", type=Path)
    parser.add_argument("path", type=Path, nargs="?", default=ROOT / "docs" / "film_strip.png")
    asked = parser.parse_args(arguments)
    try:
        film_strip(asked.film, asked.path)
    except ParaError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
