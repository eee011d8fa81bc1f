"""Videos that browsers play, and drawing at the right pixel."""

import numpy as np
import pytest

from para.video import (
    VideoError,
    draw_dot,
    draw_path,
    draw_text,
    overlay_heatmap,
    probe_video,
    read_video,
    resize,
    write_video,
)


def _frames(n=12, height=48, width=64):
    """A bright square that moves to the right over grey."""
    for i in range(n):
        frame = np.full((height, width, 3), 90, np.uint8)
        frame[16:32, 2 + 4 * i : 14 + 4 * i] = (220, 60, 40)
        yield frame


def test_round_trip(tmp_path):
    path = write_video(tmp_path / "a.mp4", _frames(), fps=25, crf=12, comment="key 1")
    info = probe_video(path)
    assert (info.width, info.height, info.frames, info.fps) == (64, 48, 12, 25)
    assert (info.codec, info.pixel_format, info.comment) == ("h264", "yuv420p", "key 1")
    assert info.seconds == pytest.approx(0.48)
    decoded = read_video(path)
    expected = np.stack(list(_frames()))
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 3
    # Red stays red: channels are not swapped on the way.
    assert decoded[5, 24, 28, 0] > 180 > 100 > decoded[5, 24, 28, 2]


def test_index_comes_first(tmp_path):
    data = write_video(tmp_path / "a.mp4", _frames()).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_odd_sizes_become_even(tmp_path):
    info = probe_video(write_video(tmp_path / "a.mp4", _frames(3, 49, 65)))
    assert (info.width, info.height) == (64, 48)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "at least one frame"),
        ([np.zeros((8, 8, 3))], "uint8"),
        ([np.zeros((8, 8), np.uint8)], "uint8"),
        ([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 48, 3), np.uint8)], "one size"),
    ],
)
def test_bad_frames_leave_no_file(tmp_path, frames, message):
    with pytest.raises(VideoError, match=message):
        write_video(tmp_path / "a.mp4", frames)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_video_leaves_the_old_one(tmp_path):
    path = write_video(tmp_path / "a.mp4", _frames(3))

    def interrupted():
        yield next(_frames())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, interrupted())
    assert probe_video(path).frames == 3
    assert list(tmp_path.iterdir()) == [path]


def test_not_a_video(tmp_path):
    (tmp_path / "a.mp4").write_text("no")
    with pytest.raises(VideoError, match=r"a\.mp4"):
        read_video(tmp_path / "a.mp4")


def test_heatmap_is_laid_over_its_own_cell():
    image = np.full((64, 64, 3), 100, np.uint8)
    heatmap = np.zeros((16, 16))
    heatmap[4, 11] = 0.7  # cell (4, 11) covers pixels [44, 48) x [16, 20)
    shown = overlay_heatmap(image, heatmap)
    changed = np.argwhere((shown != image).any(-1))
    assert changed.mean(0) + 0.5 == pytest.approx([18, 46], abs=0.1)
    assert (overlay_heatmap(image, np.zeros((16, 16))) == image).all()
    assert (image == 100).all()


def test_dot_and_path_have_the_camera_pixel_convention():
    image = np.zeros((40, 60, 3), np.uint8)
    draw_dot(image, (np.nan, 20.0), 6, (255, 255, 255))
    assert not image.any(), "a waypoint without a place"
    draw_dot(image, (30.0, 20.0), 6, (255, 255, 255), outline=0)  # a corner of four pixels
    weights = image[..., 0].astype(float)
    rows, columns = np.indices(weights.shape) + 0.5
    centre = (columns * weights).sum() / weights.sum(), (rows * weights).sum() / weights.sum()
    assert centre == pytest.approx((30, 20), abs=0.1)
    image[...] = 0
    draw_path(image, np.array([[10.5, 5.5], [10.5, 30.5]]), (255, 0, 0), thickness=1)
    assert image[20, 10, 0] > 200 > 20 > image[20, 13, 0]


def test_text_is_drawn_where_asked():
    image = np.zeros((40, 120, 3), np.uint8)
    draw_text(image, "PLACE", (60, 20), size=16, anchor="mm", bold=True)
    rows, columns = np.nonzero(image[..., 0] > 128)
    assert abs((columns.min() + columns.max()) / 2 - 60) < 3
    assert abs((rows.min() + rows.max()) / 2 - 20) < 3


def test_resize_keeps_uint8_and_mean():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert resize(image, 8, 8).shape == (8, 8, 3)
    assert resize(image, 2, 2).mean() == pytest.approx(image.mean(), abs=1)
