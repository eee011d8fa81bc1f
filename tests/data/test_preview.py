"""Pictures and videos of a data set show what is in it."""

from __future__ import annotations

import cv2
import numpy as np
from synthetic_demos import camera, make_dataset, make_episode

from para.data.format import check_dataset, episode_path, write_episode
from para.data.preview import CLOSED, OPEN, TILE, annotated_frame, contact_sheet, write_previews
from para.video import probe_video


def test_path_is_drawn_where_the_camera_sees_it():
    episode = make_episode(2)
    picture = annotated_frame(episode, 0, 512)
    places = camera(512).project(episode.arrays["obs/ee_pose"][[0, -4], :3])[0]
    for (u, v), colour in zip(places, (OPEN, CLOSED), strict=True):
        around = picture[int(v) - 1 : int(v) + 2, int(u) - 1 : int(u) + 2].reshape(-1, 3)
        assert np.abs(around.astype(int) - colour).sum(1).min() < 60


def test_previews_of_the_first_middle_and_last_demo(tmp_path):
    folder = make_dataset(tmp_path / "set", episodes=5, frames=12)
    paths = write_previews(folder, check_dataset(folder), tmp_path / "out")
    names = [path.name for path in paths]
    assert names == [
        "contact_sheet.png",
        "train_demo_0.mp4",
        "train_demo_2.mp4",
        "train_demo_4.mp4",
    ]
    video = probe_video(paths[1])
    assert (video.codec, video.pixel_format, video.frames, video.fps) == ("h264", "yuv420p", 12, 10)
    data = paths[1].read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before it is loaded


def test_contact_sheet_has_a_tile_per_demo_and_names_failures(tmp_path):
    for index in range(3):
        write_episode(episode_path(tmp_path, index), make_episode(index, success=index != 1))
    metas = check_dataset(tmp_path)
    sheet = cv2.imread(str(contact_sheet(tmp_path, metas, tmp_path / "sheet.png")))
    assert sheet.shape == (34 + 2 * (TILE + 2), 2 * (TILE + 2), 3)
    tiles = [sheet[34 + r : 34 + r + TILE, c : c + TILE] for r, c in ((0, 0), (0, 162), (162, 0))]
    blank = sheet[34 + 162 :, 162:]
    assert (blank == 255).all()
    assert all(tile.std() > 10 for tile in tiles)
    # "FAILED" adds bright letters to the label of the second tile only.
    label = [int((tile[:20, 20:80].min(-1) > 230).sum()) for tile in tiles]
    assert label[1] > 20 > max(label[0], label[2])
