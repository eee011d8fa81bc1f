"""Calibration against known cameras: 0.3 deg, 5 mm (medians) from 30 views, 0.5 px of noise."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from foreign_sets import camera_file
from scipy.spatial.transform import Rotation

from benchmarks import marker
from para.camera import Camera
from para.commands.calibrate import main
from para.data.calibrating import BoardConfig
from para.data.calibration import calibrate_board, calibrate_points
from para.data.cameras import read_cameras
from para.errors import DataError

SIZE = (640, 480)
TRUE = Camera.look_at((0.96, 0.2, 1.15), (0, 0, 0.05), 45, *SIZE)


def off(found: Camera, true: Camera = TRUE) -> tuple[float, float]:
    """Rotation [deg] and translation [mm] between two cameras."""
    turn = found.T_world_camera[:3, :3].T @ true.T_world_camera[:3, :3]
    away = found.T_world_camera[:3, 3] - true.T_world_camera[:3, 3]
    angle = Rotation.from_matrix(turn).magnitude()
    return float(np.degrees(angle)), 1e3 * float(np.linalg.norm(away))


def hands(rng: np.random.Generator, count: int = 30) -> np.ndarray:
    """Hands over the table, that hold the board towards the camera, more or less."""
    T = np.tile(np.eye(4), (count, 1, 1))
    facing = Rotation.from_matrix(TRUE.T_world_camera[:3, :3])
    turns = Rotation.from_rotvec(rng.uniform(-0.6, 0.6, (count, 3)))
    T[:, :3, :3] = (facing * turns).as_matrix()
    T[:, :3, 3] = rng.uniform([-0.15, -0.25, 0.1], [0.2, 0.25, 0.4], (count, 3))
    return T


BOARD = BoardConfig().corners()
HELD = np.eye(4)
HELD[:3, :3] = Rotation.from_rotvec([0.1, -0.2, 0.3]).as_matrix()
HELD[:3, 3] = -BOARD.mean(0) + [0.01, 0.02, 0.05]


def views(rng: np.random.Generator, noise: float, outliers: int = 0):
    """Hands, and what is seen of the board in each."""
    T = hands(rng)
    seen = []
    for hand in T:
        world = BOARD @ (hand @ HELD)[:3, :3].T + (hand @ HELD)[:3, 3]
        pixels, depth = TRUE.project(world)
        which = np.flatnonzero(TRUE.in_view(pixels, depth))
        seen.append((which, pixels[which] + rng.normal(0, noise, (len(which), 2))))
    for k in range(outliers):
        seen[k][1][0] += 30
    return T, seen


def test_a_board_in_the_hand_gives_camera_and_lens():
    """In the median of a few draws; single ones are off by more, as the covariance says."""
    errors = []
    for seed in range(3):
        T, seen = views(np.random.default_rng(seed), 0.5, outliers=5)
        found = calibrate_board(BOARD, T, seen, SIZE)
        errors.append(off(found.camera))
        assert found.camera.intrinsics[0, 0] == pytest.approx(TRUE.intrinsics[0, 0], rel=0.02)
        held = Camera(TRUE.intrinsics, found.T_hand_board, *SIZE)
        assert off(held, Camera(TRUE.intrinsics, HELD, *SIZE))[1] < 10
    angle, away = np.median(errors, axis=0)
    assert angle < 0.3
    assert away < 5


def test_single_points_give_the_camera_and_the_covariance_says_how_well():
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        points = rng.uniform([-0.2, -0.3, 0.0], [0.2, 0.3, 0.4], (30, 3))
        pixels = TRUE.project(points)[0] + rng.normal(0, 0.5, (30, 2))
        found.append(calibrate_points(points, pixels, SIZE, TRUE.intrinsics))
    errors = np.array([off(one.camera) for one in found])
    assert np.median(errors, 0)[0] < 0.3
    assert np.median(errors, 0)[1] < 5
    centre = np.linalg.inv(TRUE.T_world_camera)[:3, 3]
    away = np.array([np.linalg.inv(one.camera.T_world_camera)[:3, 3] - centre for one in found])
    said = np.mean([one.deviations[7:] for one in found], axis=0)
    np.testing.assert_allclose(away.std(0), said, rtol=0.4)
    assert found[0].error_px == pytest.approx(0.5 * np.sqrt(2), rel=0.3)


def test_points_without_a_lens_give_it_too():
    rng = np.random.default_rng(1)
    points = rng.uniform([-0.2, -0.3, 0.0], [0.2, 0.3, 0.4], (200, 3))
    pixels = TRUE.project(points)[0] + rng.normal(0, 0.2, (200, 2))
    found = calibrate_points(points, pixels, SIZE)
    assert found.camera.intrinsics[0, 0] == pytest.approx(TRUE.intrinsics[0, 0], rel=0.03)


def test_what_cannot_be_calibrated_is_one_sentence():
    rng = np.random.default_rng(0)
    T, seen = views(rng, 0.5)
    with pytest.raises(DataError, match="3 views show the board: at least 6"):
        calibrate_board(BOARD, T[:3], seen[:3], SIZE)
    T[:, :3, :3] = np.eye(3)
    with pytest.raises(DataError, match="turned by less than 15 deg"):
        calibrate_board(BOARD, T, seen, SIZE)
    flat = rng.uniform([-0.2, -0.3, 0.0], [0.2, 0.3, 0.0], (30, 3))
    with pytest.raises(DataError, match="lie in one plane"):
        calibrate_points(flat, TRUE.project(flat)[0], SIZE)
    with pytest.raises(DataError, match="4 points: at least 12"):
        calibrate_points(flat[:4], TRUE.project(flat[:4])[0], SIZE)


def test_the_command_reads_points_and_images_of_a_board(tmp_path, capsys):
    rng = np.random.default_rng(0)
    points = rng.uniform([-0.2, -0.3, 0.0], [0.2, 0.3, 0.4], (30, 3))
    rows = np.column_stack([points, TRUE.project(points)[0] + rng.normal(0, 0.5, (30, 2))])
    np.savetxt(tmp_path / "points.csv", rows, "%.6f", ",", header="x,y,z,u,v", comments="")
    known = camera_file(
        tmp_path / "known.json",
        width=SIZE[0],
        height=SIZE[1],
        intrinsics=TRUE.intrinsics.tolist(),
    )
    words = [f"path={tmp_path}", f"cameras={known}", f"out={tmp_path}/a.json"]
    main(["source=points", *words])
    assert max(off(read_cameras(tmp_path / "a.json")["front"].camera)) < 5
    assert "px" in capsys.readouterr().out
    _draw_board_views(tmp_path, rng)
    main(["source=board", f"path={tmp_path}", f"out={tmp_path}/b.json", "board.square=0.06"])
    angle, away = off(read_cameras(tmp_path / "b.json")["front"].camera)
    assert angle < 0.3
    assert away < 5
    (tmp_path / "points.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(SystemExit):
        main(["source=points", *words])
    assert "lacks the columns u, v" in capsys.readouterr().err


@pytest.mark.long
def test_a_marker_in_the_hand_of_recorded_demos_calibrates_their_camera(tmp_path, capsys):
    marker.record(tmp_path, 0, views=14)
    offset = ",".join(map(str, marker.OFFSET))
    words = ["source=marker", f"path={tmp_path}", f"marker.offset=[{offset}]"]
    lens = f"cameras={tmp_path}/lens.json"
    main([*words, lens, f"out={tmp_path}/a.json"])
    found = marker.off(read_cameras(tmp_path / "a.json")["front"].camera)
    assert found["deg"] < 0.3
    assert found["mm"] < 5
    assert found["goals_mm"] < 2.5
    assert "14 pixels, reprojection error 0." in capsys.readouterr().out
    main([*words, f"out={tmp_path}/b.json"])  # a wrong lens and a wrong distance make up for it
    found = marker.off(read_cameras(tmp_path / "b.json")["front"].camera)
    assert found["goals_mm"] < 5
    for wrong, sentence in (
        ([*words, lens, "marker.index=3"], "marker 3 .* is found in 0 of 14 images, and 12"),
        ([*words, lens, "marker.offset=[0,0]"], r"marker\.offset=\[0.*must be \[x,y,z\]"),
        (["source=board", f"path={tmp_path}", lens], "cameras= is for source=points and marker"),
        ([*words, f"cameras={camera_file(tmp_path / 'c.json', width=64)}"], "64 x .* 640 x 480"),
    ):
        with pytest.raises(SystemExit):
            main(wrong)
        assert re.search(sentence, " ".join(capsys.readouterr().err.split()))


def _draw_board_views(folder, rng) -> None:
    """Rendered board images and poses.csv; the camera sees the board's plane by a homography."""
    config, side, large = BoardConfig(square=0.06), 60, TRUE.resized(2 * SIZE[0], 2 * SIZE[1])
    flat = config.board().generateImage((config.columns * side, config.rows * side))
    held = HELD.copy()
    held[:3, 3] -= config.corners().mean(0) - BOARD.mean(0)
    lines = ["image,x,y,z,qw,qx,qy,qz"]
    for k, hand in enumerate(hands(rng, 12)):
        T = np.linalg.inv(TRUE.T_world_camera) @ hand @ held
        to_image = large.intrinsics @ T[:3][:, [0, 1, 3]]
        metres = np.diag([config.square / side, config.square / side, 1.0])
        half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])  # OpenCV's centre of a pixel
        warp = half @ to_image @ metres @ np.linalg.inv(half)
        shape = (large.width, large.height)
        picture = cv2.warpPerspective(flat, warp, shape, flags=cv2.INTER_LINEAR, borderValue=128)
        cv2.imwrite(str(folder / f"{k}.png"), picture)
        q = Rotation.from_matrix(hand[:3, :3]).as_quat(scalar_first=True)
        lines.append(",".join([f"{k}.png", *(f"{v:.9f}" for v in (*hand[:3, 3], *q))]))
    (folder / "poses.csv").write_text("\n".join(lines) + "\n")
