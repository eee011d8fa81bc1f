import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from envs.base import load_task
from para.figures.scene import start_at, top_picture
from para.runs.identity import Setting

ROOT = Path(__file__).parents[2]


def test_positions_are_drawn_where_things_are_in_the_top_view():
    start = start_at(Setting(), (0.08, -0.2))
    assert start.position == pytest.approx((0.08, -0.2))
    picture, camera = top_picture(start)
    (red_object, *_) = load_task(start.task).objects
    red = (picture[..., 0] > 150) & (picture[..., 1:].max(-1) < 80)
    rows, columns = np.nonzero(red)
    centre = [columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]
    expected, _ = camera.project(np.array([*start.at(red_object.name), 0.045]))
    radius = red_object.radius / 0.86 * camera.width
    assert np.abs(np.array(centre) / 2 - expected).max() < 0.15 * radius


@pytest.mark.long
def test_a_process_that_has_rendered_can_load_a_policy():
    """Mesa and triton both bring LLVM; loaded in the wrong order the process dies."""
    code = (
        "from para.figures.scene import start_at, view_picture\n"
        "from para.runs.identity import Setting\n"
        "view_picture(start_at(Setting(), (0, 0)), size=32)\n"
        "import timm, torchvision\n"
        "print('alive')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr
