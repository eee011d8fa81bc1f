"""LIBERO's ten spatial scenes, and below each what LIBERO-PRO's swap makes of it.

python -m para.figures.swap_sheet     draws docs/libero_swap.png anew
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from envs.base import EnvConfig, load_task
from envs.libero.splits import SWAPPED
from envs.libero.task import LiberoTask, libero_tasks
from para.places import ROOT
from para.video import draw_text, write_picture

SIDE, GAP, COLUMNS = 224, 6, 5
"""Of a frame and between frames [px]; scenes beside each other."""


def pair(task: LiberoTask) -> np.ndarray:
    """The first initial state of both scenes, one below the other: (2 SIDE, SIDE, 3) uint8 RGB."""
    env = task.environment("panda", "official", EnvConfig(image_size=SIDE))
    frames = []
    for suite in (task.cfg.suite, task.cfg.suite + SWAPPED):
        env.begin(task.official(0, suite))
        frames.append(env.frame())
    both = np.concatenate(frames)
    draw_text(both, task.cfg.name, (8, 6), size=14, bold=True, outline=2)
    draw_text(both, "swapped", (8, SIDE + 6), size=14, bold=True, outline=2)
    return both


def swap_sheet(path: Path) -> Path:
    """Draw the pairs of all tasks, COLUMNS in a row."""
    pairs = [pair(load_task(name)) for name in libero_tasks()]
    height, width = 2 * SIDE + GAP, SIDE + GAP
    rows = -(-len(pairs) // COLUMNS)
    sheet = np.full((rows * height - GAP, COLUMNS * width - GAP, 3), 255, np.uint8)
    for k, picture in enumerate(pairs):
        row, column = divmod(k, COLUMNS)
        sheet[row * height :][: 2 * SIDE, column * width :][:, :SIDE] = picture
    return write_picture(path, sheet)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m para.figures.swap_sheet", description="LIBERO's scenes, and swapped ones."
    )
    parser.add_argument("path", type=Path, nargs="?", default=ROOT / "docs" / "libero_swap.png")
    swap_sheet(parser.parse_args(arguments).path)


if __name__ == "__main__":
    main()
