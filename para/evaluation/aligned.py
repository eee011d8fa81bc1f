"""A view moved towards the usual one, as far as one eye can: turned, shifted and zoomed.

A policy that was trained from one camera has learned from there where in the image "to the right of
the bowl" is. From a camera that went round, it is elsewhere. So before the policy looks, the image
is turned until the world's y axis points where it usually does, and shifted and zoomed until the
middle of the workspace lies and measures as usual. The camera moves along, as in augmentation
(`para.data.augment`): nothing is estimated, no depth is needed, and what is answered in pixels, or
relative to the camera, needs no correction. What only another eye would see stays as it is.
"""

from __future__ import annotations

import numpy as np

from para.camera import Camera
from para.policies.tta import seen_through
from para.types import Observation

STEP = 0.05
"""Along the world's y axis, from the workspace's middle [m]: it says which way and how large."""
SAME = 1e-6
"""Maps that differ less from none leave the image as it is [px]."""


def aligned(
    observation: Observation, usual: Camera, workspace: tuple[np.ndarray, np.ndarray]
) -> Observation:
    """What a policy is shown of `observation`.

    Args:
        observation: Its camera is the one that the policy is told.
        usual: The camera that is the model.
        workspace: Corners (2,), (2,) of where starts lie, world frame [m], on the table (z = 0).

    Returns:
        Image and camera after the map of `alignment`; edges repeat. The observation itself where
        there is nothing to do.
    """
    new_from_old = alignment(observation.camera, usual, workspace)
    if np.abs(new_from_old - np.eye(3)).max() < SAME:
        return observation
    return seen_through(observation, new_from_old)


def alignment(
    camera: Camera, usual: Camera, workspace: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """The similarity (3, 3) of pixel coordinates (u, v, 1) that brings `camera` nearest to `usual`.

    It takes the projection of the workspace's middle, and of a step along y from there, to where
    `usual` has them. Identity where `camera` does not see both.
    """
    low, high = workspace
    x, y = (np.asarray(low) + np.asarray(high)) / 2
    points = np.array([[x, y, 0.0], [x, y + STEP, 0.0]])
    pixels, depth = camera.project(points)
    if not camera.in_view(pixels, depth).all():
        return np.eye(3)
    here, there = (uv @ [1, 1j] for uv in (pixels, usual.project(points)[0]))
    # Similarities are what complex numbers do: multiply (turn and zoom), then add (shift).
    factor = (there[1] - there[0]) / (here[1] - here[0])
    shift = there[0] - factor * here[0]
    return np.array(
        [
            [factor.real, -factor.imag, shift.real],
            [factor.imag, factor.real, shift.imag],
            [0.0, 0.0, 1.0],
        ]
    )
