"""A film as one picture: the right moments, both of its parts, narrow enough for a page."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from para.figures.recorder import FPS, HOLD_S, MAIN, SIDE, VIEW
from para.figures.strip import film_strip
from para.video import VideoError, write_video


def test_moments_from_the_first_frame_to_the_outcome(tmp_path):
    acting, held = 21, round(HOLD_S * FPS)

    def frames():
        top, left, size = VIEW
        for number in range(acting + held):
            frame = np.full((MAIN, MAIN + SIDE, 3), 255, np.uint8)
            frame[:, :MAIN] = 10 * min(number, acting)
            frame[top : top + size, MAIN + left : MAIN + left + size] = (0, 0, 200)
            yield frame

    film = write_video(tmp_path / "film.mp4", frames(), FPS)
    strip = np.asarray(Image.open(film_strip(film, tmp_path / "strip.png", count=8)))
    height, width, _ = strip.shape
    assert width <= 2000
    middles = [round((column + 0.5) * width / 8) for column in range(8)]
    scenes = strip[height // 4, middles].mean(-1)
    expected = 10 * np.linspace(0, acting, 8).round()
    np.testing.assert_allclose(scenes, expected, atol=4)
    assert (np.abs(strip[3 * height // 4, middles] - np.array([0, 0, 200.0])) < 12).all()


def test_other_videos_are_refused(tmp_path):
    film = write_video(tmp_path / "film.mp4", np.zeros((60, 64, 64, 3), np.uint8), FPS)
    with pytest.raises(VideoError, match="no film of an evaluation"):
        film_strip(film, tmp_path / "strip.png")
