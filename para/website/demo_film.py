"""The film that stands for the demo where it cannot run: what one would see by dragging.

What is dragged walks over the table, in figures of eight through both halves, before the trained
camera; each frame shows the plan of every policy, as `draw_still` does. Frames and plans are those
of the page: the recorded frames, and the ONNX files. So the film of a demo that exists can be made
again without the runs that it was made of:

    python -m para.website.demo_film website/demo
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from para.errors import ParaError
from para.export.model import OnnxPolicy
from para.extras import require_packages
from para.types import ActionChunk
from para.video import draw_text, write_video
from para.website import demo
from para.website.demo_frames import Places, observations
from para.website.demo_still import GAP, PANEL, closing, draw_still

FPS = 8
CRF = 30
"""Of x264: the frames are small pictures, enlarged."""
STEPS = 96
"""Points of the walk; those at the place of the one before are left out."""


def walk(rows: int, columns: int, movers: int = 1) -> list[Places]:
    """Closed figures of eight over a grid of places, lying across; the first from its middle left.

    Each of the others is a quarter of the way ahead of the one before.
    """
    angle = (
        np.linspace(0, 2 * np.pi, STEPS, endpoint=False)[:, None] + np.arange(movers) * np.pi / 2
    )
    row = (rows - 1) * (0.5 + 0.42 * np.sin(2 * angle))
    column = (columns - 1) * (0.5 - 0.48 * np.sin(angle))
    found = np.stack([row, column], -1).round().astype(int)
    new = np.any(found != np.roll(found, 1, axis=0), axis=(1, 2))
    new[0] = True
    return [[(int(i), int(j)) for i, j in places] for places in found[new]]


def write_film(folder: Path, facts: demo.DemoFile) -> Path:
    """Write the film of the demo in a folder, which has all its other files; returns its path."""
    places = walk(len(facts.x), len(facts.y), len(facts.movers))
    seen = observations(folder, facts, 0, places)
    plans = [OnnxPolicy(folder / policy.file).predict(seen) for policy in facts.policies]
    x0, y0, x1, y1 = facts.trained
    outline = np.array([[x0, y0, 0], [x0, y1, 0], [x1, y1, 0], [x1, y0, 0], [x0, y0, 0]])
    names = [policy.name for policy in facts.policies]

    def picture(k: int) -> np.ndarray:
        at = [(facts.x[row], facts.y[column]) for row, column in places[k]]
        marks = facts.marks_at(places[k])
        chunks = [plan[k] for plan in plans]
        drawn = draw_still(seen[k], chunks, names, marks, outline)
        known = {x0 <= x <= x1 and y0 <= y <= y1 for x, y in at}
        which = {(True,): "with", (False,): "without"}.get(tuple(known))
        where = f"in the half {which} demonstrations" if which else "in both halves"
        for n, chunk in enumerate(chunks):
            left = n * (PANEL + GAP) + 14
            draw_text(drawn, where, (left, PANEL - 58), size=17, outline=2)
            draw_text(drawn, _outcome(chunk, marks[0]), (left, PANEL - 34), size=17, outline=2)
        return drawn

    pictures = (picture(k) for k in range(len(places)))
    return write_video(folder / demo.FILM, pictures, FPS, CRF, "python -m para.website.demo_film")


def _outcome(chunk: ActionChunk, grasp: np.ndarray) -> str:
    k = closing(chunk)
    if k is None:
        return "never closes the fingers"
    distance = 1000 * np.linalg.norm(chunk.positions[k] - grasp)
    return f"closes the fingers {distance:.0f} mm from the expert"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m para.website.demo_film", description="Make the film of a demo again."
    )
    parser.add_argument("folder", type=Path, help="folder of the demo")
    folder = parser.parse_args(arguments).folder
    try:
        require_packages("export", "onnxruntime")
        write_film(folder, demo.read_facts(folder))
    except ParaError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
