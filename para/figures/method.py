"""The method figure, drawn from a real prediction of a trained checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from para.camera import Camera
from para.errors import CheckpointError
from para.figures.choices import pair_results, run_folder
from para.figures.drawing import Drawing, panel_title
from para.figures.sources import Sources
from para.figures.style import PARA_BLUE, Theme, new_figure
from para.video import overlay_heatmap

SPLIT = "lr"
"""The example is the first held-out start of this split."""
_SIDE = 800, 580
"""Size of the side view [px]."""


@dataclass(frozen=True)
class Prediction:
    """One waypoint of one real prediction, with everything on the way to it.

    Attributes:
        image: (H, W, 3) uint8, the policy's input.
        features: (h, w, 3) in [0, 1], the feature map's three main directions as colours.
        heatmap: (h', w') probabilities.
        heights: (Z,) centres of the height bins [m].
        height_probability: (Z,) probabilities at the chosen pixel.
        pixel: (2,) chosen (u, v) in `image` [px].
        position: (3,) the waypoint, world frame [m].
        camera: The camera of `image`.
        side: (height, width, 3) uint8, the scene from the side.
        side_camera: The camera of `side`.
    """

    image: np.ndarray
    features: np.ndarray
    heatmap: np.ndarray
    heights: np.ndarray
    height_probability: np.ndarray
    pixel: np.ndarray
    position: np.ndarray
    camera: Camera
    side: np.ndarray
    side_camera: Camera


def method_inputs(sources: Sources) -> list[Path]:
    """The weights that predict; `NotRun` if PARA was not trained on the split."""
    sources.require(SPLIT, ("para",))
    results = [r for r in pair_results(sources, SPLIT) if r.model == "para"]
    results = results or sources.results.select(SPLIT, "para")
    return [run_folder(sources, results[0]) / "policy.safetensors"]


@cache
def predict(run_dir: Path) -> Prediction:
    """Ask the policy of `run_dir` at the first held-out start, and note what happens inside it."""
    import torch

    from envs.base import build_task
    from envs.splits import load_split, test_conditions
    from para.heads.pixel import FactorisedHead
    from para.policies.para import ParaPolicy
    from para.runs.config import train_config_from_dict
    from para.runs.policy_file import load_policy

    policy, meta = load_policy(run_dir)
    if not isinstance(policy, ParaPolicy) or not isinstance(policy.head, FactorisedHead):
        raise CheckpointError(f"{run_dir} holds no PARA policy with the factorised head.")
    if policy.cfg.head.along != "height":
        raise CheckpointError(f"{run_dir} counts depths: the picture shows heights.")
    trained = train_config_from_dict(meta["config"])
    task = build_task(trained.task)
    env = task.environment(trained.robot, trained.layout, trained.env)
    env.begin(test_conditions(load_split(SPLIT), "ood", task, episodes=1)[0])
    observation = env.observe()
    seen: dict[str, Any] = {}
    read = policy.head.read

    def watched_read(*arguments: Any) -> Any:
        seen["heights"], *rest = read(*arguments)
        return seen["heights"], *rest

    hook = policy.backbone.register_forward_hook(
        lambda _module, _inputs, outputs: seen.update(features=outputs[0])
    )
    policy.head.read = watched_read
    (chunk,) = policy.predict([observation])
    hook.remove()
    cfg = policy.cfg
    k = int(np.argmax(chunk.positions[:, 2] * (chunk.gripper < 0.5)))  # where it carries something
    logits = seen["heights"][0, k, 0]
    side_camera = Camera.look_at(
        eye=(1.0, -2.6, 1.3), target=(0.26, 0.0, 0.53), fovy_deg=29, width=_SIDE[0],
        height=_SIDE[1],
    )  # fmt: skip
    renderer = env.world.renderer("beauty", *_SIDE)
    return Prediction(
        image=observation.image,
        features=_colours(seen["features"][0].float().cpu().numpy()),
        heatmap=chunk.heatmaps[k],
        heights=np.linspace(*cfg.head.span, cfg.head.height_bins),
        height_probability=torch.softmax(logits, -1).cpu().numpy(),
        pixel=chunk.pixels[k],
        position=chunk.positions[k],
        camera=observation.camera,
        side=renderer.render(env.data, side_camera),
        side_camera=side_camera,
    )


def _colours(features: np.ndarray) -> np.ndarray:
    """Feature map (C, h, w) -> (h, w, 3): its three principal directions as red, green, blue."""
    channels = features.reshape(len(features), -1).T
    centred = channels - channels.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    parts = centred @ directions[:3].T
    parts *= np.sign(parts[np.abs(parts).argmax(0), range(3)])  # the sign of a direction is free
    low, high = np.percentile(parts, [1, 99], axis=0)
    return np.clip((parts - low) / (high - low), 0, 1).reshape(*features.shape[1:], 3)


def method_diagram(sources: Sources, theme: Theme) -> Drawing:
    """Image -> features -> heatmap -> height bins -> ray meets plane -> 3D point."""
    shown = predict(method_inputs(sources)[0].parent)
    figure = new_figure(5.2, 4.9)
    figure.get_layout_engine().set(w_pad=0.09)
    grid = figure.add_gridspec(2, 6, height_ratios=[1.0, 1.3])
    cells = [grid[0, 0:2], grid[0, 2:4], grid[0, 4:6], grid[1, 0:2], grid[1, 2:6]]
    image, features, where, high, meet = (figure.add_subplot(cell) for cell in cells)
    size = shown.image.shape[0]
    extent = (0, size, size, 0)
    image.imshow(shown.image, extent=extent, interpolation="none")
    features.imshow(shown.features, extent=extent, interpolation="none")
    where.imshow(overlay_heatmap(shown.image, shown.heatmap), extent=extent, interpolation="none")
    where.plot(*shown.pixel, "o", markersize=6, markerfacecolor="none", color="white")
    for axes, title in ((image, "image"), (features, "features"), (where, "where: heatmap")):
        panel_title(axes, title, theme)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(visible=True, color=theme.grid)
    _height_bins(high, shown, theme)
    _ray_meets_plane(meet, shown, theme)
    for left, right in ((image, features), (features, where)):
        _arrow_between(left, right, theme)
    x, y, z = 100 * shown.position
    alt = (
        "The method on a real prediction. From the camera image a network computes a feature map, "
        "a heatmap of where the next waypoint is, and at its peak a distribution over heights. The "
        f"ray of pixel ({shown.pixel[0]:.1f}, {shown.pixel[1]:.1f}) meets the plane at height "
        f"{z:.1f} cm in the point ({x:.1f}, {y:.1f}, {z:.1f}) cm."
    )
    data = {"pixel": shown.pixel.tolist(), "position": shown.position.tolist()}
    return Drawing(figure, alt, data)


def _height_bins(axes: Axes, shown: Prediction, theme: Theme) -> None:
    """The distribution over height bins at the chosen pixel."""
    step = 100 * (shown.heights[1] - shown.heights[0])
    axes.barh(100 * shown.heights, 100 * shown.height_probability, 0.85 * step, color=PARA_BLUE)
    axes.axhline(100 * shown.position[2], color=theme.ink, linewidth=1, linestyle=(0, (3, 2)))
    panel_title(axes, "how high: bins", theme)
    axes.set_ylabel("z [cm]", labelpad=2)
    axes.set_xlabel("probability [%]")
    axes.tick_params(length=2)


def _ray_meets_plane(axes: Axes, shown: Prediction, theme: Theme) -> None:
    """The scene from the side: camera, ray, plane at the predicted height, and the point."""
    axes.imshow(shown.side, extent=(0, _SIDE[0], _SIDE[1], 0), interpolation="none")
    axes.set_xlim(0, _SIDE[0])
    axes.set_ylim(_SIDE[1], 0)
    axes.axis("off")
    panel_title(axes, "ray meets plane: 3D", theme)

    def at(points: Any) -> np.ndarray:
        return shown.side_camera.project(np.asarray(points, np.float64))[0]

    z = shown.position[2]
    corners = [(x, y, z) for x, y in ((-0.3, -0.42), (0.3, -0.42), (0.3, 0.42), (-0.3, 0.42))]
    axes.add_patch(
        Polygon(at(corners), facecolor=PARA_BLUE, alpha=0.35, edgecolor="white", linewidth=1)
    )
    eye = shown.camera.T_world_camera[:3, 3]
    size = shown.camera.width
    frame = np.array([(0, 0), (size, 0), (size, size), (0, size)], np.float64)
    origin, directions = shown.camera.rays(frame)
    sensor = origin + 0.16 * directions
    for corner in sensor:
        axes.plot(*at([eye, corner]).T, color="#1b1f24", linewidth=1.1)
    label = {"ha": "right", "va": "top", "fontsize": 10, "color": "#1b1f24"}
    axes.annotate("camera", at(eye), (-18, 0), textcoords="offset points", **label)
    axes.add_patch(Polygon(at(sensor), facecolor="#1b1f24", alpha=0.75, edgecolor="#1b1f24"))
    axes.plot(*at([eye, shown.position]).T, color="white", linewidth=3.2)
    axes.plot(*at([eye, shown.position]).T, color=PARA_BLUE, linewidth=1.8)
    below = shown.position * [1, 1, 0]
    axes.plot(*at([shown.position, below]).T, color="white", linewidth=1.2, linestyle=(0, (2, 2)))
    axes.plot(
        *at(shown.position), "o", color=PARA_BLUE, markersize=8, markeredgecolor="white", zorder=5
    )
    x, y, z = 100 * shown.position
    point = f"({x:.0f}, {y:.0f}, {z:.0f}) cm".replace("-", "\N{MINUS SIGN}")
    badge = {"boxstyle": "round,pad=0.25", "facecolor": "#1b1f24", "edgecolor": "none"}
    look = {"fontsize": 10, "color": "white", "bbox": {**badge, "alpha": 0.8}}
    axes.text(0.03, 0.05, point, transform=axes.transAxes, **look)


def _arrow_between(left: Axes, right: Axes, theme: Theme) -> None:
    """A small arrow in the gap between two panels."""
    right.annotate(
        "",
        xy=(0, 0.5),
        xycoords=right.transAxes,
        xytext=(1, 0.5),
        textcoords=left.transAxes,
        arrowprops={"arrowstyle": "-|>", "color": theme.ink, "linewidth": 1.4},
    )
