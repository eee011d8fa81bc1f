"""How well does a marker in the hand calibrate a camera? `python benchmarks/marker.py`.

Renders recordings of VIEWS images (640 x 480 px, noise of 3 of 255) of a hand that carries an ArUco
marker of 6 cm over a table, always pointing down as in most demonstrations, and lets
`scripts/calibrate.py source=marker` find the camera: with intrinsics that are known and without,
and with a marker that sits 5 mm from where it is said to be.

Writes <results_dir>/benchmarks/marker.json: how far off the camera is in each of DRAWS recordings.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from envs.table.rendering import Renderer
from para.camera import Camera
from para.cli import load_config, plainly
from para.data.calibrating import CalibrateConfig, MarkerConfig, calibrate
from para.files import atomic_write_json
from para.system import provenance

DRAWS, VIEWS, NOISE = 8, 30, 3.0
SIZE = (640, 480)
CAMERA = Camera.look_at((0.96, 0.2, 1.15), (0, 0, 0.05), 45, *SIZE)
OFFSET = (0.06, 0.0, -0.05)
"""Where the marker's middle is in the hand's frame, which points down [m]."""
SIDE = 0.06
WRONG = (0.0, 0.005, 0.0)
SCENE = """
<mujoco>
  <visual><map znear="0.01"/><headlight ambient=".5 .5 .5"/></visual>
  <asset>
    <texture name="marker" type="2d" file="marker.png"/>
    <material name="marker" texture="marker" specular="0"/>
    <texture name="table" type="2d" builtin="checker" rgb1=".6 .5 .4" rgb2=".5 .42 .33"
      width="64" height="64"/>
    <material name="table" texture="table" texrepeat="12 12"/>
  </asset>
  <worldbody>
    <light pos="0.5 -0.8 2" dir="-0.3 0.4 -1" castshadow="true"/>
    <geom type="plane" size="0.8 0.8 0.1" material="table"/>
    <body name="hand" mocap="true">
      <geom type="box" size="0.03 0.05 0.06" pos="0 0 -0.06" rgba=".9 .9 .9 1"/>
      <geom name="marker" type="plane" material="marker"/>
    </body>
  </worldbody>
</mujoco>"""


def record(folder: Path, seed: int, views: int = VIEWS) -> Path:
    """Write images and poses.csv as a recording of demonstrations has them."""
    import mujoco

    rng = np.random.default_rng(seed)
    cells = 8  # six of the marker, and a white border
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    picture = cv2.aruco.generateImageMarker(dictionary, 0, 6 * 40)
    picture = cv2.copyMakeBorder(picture, *[40] * 4, cv2.BORDER_CONSTANT, value=255)
    spec = mujoco.MjSpec.from_string(SCENE, assets={"marker.png": _png(picture)})
    marker, half = spec.geom("marker"), SIDE / 6 * cells / 2
    marker.size, marker.pos = (half, half, 0.01), OFFSET
    # it leans towards the camera; the hand's z points down
    facing = Rotation.from_euler("y", 130, degrees=True)
    marker.quat = facing.as_quat(scalar_first=True)
    model = spec.compile()
    data, renderer = mujoco.MjData(model), Renderer(model, "beauty", *SIZE)
    lines = ["episode,time,image,x,y,z,qw,qx,qy,qz,gripper"]
    for k in range(views):
        at = rng.uniform([-0.2, -0.3, 0.02], [0.2, 0.3, 0.35])
        turn = Rotation.from_euler("xz", [180, rng.uniform(-15, 15)], degrees=True)
        q = turn.as_quat(scalar_first=True)
        data.mocap_pos[0], data.mocap_quat[0] = at, q
        mujoco.mj_forward(model, data)
        image = renderer.render(data, CAMERA) + rng.normal(0, NOISE, (SIZE[1], SIZE[0], 3))
        name = f"{k:03d}.png"
        (folder / name).write_bytes(_png(np.clip(image, 0, 255).astype(np.uint8)))
        numbers = ",".join(f"{value:.6f}" for value in (*at, *q))
        lines.append(f"0,{k / 10},{name},{numbers},1")
    (folder / "poses.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    known = {"width": SIZE[0], "height": SIZE[1], "intrinsics": CAMERA.intrinsics.tolist()}
    whole = {"front": known | {"T_world_camera": np.eye(4).tolist()}}
    (folder / "lens.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder


def off(camera: Camera) -> dict[str, float]:
    """How far it is from the one that took the images."""
    turn = camera.T_world_camera[:3, :3].T @ CAMERA.T_world_camera[:3, :3]
    away = camera.T_world_camera[:3, 3] - CAMERA.T_world_camera[:3, 3]
    angle = np.degrees(Rotation.from_matrix(turn).magnitude())
    goals = np.stack(np.meshgrid((-0.2, 0.2), (-0.3, 0.3), (0.0, 0.2)), -1).reshape(-1, 3)
    pixels, depth = CAMERA.project(goals)
    moved = (camera.project(goals)[0] - pixels) * depth[:, None] / CAMERA.intrinsics[0, 0]
    return {
        "deg": round(float(angle), 3),
        "mm": round(1e3 * float(np.linalg.norm(away)), 2),
        "goals_mm": round(1e3 * float(np.linalg.norm(moved, axis=1).max()), 2),
    }


def _png(image: np.ndarray) -> bytes:
    shown = image if image.ndim == 2 else image[..., ::-1]
    return cv2.imencode(".png", shown)[1].tobytes()


def main() -> None:
    """Record, calibrate, compare, and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results = load_config(CalibrateConfig, ["path=.", *sys.argv[1:]]).results_dir
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(DRAWS):
        with tempfile.TemporaryDirectory() as name:
            folder = record(Path(name), seed)
            lens = CalibrateConfig(
                source="marker",
                path=name,
                cameras=f"{folder}/lens.json",
                marker=MarkerConfig(offset=list(OFFSET)),
                out=f"{name}/found.json",
            )
            wrong = MarkerConfig(offset=(np.array(OFFSET) + WRONG).tolist())
            cases = {
                "intrinsics known": lens,
                "intrinsics unknown": replace(lens, cameras=None),
                "intrinsics known, marker 5 mm elsewhere": replace(lens, marker=wrong),
            }
            for case, cfg in cases.items():
                one = calibrate(cfg)[0]
                row = {"views": one.points, "error_px": round(one.error_px, 3), **off(one.camera)}
                found.setdefault(case, []).append(row)
                logging.info("%s: %s", case, row)
    middle = {
        case: {
            key: {"median": float(np.median(values)), "worst": max(values)}
            for key in ("deg", "mm", "goals_mm")
            for values in [[row[key] for row in rows]]
        }
        for case, rows in found.items()
    }
    result = {**provenance("benchmarks/marker.py", sys.argv[1:]), "off": middle, "draws": found}
    atomic_write_json(f"{results}/benchmarks/marker.json", result)


if __name__ == "__main__":
    plainly(main)
