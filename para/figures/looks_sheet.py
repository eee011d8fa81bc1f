"""Sixteen scenes of varied appearance: twelve as demos look, and a row as only tests do.

python -m para.figures.looks_sheet     draws docs/looks.jpg anew
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from envs.base import EnvConfig, load_task
from envs.episodes import UNSEEN, VARIED
from envs.table import MAIN_TASK
from para.files import atomic_write
from para.places import ROOT

SIDE, GAP, COLUMNS = 240, 4, 4
"""Of a picture and between pictures [px]; pictures in a row."""
ROWS = (VARIED, VARIED, VARIED, UNSEEN)
CAMERA = EnvConfig(image_size=SIDE, camera_distance=1.15)
DISTRACTORS = 3


def looks_sheet(path: Path) -> Path:
    """Draw the starts of 16 episodes of the main task with some clutter, as policies see them."""
    task = load_task(MAIN_TASK)
    layout = task.layouts[-1]
    env = task.environment("panda", layout, CAMERA)
    step = SIDE + GAP
    sheet = np.full((len(ROWS) * step - GAP, COLUMNS * step - GAP, 3), 255, np.uint8)
    for k in range(len(ROWS) * COLUMNS):
        start = task.random(np.random.default_rng(k), layout, distractors=DISTRACTORS, seed=k)
        row, column = divmod(k, COLUMNS)
        env.begin(start.dressed(ROWS[row], k))
        sheet[row * step :, column * step :][:SIDE, :SIDE] = env.frame()
    with atomic_write(path) as aside:
        encoded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
        Path(aside).write_bytes(encoded.tobytes())
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m para.figures.looks_sheet", description="Scenes of varied appearance."
    )
    parser.add_argument("path", type=Path, nargs="?", default=ROOT / "docs" / "looks.jpg")
    looks_sheet(parser.parse_args(arguments).path)


if __name__ == "__main__":
    main()
