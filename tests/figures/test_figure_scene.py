import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from envs.condition import place_pair
from envs.table.workspace import BOWL_RADIUS
from para.figures.scene import top_picture

ROOT = Path(__file__).parents[2]


def test_positions_are_drawn_where_things_are_in_the_top_view():
    bowl = np.array([0.08, -0.11])
    picture, camera = top_picture(place_pair(tuple(bowl - [0, 0.09])))
    red = (picture[..., 0] > 150) & (picture[..., 1:].max(-1) < 80)
    rows, columns = np.nonzero(red)
    centre = [columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]
    expected, _ = camera.project(np.array([*bowl, 0.045]))
    radius = BOWL_RADIUS / 0.86 * camera.width
    assert np.abs(np.array(centre) / 2 - expected).max() < 0.15 * radius


@pytest.mark.slow
def test_a_process_that_has_rendered_can_load_a_policy():
    """Mesa and triton both bring LLVM; loaded in the wrong order the process dies."""
    code = (
        "from envs.condition import place_pair\n"
        "from para.figures.scene import view_picture\n"
        "view_picture(place_pair((0, 0)), 32)\n"
        "import timm, torchvision\n"
        "print('alive')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr
