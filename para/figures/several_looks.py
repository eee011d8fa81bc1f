"""One image as a policy is shown it with `tta=8`, and where each look says the bowl is grasped.

python scripts/train.py model=para, then python -m para.figures.several_looks FOLDER, the folder of
that run (runs/.../seed0), draws docs/several_looks.png.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from envs.base import load_task
from para.errors import ConfigError
from para.evaluation.trained import usable
from para.figures.drawing import image_panel, panel_title
from para.figures.style import LIGHT, PARA_BLUE, new_figure, save_picture, themed
from para.places import ROOT
from para.policies.tta import agreed, looks
from para.runs.policy_file import load_policy, policy_config
from para.types import Inference, Observation

START = 216
"""Of the training grid, on the half that no demonstration of split=lr shows."""
COUNT = 8
ZOOM_PX = 7
"""Half the side of what the last panel shows."""


@dataclass(frozen=True)
class Answers:
    """What a policy says to each look.

    Attributes:
        seen: The looks, the observation itself first.
        grasps: (COUNT, 3) the waypoint at which the fingers close, of each look's plan [m].
        median: (3,) that of the plan that they agree on.
    """

    seen: list[Observation]
    grasps: np.ndarray
    median: np.ndarray


def answers(folder: Path) -> Answers:
    """The first plan of an episode, of the policy in a run's folder.

    Raises:
        ConfigError: It was not trained on images that move with the camera, so its looks say little
            about each other.
    """
    policy, meta = load_policy(folder)
    trained = policy_config(folder, meta)
    if usable(Inference(tta=COUNT), trained).tta == 1:
        raise ConfigError(
            f"{folder} was trained with augment={trained.augment.name}, on images that do not move "
            "with the camera: it takes one look. Give the folder of a run with augment=camera."
        )
    task = load_task(trained.task.name)
    env = task.environment(trained.robot, trained.layout, trained.env)
    env.begin(task.grid(START, trained.layout))
    seen = looks(env.observe(), COUNT)
    chunks = policy.predict(seen)
    plan = agreed(chunks)
    k = int(np.argmax(plan.gripper < 0.5))
    return Answers(seen, np.array([c.positions[k] for c in chunks]), plan.positions[k])


def draw(folder: Path, path: Path = ROOT / "docs" / "several_looks.png") -> None:
    """Write the picture of docs/protocol.md, with the policy of a run's folder."""
    found = answers(folder)
    with themed(LIGHT):
        figure = new_figure(7.2, 3.0)
        grid = figure.add_gridspec(2, COUNT // 2 + 2)
        for k, (view, grasp) in enumerate(zip(found.seen, found.grasps, strict=True)):
            axes = figure.add_subplot(grid[k // (COUNT // 2), k % (COUNT // 2)])
            image_panel(axes, view.image)
            _mark(axes, view, grasp[None], "o", 3.5, PARA_BLUE)
            if k == 0:
                panel_title(axes, "as seen", LIGHT)
        _all(figure.add_subplot(grid[:, COUNT // 2 :]), found)
        save_picture(figure, path)


def _all(axes: Axes, found: Answers) -> None:
    """All answers in the image as seen, near their median."""
    first = found.seen[0]
    image_panel(axes, first.image)
    _mark(axes, first, found.grasps, "o", 6, PARA_BLUE)
    _mark(axes, first, found.median[None], "+", 13, "white")
    (u, v), _ = (part[0] for part in first.camera.project(found.median[None]))
    axes.set(xlim=(u - ZOOM_PX, u + ZOOM_PX), ylim=(v + ZOOM_PX, v - ZOOM_PX))
    panel_title(axes, "all answers, and their median", LIGHT)


def _mark(
    axes: Axes, view: Observation, points: np.ndarray, marker: str, size: float, colour: str
) -> None:
    """Points (N, 3) of the world where the view has them."""
    pixels, _ = view.camera.project(points)
    style = {"color": colour, "markersize": size, "markeredgewidth": 2 if marker == "+" else 0}
    axes.plot(*pixels.T, marker, **style)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
