"""Camera calibration: intrinsics and T_world_camera from points that the hand carries.

View i has the hand's pose H_i (world from hand) and sees points b_j, given in a frame B that is
fixed to the hand (corners of a board, or one point: the tool centre), at pixels q_ij. Minimised is

    sum_ij rho(|project(K, T_world_camera, H_i X b_j) - q_ij|^2),    rho = soft L1

over fx, fy, cx, cy, T_world_camera and, for a board, X (hand from board): hand-eye calibration with
a camera that stands still, by reprojection (Tabb & Ahmad Yousef, Machine Vision and Applications
2017), started from closed forms (Zhang; Park & Martin). Lenses without distortion.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from para.camera import Camera
from para.errors import DataError

NOISE = 1.0
"""Residuals beyond this count less and less [px]."""


@dataclass(frozen=True)
class Calibration:
    """A camera, and how sure it is.

    Attributes:
        camera: The camera.
        T_hand_board: (4, 4) where the board is in the hand; identity for single points.
        error_px: Root mean square of reprojection errors [px].
        error_mm: The same across the rays, at the points' distances [mm].
        covariance: (10, 10) of fx, fy, cx, cy [px], rotation vector [rad] and translation [m] of
            T_camera_world; zero for what was given.
        points: How many pixels it rests on.
    """

    camera: Camera
    T_hand_board: np.ndarray
    error_px: float
    error_mm: float
    covariance: np.ndarray
    points: int

    @property
    def deviations(self) -> np.ndarray:
        """(10,) standard deviations, in the order of `covariance`."""
        return np.sqrt(np.diag(self.covariance))


def calibrate_board(
    board: np.ndarray,
    hands: np.ndarray,
    seen: list[tuple[np.ndarray, np.ndarray]],
    size: tuple[int, int],
) -> Calibration:
    """From views of a flat board in the hand.

    Args:
        board: (M, 3) its corners, z = 0 [m].
        hands: (N, 4, 4) T_world_hand of each view.
        seen: For each view, which corners it shows (m,) and at which pixels (m, 2).
        size: Width and height of the images [px].

    Raises:
        DataError: Fewer than six views, or views that do not turn the hand.
    """
    if len(seen) < 6:
        raise DataError(f"{len(seen)} views show the board: at least 6 are needed, better 30.")
    turns = Rotation.from_matrix(hands[:, :3, :3])
    if np.degrees((turns[0].inv() * turns).magnitude().max()) < 15:
        raise DataError(
            "The hand is turned by less than 15 deg between the views: tilt and turn the board, or "
            "its place in the hand and the camera's cannot be told apart."
        )
    flat = [board[which].astype(np.float32) for which, _ in seen]
    pixels = [(at - 0.5).astype(np.float32) for _, at in seen]  # as OpenCV counts
    _, K, _, rotations, shifts = cv2.calibrateCamera(
        flat, pixels, size, None, None, flags=cv2.CALIB_ZERO_TANGENT_DIST | _NO_DISTORTION
    )
    K[:2, 2] += 0.5
    boards = np.stack(
        [_rigid(cv2.Rodrigues(r)[0], t.ravel()) for r, t in zip(rotations, shifts, strict=True)]
    )
    T = _hand_eye(hands, boards)
    X = np.linalg.inv(hands[0]) @ T @ boards[0]
    carried = [board[which] for which, _ in seen]
    return _refined(K, T, X, carried, hands, [at for _, at in seen], size, free_K=True, free_X=True)


def calibrate_points(
    points: np.ndarray, pixels: np.ndarray, size: tuple[int, int], K: np.ndarray | None = None
) -> Calibration:
    """From single points of the world, such as the tool centre in frames of demos.

    Args:
        points: (N, 3) world [m]; not all in one plane where K is None.
        pixels: (N, 2) where they are seen [px].
        size: Width and height of the images [px].
        K: (3, 3) intrinsics that are known; None: they are estimated too.

    Raises:
        DataError: Too few points, or all in one plane.
    """
    need = 12 if K is None else 6
    if len(points) < need:
        raise DataError(f"{len(points)} points: at least {need} are needed, better 30.")
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False) / np.sqrt(len(points))
    if spread[2 if K is None else 1] < 0.01:
        raise DataError(
            "The points lie in one plane (or line): take some at other heights, 5 cm apart and "
            "more, or give the intrinsics (cameras=FILE)."
        )
    free = K is None
    if free:
        f = 1.2 * max(size)
        K = np.array([[f, 0, size[0] / 2], [0, f, size[1] / 2], [0, 0, 1.0]])
    good, r, t, _ = cv2.solvePnPRansac(
        points, pixels, K, None, flags=cv2.SOLVEPNP_EPNP, reprojectionError=0.03 * max(size)
    )
    if not good:
        raise DataError("No camera sees these points at these pixels: are columns exchanged?")
    T = np.linalg.inv(_rigid(cv2.Rodrigues(r)[0], t.ravel()))
    hands = np.tile(np.eye(4), (len(points), 1, 1))
    return _refined(
        *(K, T, np.eye(4), list(points[:, None]), hands, list(pixels[:, None]), size),
        free_K=free,
        free_X=False,
    )


_NO_DISTORTION = cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3


def _refined(
    K: np.ndarray,
    T: np.ndarray,
    X: np.ndarray,
    carried: list[np.ndarray],
    hands: np.ndarray,
    seen: list[np.ndarray],
    size: tuple[int, int],
    free_K: bool,
    free_X: bool,
) -> Calibration:
    view = np.repeat(np.arange(len(seen)), [len(at) for at in seen])
    points, pixels, hand = np.concatenate(carried), np.concatenate(seen), hands[view]
    start = np.concatenate([K[[0, 1, 0, 1], [0, 1, 2, 2]], _twist(np.linalg.inv(T)), _twist(X)])
    free = np.repeat([free_K, True, free_X], [4, 6, 6])
    scale = np.repeat([100.0, 0.1, 0.1], [4, 6, 6])

    def project(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        whole = start.copy()
        whole[free] = values
        held = _matrix(whole[10:])
        at_hand = points @ held[:3, :3].T + held[:3, 3]
        world = (hand[:, :3, :3] @ at_hand[..., None])[..., 0] + hand[:, :3, 3]
        to_camera = _matrix(whole[4:10])
        seen_from = world @ to_camera[:3, :3].T + to_camera[:3, 3]
        depth = seen_from[:, 2]
        at = whole[:2] * seen_from[:, :2] / np.maximum(depth, 1e-3)[:, None] + whole[2:4]
        return at, depth

    def residuals(values: np.ndarray) -> np.ndarray:
        return (project(values)[0] - pixels).ravel()

    found = least_squares(
        residuals, start[free], loss="soft_l1", f_scale=NOISE, x_scale=scale[free]
    )
    if not found.success:
        raise DataError(f"The calibration does not converge: {found.message}")
    whole = start.copy()
    whole[free] = found.x
    error = residuals(found.x).reshape(-1, 2)
    _, depth = project(found.x)
    variance = (error**2).sum() / max(error.size - free.sum(), 1)
    covariance = np.zeros((16, 16))
    covariance[np.ix_(free, free)] = variance * np.linalg.pinv(found.jac.T @ found.jac)
    fx, fy, cx, cy = whole[:4]
    camera = Camera(
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        np.linalg.inv(_matrix(whole[4:10])),
        *size,
    )
    away = error * depth[:, None] / whole[:2]
    return Calibration(
        camera=camera,
        T_hand_board=_matrix(whole[10:]),
        error_px=float(np.sqrt((error**2).sum(1).mean())),
        error_mm=1e3 * float(np.sqrt((away**2).sum(1).mean())),
        covariance=covariance[:10, :10],
        points=len(error),
    )


def _hand_eye(hands: np.ndarray, boards: np.ndarray) -> np.ndarray:
    """T_world_camera (4, 4) with hand_i X = T board_i for one X.

    Two views give A T = T B with A = hand_i hand_j^-1, B = board_i board_j^-1: the rotation turns
    the logarithms of B's rotations into those of A's (Park & Martin, IEEE Transactions on Robotics
    and Automation 1994), the translation follows linearly.
    """
    A = hands[1:] @ np.linalg.inv(hands[:-1])
    B = boards[1:] @ np.linalg.inv(boards[:-1])
    logs = [Rotation.from_matrix(M[:, :3, :3]).as_rotvec() for M in (A, B)]
    R = Rotation.align_vectors(*logs)[0].as_matrix()
    left = (A[:, :3, :3] - np.eye(3)).reshape(-1, 3)
    right = (B[:, :3, 3] @ R.T - A[:, :3, 3]).ravel()
    return _rigid(R, np.linalg.lstsq(left, right, rcond=None)[0])


def _rigid(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def _twist(T: np.ndarray) -> np.ndarray:
    return np.concatenate([Rotation.from_matrix(T[:3, :3]).as_rotvec(), T[:3, 3]])


def _matrix(twist: np.ndarray) -> np.ndarray:
    return _rigid(Rotation.from_rotvec(twist[:3]).as_matrix(), twist[3:])
