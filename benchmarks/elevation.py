"""What a wrong pixel or bin costs, by the camera's elevation: `python benchmarks/elevation.py`.

Geometry alone, no policy: points of the workspace are projected, the pixel or the bin is made
wrong by a normal error of fixed size (ERRORS), and the pixel's ray is met again with a plane of
height, or with one that faces the camera (`model.head.along=height|depth`). From a camera at the
elevation e, an error of height moves the point along its ray by 1 / sin(e) times as much, and so
does the error across the ray, z / f for each pixel, that a pixel has upwards.

Writes <results_dir>/benchmarks/elevation.json: distance to the true point, median and 95th
percentile, and how often the ray met nothing. `python -m para.figures.elevation` draws it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from envs.base import EnvConfig
from para.camera import Camera
from para.cli import load_config, plainly
from para.common import CommonConfig
from para.files import atomic_write_json
from para.heads import HeadConfig
from para.system import provenance

ELEVATIONS = (5, 10, 15, 20, 30, 40, 50, 60, 70, 80)
"""Of the camera above the table [deg], at the usual distance and field of view."""
LOW, HIGH = (-0.195, -0.30, 0.0), (0.195, 0.30, 0.30)
"""Corners of the box that points are drawn from [m]."""
SIZE = 128
POINTS = 20_000
ERRORS = {"1 px": (1.0, 0.0), "half a bin": (0.0, 0.5), "both": (1.0, 0.5)}
"""Standard deviations: of u and of v [px of SIZE], and of the height or depth [bins]."""


def errors(camera: Camera, along: str, pixel: float, bins: float) -> dict[str, float]:
    """Distances between points and what is made of their wrong pixels and bins [mm].

    Args:
        camera: Who sees them.
        along: height | depth.
        pixel: Standard deviation of u and of v [px].
        bins: Of the height or depth [bins].
    """
    rng = np.random.default_rng(0)
    points = rng.uniform(LOW, HIGH, (POINTS, 3))
    pixels, depth = camera.project(points)
    seen = camera.in_view(pixels, depth)
    points, pixels = points[seen], pixels[seen]
    cfg = HeadConfig(kind="", along=along)
    low, high = cfg.span
    wrong = rng.normal(0, bins * (high - low) / (cfg.height_bins - 1), len(points))
    pixels = pixels + rng.normal(0, pixel, pixels.shape)
    if along == "height":
        found = camera.unproject_to_height(pixels, points[:, 2] + wrong)
    else:
        found = camera.unproject_behind_origin(pixels, camera.behind_origin(points) + wrong)
    distance = 1000 * np.linalg.norm(found - points, axis=1)
    missed = np.isnan(distance)
    median, most = np.quantile(distance[~missed], (0.5, 0.95))
    return {
        "median_mm": round(float(median), 2),
        "p95_mm": round(float(most), 2),
        "missed": round(float(missed.mean()), 4),
        "n": len(points),
    }


def rows() -> list[dict[str, Any]]:
    """One row for each elevation, what bins count, and error."""
    env, found = EnvConfig(), []
    for elevation in ELEVATIONS:
        angle = np.radians(elevation)
        eye = env.camera_distance * np.array([np.cos(angle), 0, np.sin(angle)])
        camera = Camera.look_at(eye, (0, 0, 0), env.camera_fovy_deg, SIZE, SIZE)
        for along in ("height", "depth"):
            for name, (pixel, bins) in ERRORS.items():
                what = {"elevation_deg": elevation, "along": along, "error": name}
                found.append(what | errors(camera, along, pixel, bins))
    return found


def main() -> None:
    """Compute, and write the result."""
    cfg = load_config(CommonConfig, sys.argv[1:])
    result = {**provenance("benchmarks/elevation.py", sys.argv[1:]), "rows": rows()}
    atomic_write_json(f"{cfg.results_dir}/benchmarks/elevation.json", result)


if __name__ == "__main__":
    plainly(main)
