"""How the hand turns where a task needs it, and when half a turn more is the same.

Rotations are (3,) extrinsic xyz Euler angles relative to pointing straight down [rad].
"""

from __future__ import annotations

import numpy as np

from envs.table.controller import NO_TURN, Feedback, Glide
from para.errors import ConfigError

TURN_SPEED, TURN_ACCELERATION = 1.2, 6.0
"""Of the hand, at most [rad/s, rad/s2]."""
YAW_LIMIT = 2.0
"""Largest yaw that is asked of the hand [rad]: joint 7 of the Panda allows it everywhere on the
workspace. Above 90 deg, so that a yaw near 90 deg can change a little without a turn back."""
TURN_TOLERANCE = 0.06
"""A rotation is reached when target and hand are this close to it [rad]."""
TURN_LIMIT = 0.1
"""Largest correction by what is measured [rad]."""


def same_grasp(rotation: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Of the two rotations in which the hand is the same to all it touches, the nearer one.

    Half a turn about the hand's own axis swaps its fingers: Rz(psi) Ry(theta) Rx(phi) becomes
    Rz(psi + pi) Ry(-theta) Rx(-phi). Yaws beyond YAW_LIMIT are out of the question.

    Args:
        rotation: (3,) extrinsic xyz Euler angles [rad] that are asked for.
        current: (3,) the ones that the hand has.
    """
    halves = np.arange(-2, 3)
    yaws = (rotation[2] + np.pi / 2) % np.pi - np.pi / 2 + np.pi * halves
    flips = np.round((yaws - rotation[2]) / np.pi).astype(int) % 2
    far = np.where(np.abs(yaws) > YAW_LIMIT, np.inf, np.abs(yaws - current[2]))
    best = int(far.argmin())
    sign = -1.0 if flips[best] else 1.0
    return np.array([sign * rotation[0], sign * rotation[1], yaws[best]])


class Turning:
    """The turns of one episode: what was asked for, a rate-limited target, and its correction.

    Attributes:
        asked: (3,) the rotation to go to.
    """

    def __init__(self) -> None:
        self._glide, self._feedback = Glide(TURN_SPEED, TURN_ACCELERATION), Feedback(TURN_LIMIT)
        self.reset()

    def reset(self) -> None:
        """Point straight down."""
        self._glide.reset(NO_TURN)
        self._feedback.reset()
        self.asked = NO_TURN

    @property
    def target(self) -> np.ndarray:
        """(3,) where the rate-limited target is."""
        return self._glide.position

    @property
    def seconds(self) -> float:
        """What the way to `asked` takes at least [s]."""
        return float(np.abs(self.asked - self.target).max()) / TURN_SPEED

    def ask(self, rotation: np.ndarray) -> None:
        """Go to a rotation, or to the one that is the same grasp.

        Raises:
            ConfigError: It is none.
        """
        rotation = np.asarray(rotation, np.float64)
        if rotation.shape != (3,) or not np.isfinite(rotation).all():
            raise ConfigError(f"The hand cannot turn to {rotation.tolist()}: give 3 angles [rad].")
        self.asked = same_grasp(rotation, self.target)

    def step(self, measured: np.ndarray) -> np.ndarray:
        """Advance by one control step, from the rotation that the hand has; what to command."""
        correction = self._feedback.step(self.target, measured)
        return self._glide.step(self.asked) + correction

    def reached(self, measured: np.ndarray) -> bool:
        """Have target and hand arrived?"""
        turns = np.stack([self.target, measured])
        return bool(np.abs(turns - self.asked).max() < TURN_TOLERANCE)
