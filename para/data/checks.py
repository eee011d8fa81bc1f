"""What is usually wrong with recorded demos, found from the demos alone (scripts/check_data.py).

Geometry is tried out: each `Fault` is a way in which poses, cameras and images can fail to belong
together, with the change that mends it. Where the demos agree better with their images after a
change than as they are (`para.data.motion`), that is the finding. Units, heights, colours and
orientations are looked at directly.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from para.data.format import FRAME_SECONDS, Episode
from para.data.motion import Change, Seen, agreement, best_lag, look

GOOD = 0.6
"""Agreement from which on geometry counts as right. Good simulated sets have 0.9 and more."""
BETTER = 0.1
"""A change must raise the agreement by this."""
FAR = 5.0
"""Nothing on a table is so far away [m]."""
OUTSIDE = 0.02
"""Part of the labels that may lie outside the image."""
LOWEST = (-0.03, 0.13)
"""Where the lowest point of a tool that works on a table is [m]."""
TILT = 45.0
"""Median angle between hand and straight down from which on an orientation is strange [deg]."""
BLUE = 2.0
"""Blue pixels per warm one (red to yellow) from which on red and blue are taken for exchanged."""
FRAMES = 200
"""Frames of a demo that motion is measured in, at most."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        fault: Its name, as in `FAULTS` and docs/robot.md.
        says: What was seen, with numbers.
        mend: What to do about it.
    """

    fault: str
    says: str
    mend: str


@dataclass(frozen=True)
class Fault:
    """A way in which poses, cameras and images do not belong together."""

    name: str
    mend: str
    change: Change


def _moved(demo: Seen, matrix: np.ndarray) -> Seen:
    return replace(demo, positions=demo.positions @ matrix.T)


def _camera(demo: Seen, intrinsics: np.ndarray, T_world_camera: np.ndarray) -> Seen:
    return replace(demo, intrinsics=intrinsics, T_world_camera=T_world_camera)


def _mirrored(demo: Seen, across: bool, down: bool) -> Seen:
    """The camera of an image that was turned over: u -> W - u, v -> H - v."""
    flip = np.diag([-1.0 if across else 1.0, -1.0 if down else 1.0, 1.0])
    flip[0, 2], flip[1, 2] = across * demo.width, down * demo.height
    return _camera(demo, flip @ demo.intrinsics, demo.T_world_camera)


def _faults() -> list[Fault]:
    found = [
        Fault(
            "image_flipped",
            f"the images are turned over {how}: turn them back (flip: {how} in the mapping), or "
            "give the camera of the turned image",
            lambda demo, across=across, down=down: _mirrored(demo, across, down),
        )
        for how, across, down in (
            ("horizontal", True, False),
            ("vertical", False, True),
            ("both", True, True),
        )
    ]
    found += [
        Fault(
            "camera_axes",
            "T_world_camera has OpenGL's axes (y up, z backward), and OpenCV's are read: multiply "
            "it by diag(1, -1, -1, 1) from the right",
            lambda demo: _camera(
                demo, demo.intrinsics, demo.T_world_camera @ np.diag([1.0, -1.0, -1.0, 1.0])
            ),
        ),
        Fault(
            "camera_inverse",
            "T_world_camera is its own inverse, world to camera: invert it",
            lambda demo: _camera(demo, demo.intrinsics, np.linalg.inv(demo.T_world_camera)),
        ),
    ]
    for k, axis in enumerate("xyz"):
        signs = np.ones(3)
        signs[k] = -1
        found.append(
            Fault(
                "handedness",
                f"{axis} has the wrong sign: the frame is left-handed. Use -{axis}, in positions "
                "and in orientations",
                lambda demo, signs=signs: _moved(demo, np.diag(signs)),
            )
        )
    for order in itertools.permutations(range(3)):
        if order != (0, 1, 2):
            names = ", ".join("xyz"[k] for k in order)
            found.append(
                Fault(
                    "swapped_axes",
                    f"the axes are exchanged: take the columns {names} for x, y, z",
                    lambda demo, order=order: _moved(demo, np.eye(3)[list(order)]),
                )
            )
    return found


FAULTS = _faults()
"""What is tried out."""


def check_demos(episodes: Sequence[Episode]) -> tuple[list[Finding], dict[str, float]]:
    """Everything that is wrong with some demos of one set, and the numbers it is judged by."""
    episodes = [_beginning(episode) for episode in episodes]
    demos = [look(episode) for episode in episodes]
    units = _units(demos)
    numbers: dict[str, float] = {"demos": len(demos)}
    found = [*units, *_orientation(episodes), *_colours(episodes, numbers)]
    if not units:  # else nothing is where it belongs, and all else follows from that
        found += _size(demos) or _geometry(demos, numbers)
        found += _table(demos, numbers)
        found += _labels(demos, numbers)
    return found, numbers


def _beginning(episode: Episode) -> Episode:
    if episode.meta.num_samples <= FRAMES:
        return episode
    arrays = {name: array[:FRAMES] for name, array in episode.arrays.items()}
    return replace(
        episode,
        meta=replace(episode.meta, num_samples=FRAMES),
        frames=episode.frames[:FRAMES],
        arrays=arrays,
    )


def _units(demos: Sequence[Seen]) -> list[Finding]:
    found = []
    away = float(np.median(np.abs(np.concatenate([d.positions for d in demos])).max(1)))
    if away > FAR:
        found.append(
            Finding(
                "millimetres",
                f"the tool is {away:.0f} m away (median of the largest coordinate).",
                "positions are millimetres: scale: 0.001 in the mapping, or divide x, y, z by 1000",
            )
        )
    camera = float(np.median([np.abs(d.T_world_camera[:, :3, 3]).max(1).mean() for d in demos]))
    if camera > 4 * FAR:
        found.append(
            Finding(
                "millimetres",
                f"the camera is {camera:.0f} m away.",
                "the last column of T_world_camera is in millimetres: divide it by 1000",
            )
        )
    return found


def _size(demos: Sequence[Seen]) -> list[Finding]:
    """Is K that of images of another size?"""
    demo = demos[0]
    u, v = np.median([np.median(d.intrinsics[:, :2, 2], axis=0) for d in demos], axis=0)
    across, down = 2 * u / demo.width, 2 * v / demo.height
    if max(abs(across - 1), abs(down - 1)) < 0.2:
        return []
    whole = f"{2 * u:.0f} x {2 * v:.0f}"
    if abs(across / down - 1) < 0.1:
        mend = f"the images were resized without K: multiply its first two rows by {1 / across:.3f}"
    else:
        mend = (
            "the images were cut or squeezed without K: subtract left and top edge of the cut "
            "from cx and cy, then multiply the rows by the scales of width and height"
        )
    return [
        Finding(
            "image_resized",
            f"K has its centre at ({u:.0f}, {v:.0f}), as an image of about {whole} px has; the "
            f"images have {demo.width} x {demo.height}.",
            mend,
        )
    ]


def _geometry(demos: Sequence[Seen], numbers: dict[str, float]) -> list[Finding]:
    lag, top, now = best_lag(demos)
    numbers |= {"agreement": now, "lag_s": lag * FRAME_SECONDS}
    if top >= GOOD:
        if abs(lag) < 0.75 or top - now < 0.02:
            return []
        who = "poses lag behind images" if lag > 0 else "images lag behind poses"
        return [
            Finding(
                "lag",
                f"{who} by {abs(lag) * FRAME_SECONDS:.2f} s: agreement {top:.2f} there, {now:.2f} "
                "as they are.",
                f"take for each image the pose of {abs(lag) * FRAME_SECONDS:.2f} s "
                f"{'later' if lag > 0 else 'earlier'} (time stamps of the moment of exposure)",
            )
        ]
    tried = sorted(
        ((agreement([fault.change(d) for d in demos]), fault) for fault in FAULTS),
        key=lambda pair: -pair[0],
    )
    best = tried[0][0]
    if best < max(GOOD, now + BETTER):
        return [
            Finding(
                "geometry",
                f"projected poses do not move with the image (agreement {now:.2f}, right is "
                f"{GOOD:g} and more), and none of {len(FAULTS)} usual mistakes explains it.",
                "calibrate again (scripts/calibrate.py), and see in the film where the tool is "
                "projected",
            )
        ]
    # From a camera in a plane of symmetry a mirrored image is a mirrored world: all are said, the
    # more usual first, but those after which the tool is not at the table.
    close = [pair for pair in tried if pair[0] > best - 0.05]
    placed = [(v, f) for v, f in close if _is_at_table([f.change(d) for d in demos])] or close
    even = [fault for value, fault in placed if value > placed[0][0] - 0.02]
    same = [fault for fault in FAULTS if fault in even]
    return [
        Finding(
            same[0].name,
            f"projected poses do not move with the image: agreement {now:.2f}, and {best:.2f} when "
            "that is mended.",
            "; or, which looks the same: ".join(fault.mend for fault in same),
        )
    ]


def _table(demos: Sequence[Seen], numbers: dict[str, float]) -> list[Finding]:
    """Where the tool is lowest the table is near."""
    lowest = _lowest(demos)
    numbers["lowest_m"] = lowest
    if _is_at_table(demos):
        return []
    return [
        Finding(
            "table_height",
            f"the tool's lowest place is z = {lowest:.3f} m (median over demos), and the table is "
            f"z = 0: between {LOWEST[0]:g} and {LOWEST[1]:g} was expected.",
            f"subtract the height of the table, about {lowest - 0.02:.2f} m, from z of poses *and* "
            "cameras (table_height: in the mapping)",
        )
    ]


def _lowest(demos: Sequence[Seen]) -> float:
    return float(np.median([d.positions[:, 2].min() for d in demos]))


def _is_at_table(demos: Sequence[Seen]) -> bool:
    return LOWEST[0] <= _lowest(demos) <= LOWEST[1]


def _labels(demos: Sequence[Seen], numbers: dict[str, float]) -> list[Finding]:
    outside = 1 - float(np.concatenate([d.in_view() for d in demos]).mean())
    numbers["outside"] = outside
    if outside <= OUTSIDE:
        return []
    return [
        Finding(
            "labels_outside",
            f"{100 * outside:.0f} % of the tool's pixels lie outside the image.",
            "mend what else is found first; else use a camera that sees the whole workspace: "
            "labels outside are not learned from",
        )
    ]


def _orientation(episodes: Sequence[Episode]) -> list[Finding]:
    quaternions = [e.arrays["obs/ee_pose"][:, 3:].astype(np.float64) for e in episodes]
    tilt, turn = _tilt(quaternions), _turn(quaternions)
    if tilt < TILT and turn < 90:
        return []
    says = f"the hand is {tilt:.0f} deg off straight down and turns {turn:.0f} deg/s (medians)."
    upward = tilt > 90  # 180 deg read as 180 rad is 54 deg off
    if upward and _tilt([q[:, [3, 0, 1, 2]] for q in quaternions]) < TILT / 2:
        mend = "the quaternions are x, y, z, w: rotation_is: quaternion_xyzw"
        return [Finding("quaternion_order", says, mend)]
    if upward and _tilt([q[:, [1, 2, 3, 0]] for q in quaternions]) < TILT / 2:
        mend = "the quaternions are w, x, y, z: rotation_is: quaternion_wxyz"
        return [Finding("quaternion_order", says, mend)]
    return [
        Finding(
            "degrees",
            says,
            "angles in degrees were read as radians (multiply by pi / 180); if they are radians, "
            "see whether the tool's z axis points out of the hand",
        )
    ]


def _tilt(quaternions: Sequence[np.ndarray]) -> float:
    """Median angle of the hand's z axis from straight down [deg]."""
    w, x, y, z = np.concatenate(quaternions).T
    up = (w**2 - x**2 - y**2 + z**2) / (w**2 + x**2 + y**2 + z**2)
    return float(np.degrees(np.median(np.arccos(np.clip(-up, -1, 1)))))


def _turn(quaternions: Sequence[np.ndarray]) -> float:
    """Median speed of turning [deg/s]."""
    cos = [np.abs((a[1:] * a[:-1]).sum(1)) for a in quaternions]
    angles = 2 * np.arccos(np.clip(np.concatenate(cos), 0, 1))
    return float(np.degrees(np.median(angles)) / FRAME_SECONDS)


def _colours(episodes: Sequence[Episode], numbers: dict[str, float]) -> list[Finding]:
    """Indoor pictures have more warm than blue places, by far; exchanged channels turn it round."""
    pixels = np.concatenate([e.images([0])[0, ::2, ::2].reshape(-1, 1, 3) for e in episodes])
    hue, saturation, value = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[:, 0].T
    coloured = (saturation > 40) & (value > 40)
    warm = (coloured & ((hue < 30) | (hue > 165))).sum()
    blue = (coloured & (hue > 90) & (hue < 135)).sum()
    numbers["blue_per_warm"] = float(blue / max(warm, 1))
    if blue < 0.05 * len(pixels) or blue < BLUE * warm:
        return []
    return [
        Finding(
            "bgr",
            f"{100 * blue / len(pixels):.0f} % of the pixels are blue and "
            f"{100 * warm / len(pixels):.0f} % red to yellow: few rooms look like that.",
            "red and blue are exchanged (OpenCV reads BGR): image[..., ::-1]. See the contact "
            "sheet; a blue table is no mistake",
        )
    ]
