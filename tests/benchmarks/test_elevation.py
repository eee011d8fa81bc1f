"""benchmarks/elevation.py: errors follow the geometry that its docstring names."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.elevation import errors
from para.camera import Camera
from para.errors import ResultError
from para.figures.elevation import draw


def at(degrees: float) -> Camera:
    angle = np.radians(degrees)
    eye = 30 * np.array([np.cos(angle), 0, np.sin(angle)])  # far away: rays are parallel
    return Camera.look_at(eye, (0, 0, 0), 1.5, 128, 128)


def test_an_error_of_height_grows_with_the_sine_of_the_elevation_and_one_of_depth_does_not(
    monkeypatch,
):
    monkeypatch.setattr("para.camera.FARTHEST", 100.0)
    for along, grows in (
        ("height", np.sin(np.radians(80)) / np.sin(np.radians(10))),
        ("depth", 1.0),
    ):
        high, low = (errors(at(degrees), along, 0.0, 0.5) for degrees in (80, 10))
        assert low["median_mm"] / high["median_mm"] == pytest.approx(grows, rel=0.03)
        assert high["missed"] == low["missed"] == 0
    blurred = [errors(at(degrees), "depth", 1.0, 0.0)["median_mm"] for degrees in (80, 10)]
    assert blurred[0] == pytest.approx(blurred[1], rel=0.03)


def test_the_picture_needs_its_benchmark(tmp_path):
    with pytest.raises(ResultError, match=r"benchmarks/elevation\.py"):
        draw(tmp_path / "elevation.json")
