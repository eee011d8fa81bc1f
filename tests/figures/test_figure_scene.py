import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from envs.base import load_task
from envs.table.tasks.bowl_on_plate import BOWL
from para.figures.scene import top_picture

ROOT = Path(__file__).parents[2]
TASK = load_task("bowl_on_plate")


def test_positions_are_drawn_where_things_are_in_the_top_view():
    bowl = np.array([0.08, -0.11])
    picture, camera = top_picture(TASK.place([bowl - np.array([0, 0.09])], "together"))
    red = (picture[..., 0] > 150) & (picture[..., 1:].max(-1) < 80)
    rows, columns = np.nonzero(red)
    centre = [columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]
    expected, _ = camera.project(np.array([*bowl, 0.045]))
    radius = BOWL.radius / 0.86 * camera.width
    assert np.abs(np.array(centre) / 2 - expected).max() < 0.15 * radius


@pytest.mark.slow
def test_a_process_that_has_rendered_can_load_a_policy():
    """Mesa and triton both bring LLVM; loaded in the wrong order the process dies."""
    code = (
        "from envs.base import load_task\n"
        "from para.figures.scene import view_picture\n"
        "view_picture(load_task('bowl_on_plate').grid(0), 32)\n"
        "import timm, torchvision\n"
        "print('alive')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr
