"""Camera-consistent augmentation on one sample: the label moves with the image, the point stays.

python -m para.figures.augmentation    draws docs/augmentation.png
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from envs.base import EnvConfig, load_task
from para.camera import Camera
from para.data.augment import augment
from para.data.config import GEOMETRIC, AugmentConfig
from para.figures.drawing import Drawing, panel_title
from para.figures.sources import Sources
from para.figures.style import LIGHT, PARA_BLUE, Theme, new_figure, save_picture, themed
from para.places import CONFIGS, ROOT
from para.runs.identity import Setting

RANGES = AugmentConfig(shift=0.15, scale=0.25, rotate_deg=25, camera_rotate_deg=8)
"""Wide enough to be seen."""
_KINDS = {
    "shift": ("shift",),
    "scale": ("scale",),
    "roll": ("rotate_deg",),
    "pan and tilt": ("camera_rotate_deg",),
    "all together": GEOMETRIC,
}
"""Title of a panel -> the keys of the augmentation that are switched on in it."""
_COLOURS = ("#1b1f24", "#b0619a", "#8a7d00", "#6f7bd6", "#d8611f", "#1a9873")
_SIDE = 900, 560
"""Size of the side view [px]."""


@dataclass(frozen=True)
class View:
    """What a policy sees of the sample after a warp.

    Attributes:
        title: What was done.
        image: (H, W, 3) in [0, 1].
        camera: The one that is told with it.
        pixel: (2,) where the label is seen [px].
        point: (3,) where that pixel's ray meets the height of the label [m].
    """

    title: str
    image: np.ndarray
    camera: Camera
    pixel: np.ndarray
    point: np.ndarray


@cache
def views(size: int = 320) -> tuple[tuple[View, ...], np.ndarray, Camera]:
    """The sample before and after each kind of warp; and the scene from the side, with its camera.

    The label is where the expert grasps.
    """
    setting = Setting()
    task = load_task(setting.task)
    env = task.environment(setting.robot, setting.layout, EnvConfig(image_size=size))
    env.begin(task.grid(155, setting.layout))
    seen = env.observe()
    label = next(w.position for w in task.waypoints(env.objects()) if w.gripper < 0.5)
    camera = seen.camera
    batch = {
        "image": torch.from_numpy(seen.image.copy()).permute(2, 0, 1)[None].float() / 255,
        "intrinsics": torch.as_tensor(camera.intrinsics)[None].double(),
        "T_world_camera": torch.as_tensor(camera.T_world_camera)[None].double(),
        "ee_position": torch.as_tensor(seen.ee_position)[None].double(),
        "waypoints": torch.as_tensor(label)[None, None].double(),
    }
    batch = {name: value.float() for name, value in batch.items()}
    shown = [_view("before", batch, label)]
    for title, keys in _KINDS.items():
        off = {f.name: 0.0 for f in fields(RANGES) if f.name in GEOMETRIC and f.name not in keys}
        moved = augment(batch, replace(RANGES, **off), torch.Generator().manual_seed(5))
        shown.append(_view(title, moved, label))
    side = Camera.look_at(
        eye=(1.0, -2.6, 1.3), target=(0.3, 0.0, 0.5), fovy_deg=30, width=_SIDE[0], height=_SIDE[1]
    )
    return tuple(shown), env.picture(side), side


def _view(title: str, batch: dict[str, Any], label: np.ndarray) -> View:
    matrices = (batch[name][0].double().numpy() for name in ("intrinsics", "T_world_camera"))
    image = batch["image"][0].permute(1, 2, 0).numpy()
    camera = Camera(*matrices, image.shape[1], image.shape[0])
    pixel = camera.project(np.asarray(label, np.float64))[0]
    return View(title, image, camera, pixel, camera.unproject_to_height(pixel, label[2]))


def augmentation_inputs(sources: Sources) -> list[Path]:
    """What the picture is drawn from: no result, only the code."""
    return [CONFIGS / "augment" / "camera.yaml"]


def augmentation_figure(sources: Sources | None, theme: Theme) -> Drawing:
    """A sample before and after each warp with its label, and all rays in the scene."""
    shown, scene, side = views()
    figure = new_figure(5.2, 6.9)
    grid = figure.add_gridspec(3, 3, height_ratios=[1, 1, 1.85])
    for k, view in enumerate(shown):
        axes = figure.add_subplot(grid[divmod(k, 3)])
        size = view.camera.width
        axes.imshow(view.image, extent=(0, size, size, 0), interpolation="none")
        axes.plot(*view.pixel, "o", markersize=9, markerfacecolor="none", color="white")
        axes.plot(*view.pixel, "o", markersize=3.5, color=PARA_BLUE)
        axes.set_xlim(0, size)
        axes.set_ylim(size, 0)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(visible=True, color=_COLOURS[k], linewidth=2.2)
        panel_title(axes, view.title, theme)
        axes.set_xlabel(_centimetres(view.point), fontsize=9.5, labelpad=3)
    _rays(figure.add_subplot(grid[2, :]), shown, scene, side, theme)
    apart = max(float(np.linalg.norm(view.point - shown[0].point)) for view in shown)
    alt = (
        "One training image before and after shift, scale, roll, pan and tilt, and all together. "
        "The grasp point is marked in each. Below, the scene from the side: every image plane "
        "stands otherwise before the same eye, and the rays of all marked pixels meet the height "
        f"of the grasp in one point, {_centimetres(shown[0].point)}."
    )
    data = {
        "apart_m": apart,
        "pixels": {view.title: view.pixel.tolist() for view in shown},
        "points_m": {view.title: view.point.tolist() for view in shown},
    }
    return Drawing(figure, alt, data)


def _centimetres(point: np.ndarray) -> str:
    x, y, z = 100 * point
    return f"({x:.1f}, {y:.1f}, {z:.1f}) cm".replace("-", "\N{MINUS SIGN}")


def _rays(
    axes: Axes, shown: tuple[View, ...], scene: np.ndarray, side: Camera, theme: Theme
) -> None:
    """The scene from the side, with the image plane of each view and the ray of its label."""
    axes.imshow(scene, extent=(0, _SIDE[0], _SIDE[1], 0), interpolation="none")
    axes.set_xlim(0, _SIDE[0])
    axes.set_ylim(_SIDE[1], 0)
    axes.axis("off")
    panel_title(axes, "one eye, one ray, one point", theme)

    def at(points: Any) -> np.ndarray:
        return side.project(np.asarray(points, np.float64))[0]

    for view, colour in zip(shown, _COLOURS, strict=True):
        size = view.camera.width
        corners = np.array([(0, 0), (size, 0), (size, size), (0, size)], np.float64)
        _, directions = view.camera.rays(np.vstack([corners, view.pixel]))
        eye, forward = view.camera.T_world_camera[:3, 3], view.camera.T_world_camera[:3, 2]
        plane = eye + 0.6 * directions / (directions @ forward)[:, None]  # 60 cm before the eye
        axes.add_patch(Polygon(at(plane[:4]), fill=False, edgecolor=colour, linewidth=1.8))
        axes.plot(*at([eye, view.point]).T, color="white", linewidth=3)
        axes.plot(*at([eye, view.point]).T, color=PARA_BLUE, linewidth=1.6)
        axes.plot(*at(plane[4]), "o", color=colour, markersize=4, zorder=4)
    label = {"textcoords": "offset points", "fontsize": 10, "color": "#1b1f24"}
    axes.annotate("camera", at(eye), (-12, 0), ha="right", va="center", **label)
    axes.plot(*at(eye), "o", color="#1b1f24", markersize=6, zorder=5)
    point = at(shown[0].point)
    axes.plot(*point, "o", color=PARA_BLUE, markersize=8, markeredgecolor="white", zorder=5)


def draw(path: Path = ROOT / "docs" / "augmentation.png") -> None:
    """Write the picture of docs/ and README.md."""
    with themed(LIGHT):
        figure = augmentation_figure(None, LIGHT).figure
        save_picture(figure, path)


if __name__ == "__main__":
    draw()
