"""Make the website's demo of two or more trained policies: frames, ONNX files, facts, a film.

    python scripts/train.py model=para split=lr
    python scripts/train.py model=regression split=lr
    python -m para.website.make_demo \\
        runs/bowl_on_plate-panda-together/laptop/left/para-resnet10-camera/seed0 \\
        runs/bowl_on_plate-panda-together/laptop/left/regression-resnet10-colour/seed0
    python scripts/make_website.py serve=true

The frames are recorded from the simulator, on a grid of places and of cameras: what a policy is
shown in the browser is, to the bit, what it is shown in an evaluation.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from envs.base import Task, build_task
from envs.regions import inside, nearest_grid_distance
from envs.table import workspace as ws
from para.asides import aside_of
from para.errors import ConfigError, ParaError
from para.export.config import ExportConfig
from para.export.model import OnnxPolicy, export
from para.extras import require_packages
from para.figures.style import model_style
from para.files import atomic_write_json, seal
from para.places import shipped
from para.policies.base import Policy
from para.pretrained.ship import halved
from para.runs.config import TrainConfig
from para.runs.policy_file import load_policy, policy_config
from para.types import ActionChunk, Observation
from para.website import demo
from para.website.demo_film import write_film
from para.website.demo_still import draw_still

MOST_MOVED_MM = 0.1
"""Farther than this from PyTorch's, with the same weights, no waypoint of a file may be."""
CHECKED = 100
"""Frames of the trained view on which that is checked."""
BATCH = 60

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grid:
    """Places of the objects, and cameras.

    Attributes:
        rows: Places along x, near to far.
        columns: Places along y, left to right.
        turns_deg: Where cameras stand, to the right of the trained view.
        tilts_deg: Likewise, above it. The trained view, 0 and 0, is among them.
    """

    rows: int = 20
    columns: int = 30
    turns_deg: tuple[float, ...] = (-20.0, -10.0, 0.0, 10.0, 20.0)
    tilts_deg: tuple[float, ...] = (-15.0, 0.0, 15.0)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """x (rows,) and y (columns,): the middles of equal parts of the workspace [m]."""
        halves = (self.rows, ws.X_HALF), (self.columns, ws.Y_HALF)
        x, y = ((np.arange(n) + 0.5) * 2 * half / n - half for n, half in halves)
        return x, y

    def views(self) -> list[tuple[float, float]]:
        """(turn, tilt) [deg], the trained view first."""
        all_views = [(turn, tilt) for tilt in self.tilts_deg for turn in self.turns_deg]
        return sorted(all_views, key=lambda view: view != (0.0, 0.0))


def make_demo(runs: Sequence[Path], into: Path, grid: Grid | None = None) -> Path:
    """Make a demo of the policies of finished runs in the folder `into`, replacing one there.

    Args:
        runs: Folders of runs of the same task, robot, layout, camera and split.
        into: The folder.
        grid: Places and cameras.

    Raises:
        CheckpointError: A run is damaged or has not finished.
        ConfigError: They cannot be shown together; or `into` holds something else.
    """
    require_packages("export", "onnx", "onnxruntime", "onnxscript")
    grid = grid or Grid()
    if into.exists() and any(into.iterdir()) and not (into / demo.FACTS).exists():
        raise ConfigError(f"{into} holds something that is not a demo. Choose a new folder.")
    loaded = [_load(run) for run in runs]
    cfg = _common(runs, [config for _, config, _ in loaded])
    scene = _Scene(cfg, grid)
    aside = aside_of(into)
    try:
        aside.mkdir(parents=True)
        views, seen = [], []
        for turn, tilt in grid.views():
            view, observations = scene.record(turn, tilt, aside)
            views.append(view)
            seen.append(observations)
            log.info("%s  %.2f MB", view["file"], view["bytes"] / 1e6)
        policies, examples = [], []
        for run, (policy, config, meta) in zip(runs, loaded, strict=True):
            facts, chunks = _policy(run, policy, config, meta, scene, seen, aside)
            policies.append(facts)
            examples.append(chunks)
            log.info("%s  %.2f MB", facts["file"], facts["bytes"] / 1e6)
        chosen = scene.example()
        names = [config.model.name for _, config, _ in loaded]
        predicted = [chunks[chosen] for chunks in examples]
        still = draw_still(seen[0][chosen], predicted, names, scene.grasp(chosen))
        Image.fromarray(still).save(aside / demo.STILL, quality=90, method=6)
        facts = scene.facts() | {"views": views, "policies": policies}
        checked = demo.DemoFile.check(facts)
        atomic_write_json(aside / demo.FACTS, seal(facts))
        write_film(aside, checked)
        shutil.rmtree(into, ignore_errors=True)
        os.replace(aside, into)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return into


def _load(run: Path) -> tuple[Policy, TrainConfig, dict[str, Any]]:
    policy, meta = load_policy(run)
    cfg = policy_config(run, meta)
    if not cfg.model.acts or not meta["finished"]:
        raise ConfigError(f"{run} holds no finished policy that acts.")
    return policy, cfg, meta


def _common(runs: Sequence[Path], configs: Sequence[TrainConfig]) -> TrainConfig:
    first = configs[0]
    names = [cfg.model.name for cfg in configs]
    if len(set(names)) < len(names):
        raise ConfigError(f"A demo shows policies of different names, not {', '.join(names)}.")
    for run, cfg in zip(runs, configs, strict=True):
        for key in ("task", "robot", "layout", "appearance", "env", "split"):
            if getattr(cfg, key) != getattr(first, key):
                raise ConfigError(
                    f"{run} has another {key} than {runs[0]}: a demo shows policies on the same "
                    "frames, in the half that none of them has seen."
                )
    if build_task(first.task).anchors(first.layout) != 1 or first.split.everywhere:
        raise ConfigError(
            f"{runs[0]} is of layout={first.layout}, split={first.split.name}: a demo moves all "
            "objects as one (layout=together) and shows where training was (a split by regions)."
        )
    return first


class _Scene:
    """The simulator, and what is asked of it."""

    def __init__(self, cfg: TrainConfig, grid: Grid):
        self.cfg, self.grid = cfg, grid
        self.task: Task = build_task(cfg.task)
        self.env = self.task.environment(cfg.robot, cfg.layout, cfg.env)
        self.x, self.y = grid.places()
        across = np.meshgrid(self.x, self.y, indexing="ij")
        self.places = np.stack(across, -1).reshape(-1, 2)
        self.trained = inside(cfg.split.train_positions, self.places)
        self.ee_position = np.zeros(3)
        self.gripper = 0.0

    def record(
        self, turn: float, tilt: float, folder: Path
    ) -> tuple[dict[str, Any], list[Observation]]:
        """Write the sheet of a view; what the page is told of it, and the observations."""
        view = {
            "theta_deg": math.hypot(turn, tilt),
            "phi_deg": math.degrees(math.atan2(tilt, turn)) % 360,
        }
        observations = []
        for place in self.places:
            self.env.begin(self.task.place([place], self.cfg.layout, **view))
            observations.append(self.env.observe())
        first = observations[0]
        if not np.abs(self.ee_position).any():
            self.ee_position, self.gripper = np.array(first.ee_position), float(first.gripper)
        for seen in observations:  # the page knows one state of the robot
            if np.abs(seen.ee_position - self.ee_position).max() > 1e-6:
                raise ConfigError("The hand does not start at the same place in every frame.")
        rows, columns, size = self.grid.rows, self.grid.columns, first.image.shape[0]
        images = np.stack([seen.image for seen in observations])
        sheet = images.reshape(rows, columns, size, size, 3).swapaxes(1, 2)
        path = folder / f"view_{turn:+.0f}_{tilt:+.0f}.webp".replace("+", "p").replace("-", "m")
        picture = Image.fromarray(sheet.reshape(rows * size, columns * size, 3))
        picture.save(path, lossless=True, quality=75, method=4)
        facts = {
            "turn_deg": turn,
            "tilt_deg": tilt,
            "file": path.name,
            "bytes": path.stat().st_size,
            "intrinsics": first.camera.intrinsics.tolist(),
            "T_world_camera": first.camera.T_world_camera.tolist(),
        }
        return facts, observations

    def grasp(self, index: int) -> np.ndarray:
        """Where the expert's fingers close (3,) [m], with the objects at a place of the grid."""
        poses = self.task.place([self.places[index]], self.cfg.layout).poses()
        path = self.task.waypoints(poses)
        return next(waypoint.position for waypoint in path if waypoint.gripper < 0.5)

    def example(self) -> int:
        """The place, far from what was trained, that the picture shows."""
        away = np.abs(self.places - self.places[~self.trained].mean(0)).sum(1)
        return int(away.argmin())

    def medians(self, chunks: Sequence[ActionChunk]) -> dict[str, dict[str, Any]]:
        """How far the fingers close from where the expert's do, by half of the table."""
        distances = np.array([_closing_mm(chunk, self.grasp(i)) for i, chunk in enumerate(chunks)])
        halves = {"trained": self.trained, "unseen": ~self.trained}
        return {name: _median(distances[half]) for name, half in halves.items()}

    def facts(self) -> dict[str, Any]:
        """What the page is told of everything but views and policies."""
        task, layout = self.task, self.cfg.layout
        start = task.place([np.zeros(2)], layout)
        low, high = self.places[self.trained].min(0), self.places[self.trained].max(0)
        half_cell = np.array([ws.X_HALF / self.grid.rows, ws.Y_HALF / self.grid.columns])
        first = self.places[0]
        return {
            "command": "python -m para.website.make_demo",
            "task": self.cfg.task.name,
            "split": self.cfg.split.name,
            "size": self.cfg.env.image_size,
            "x": self.x.round(6).tolist(),
            "y": self.y.round(6).tolist(),
            "workspace": [ws.X_HALF, ws.Y_HALF],
            "trained": [*(low - half_cell).tolist(), *(high + half_cell).tolist()],
            "ee_position": self.ee_position.tolist(),
            "gripper": self.gripper,
            "grasp": (self.grasp(0) - [*first, 0]).tolist(),
            "from_demos_mm": 1000 * float(nearest_grid_distance(self.places).min()),
            "objects": [
                {
                    "name": item.name,
                    "radius": item.radius,
                    "colour": list(item.colour),
                    "offset": start.at(item.name).tolist(),
                }
                for item in task.objects
            ],
        }


def _policy(
    run: Path,
    policy: Policy,
    cfg: TrainConfig,
    meta: dict[str, Any],
    scene: _Scene,
    seen: Sequence[Sequence[Observation]],
    folder: Path,
) -> tuple[dict[str, Any], list[ActionChunk]]:
    """Export a policy; what the page is told of it, and what it predicts from the trained view."""
    name = cfg.model.name
    path = export(ExportConfig(policy=str(run), half=True, out=str(folder / f"{name}.onnx")))
    full = _predict(policy, seen[0])
    policy.load_state_dict({k: v.float() for k, v in halved(policy.state_dict()).items()})
    predictions = [_predict(policy, view) for view in seen]
    medians = [scene.medians(chunks) for chunks in predictions]
    chosen = range(0, len(seen[0]), max(1, len(seen[0]) // CHECKED))
    exported = [OnnxPolicy(path).predict([seen[0][i]])[0] for i in chosen]
    moved = _moved_mm([predictions[0][i] for i in chosen], exported).max()
    if not moved <= MOST_MOVED_MM:
        raise ConfigError(f"{path.name} moves a waypoint by {moved:.2g} mm: it is of no use.")
    facts = {
        "name": name,
        "title": model_style(name).label,
        "file": path.name,
        "bytes": path.stat().st_size,
        "steps": meta["training"]["steps"],
        "seed": cfg.seed,
        "moved_mm": float(moved),
        "halved_mm": float(np.quantile(_moved_mm(full, predictions[0]), 0.99)),
        **{half: [of_view[half] for of_view in medians] for half in ("trained", "unseen")},
    }
    return facts, predictions[0]


def _predict(policy: Policy, seen: Sequence[Observation]) -> list[ActionChunk]:
    batches = (seen[i : i + BATCH] for i in range(0, len(seen), BATCH))
    return [chunk for batch in batches for chunk in policy.predict(batch)]


def _moved_mm(ours: Sequence[ActionChunk], theirs: Sequence[ActionChunk]) -> np.ndarray:
    """Distances between the same waypoints of two policies (n, T) [mm]; 0 where a ray misses."""
    moved = [
        np.linalg.norm(a.positions - b.positions, axis=1) for a, b in zip(ours, theirs, strict=True)
    ]
    return 1000 * np.nan_to_num(np.array(moved))


def _closing_mm(chunk: ActionChunk, grasp: np.ndarray) -> float:
    """From the first waypoint with closed fingers to where the expert's close [mm]; NaN: none."""
    closed = np.flatnonzero(chunk.gripper < 0.5)
    return (
        1000 * float(np.linalg.norm(chunk.positions[closed[0]] - grasp)) if len(closed) else np.nan
    )


def _median(distances: np.ndarray) -> dict[str, Any]:
    known = distances[~np.isnan(distances)]
    mm = round(float(np.median(known)), 1) if len(known) else None
    return {"n": len(distances), "never": len(distances) - len(known), "mm": mm}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m para.website.make_demo", description="Make the demo of the website."
    )
    parser.add_argument("run", type=Path, nargs="+", help="folder of a finished run")
    parser.add_argument(
        "--into", type=Path, default=shipped("website") / demo.FOLDER, help="folder of the demo"
    )
    asked = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        make_demo(asked.run, asked.into)
    except ParaError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
