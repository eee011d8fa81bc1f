"""Test-time augmentation: several looks at one image, and what they have in common.

A heatmap's peak is a fraction of a cell off, and which way depends on where the cells lie on what
is seen. So the image is also shown shifted, turned and zoomed a little, camera and all, as in
training (`para.data.augment`). Each look is a true image of another camera, answers come back as
points and turns in the world, and the median of them is the plan. The looks are fixed: the same
observation gives the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from para.camera import between_centres
from para.types import ActionChunk, Observation

NEEDED = frozenset({"shift", "scale", "rotate_deg"})
"""What the labels of a policy must follow (`Policy.follows`) for its looks to agree."""
SHIFT, ZOOM, TURN = 0.06, 0.15, math.radians(15)
"""Largest shift [of the image's sides], zoom (its logarithm) and turn [rad]: within what
configs/augment/camera.yaml trains with."""
BASES = 2, 3, 5, 7
"""Of the Halton sequence (1960) in turn, zoom and shifts: spread evenly, however many looks."""


def seen_through(observation: Observation, new_from_old: np.ndarray) -> Observation:
    """What the camera would see that a map of pixel coordinates makes of this one; edges repeat.

    Args:
        observation: Of which camera and image change.
        new_from_old: (3, 3) of (u, v, 1), affine (`Camera.warped`).
    """
    camera = observation.camera
    image = cv2.warpPerspective(
        observation.image,
        between_centres(new_from_old),
        (camera.width, camera.height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return replace(observation, image=image, camera=camera.warped(new_from_old))


def looks(observation: Observation, count: int) -> list[Observation]:
    """The observation itself, and `count` - 1 others of the same instant."""
    camera = observation.camera
    others = _maps(count - 1, camera.width, camera.height)
    return [observation, *(seen_through(observation, each) for each in others)]


@lru_cache(16)
def _maps(count: int, width: int, height: int) -> tuple[np.ndarray, ...]:
    """Similarities (3, 3) of pixel coordinates (u, v, 1) about the image's middle."""
    middle = np.array([width / 2, height / 2])
    maps = []
    for index in range(1, count + 1):
        turn, zoom, right, down = (2 * _halton(index, base) - 1 for base in BASES)
        cos, sin = (math.exp(ZOOM * zoom) * part(TURN * turn) for part in (math.cos, math.sin))
        linear = np.array([[cos, -sin], [sin, cos]])
        shift = SHIFT * np.array([width * right, height * down])
        moved = np.column_stack([linear, middle + shift - linear @ middle])
        maps.append(np.vstack([moved, [0.0, 0.0, 1.0]]))
    return tuple(maps)


def _halton(index: int, base: int) -> float:
    """The digits of `index`, mirrored at the point: in [0, 1)."""
    value, weight = 0.0, 1.0
    while index:
        weight /= base
        index, digit = divmod(index, base)
        value += weight * digit
    return value


def agreed(chunks: Sequence[ActionChunk]) -> ActionChunk:
    """One plan of those of all looks, that of the observation itself first.

    The median: a look that takes another object for the right one should not pull the hand away.
    A waypoint that a look has no place for (`ActionChunk.missed`) does not count there. Pixels and
    heatmaps are the first plan's.
    """
    first = chunks[0]
    positions = np.stack([chunk.positions for chunk in chunks])
    known = np.isfinite(positions).all(-1)
    rotations = None
    if first.rotations is not None:
        rotations = _agreed_turns(np.stack([chunk.rotations for chunk in chunks]), known)
    return replace(
        first,
        positions=_median(positions, known),
        gripper=np.median([chunk.gripper for chunk in chunks], axis=0).astype(first.gripper.dtype),
        rotations=rotations,
    )


def _median(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(T, 3) of values (K, T, 3) that are `known` (K, T); NaN where none is."""
    unknown = np.broadcast_to(~known[..., None], values.shape)
    return np.ma.median(np.ma.array(values, mask=unknown), axis=0).filled(np.nan)


def _agreed_turns(rotations: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(T, 3) of rotations (K, T, 3) [rad]: the median turn away from the first that is known.

    Half a turn about the hand's own axis swaps its fingers, and changes the signs of roll and pitch
    (`ActionChunk.rotations`): of the two, the one that is nearer to the first counts.
    """
    first = np.take_along_axis(rotations, known.argmax(0)[None, :, None], 0)[0]
    halves = np.round((rotations[..., 2] - first[:, 2]) / np.pi)
    sign = np.where(halves % 2, -1.0, 1.0)
    tilts = sign[..., None] * rotations[..., :2]
    near = np.concatenate([tilts, (rotations[..., 2] - np.pi * halves)[..., None]], -1)
    away = (near - first + np.pi) % (2 * np.pi) - np.pi
    return first + _median(away, known)
