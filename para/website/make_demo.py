"""Make the website's demo of two or more trained policies: frames, ONNX files, facts, a film.

    python scripts/train.py model=para split=lr
    python scripts/train.py model=regression split=lr
    python -m para.website.make_demo \\
        runs/bowl_on_plate-panda-together/laptop/left/para-resnet10-camera/seed0 \\
        runs/bowl_on_plate-panda-together/laptop/left/regression-resnet10-colour/seed0
    python scripts/make_website.py serve=true

The frames are recorded from the simulator, on a grid of places and of cameras: what a policy is
shown in the browser is, to the bit, what it is shown in an evaluation. In a layout where objects
stand apart each is recorded, and dragged, by itself (`para.website.demo_frames`).
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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
from para.website.demo_frames import Places, observations
from para.website.demo_scene import Grid, Scene
from para.website.demo_still import draw_still

MOST_MOVED_MM = 0.1
"""Farther than this from PyTorch's, with the same weights, no waypoint of a file may be."""
CHECKED = 100
"""Frames of the trained view on which that is checked."""
BATCH = 60

log = logging.getLogger(__name__)


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
    scene = Scene(cfg, grid)
    aside = aside_of(into)
    try:
        aside.mkdir(parents=True)
        views, seen = [], []
        for turn, tilt in grid.views():
            view, observations = _view(scene, turn, tilt, aside)
            views.append(view)
            seen.append(observations)
        policies = []
        for run, (policy, config, meta) in zip(runs, loaded, strict=True):
            facts = _policy(run, policy, config, meta, scene, seen, aside)
            policies.append(facts)
            log.info("%s  %.2f MB", facts["file"], facts["bytes"] / 1e6)
        facts = scene.facts() | {"views": views, "policies": policies}
        checked = demo.DemoFile.check(facts)
        atomic_write_json(aside / demo.FACTS, seal(facts))
        _write_still(aside, checked, scene.example("unseen"))
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
    if first.split.everywhere:
        raise ConfigError(
            f"{runs[0]} is of split={first.split.name}: a demo shows where training was and where "
            "it was not (a split by regions)."
        )
    return first


def _view(
    scene: Scene, turn: float, tilt: float, folder: Path
) -> tuple[dict[str, Any], list[Observation]]:
    """Record a camera; what the page is told of it, and what it sees of the chosen places."""
    frames = scene.record(turn, tilt)
    seen = scene.observations(frames)
    name = f"view_{turn:+.0f}_{tilt:+.0f}".replace("+", "p").replace("-", "m")
    sheets, empty = frames.save(folder, name)
    written = [*sheets, empty] if empty else sheets
    facts = {
        "turn_deg": turn,
        "tilt_deg": tilt,
        "sheets": sheets,
        "empty": empty,
        "bytes": sum((folder / file).stat().st_size for file in written),
        "checked": len(seen),
        "differ": scene.differ(turn, tilt, seen),
        "intrinsics": frames.camera.intrinsics.tolist(),
        "T_world_camera": frames.camera.T_world_camera.tolist(),
    }
    count = facts["differ"], facts["checked"]
    log.info("%s  %.2f MB, %d of %d frames differ", name, facts["bytes"] / 1e6, *count)
    return facts, seen


def _write_still(folder: Path, facts: demo.DemoFile, places: Places) -> None:
    """The picture before the demo is started: what each policy plans from one frame."""
    seen = observations(folder, facts, 0, [places])
    chunks = [OnnxPolicy(folder / policy.file).predict(seen)[0] for policy in facts.policies]
    names = [policy.name for policy in facts.policies]
    still = draw_still(seen[0], chunks, names, facts.marks_at(places))
    Image.fromarray(still).save(folder / demo.STILL, quality=90, method=6)


def _policy(
    run: Path,
    policy: Policy,
    cfg: TrainConfig,
    meta: dict[str, Any],
    scene: Scene,
    seen: Sequence[Sequence[Observation]],
    folder: Path,
) -> dict[str, Any]:
    """Export a policy; what the page is told of it."""
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
    return {
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


def _predict(policy: Policy, seen: Sequence[Observation]) -> list[ActionChunk]:
    batches = (seen[i : i + BATCH] for i in range(0, len(seen), BATCH))
    return [chunk for batch in batches for chunk in policy.predict(batch)]


def _moved_mm(ours: Sequence[ActionChunk], theirs: Sequence[ActionChunk]) -> np.ndarray:
    """Distances between the same waypoints of two policies (n, T) [mm]; 0 where a ray misses."""
    moved = [
        np.linalg.norm(a.positions - b.positions, axis=1) for a, b in zip(ours, theirs, strict=True)
    ]
    return 1000 * np.nan_to_num(np.array(moved))


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
