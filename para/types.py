"""What goes into a policy and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from para.camera import Camera


@dataclass(frozen=True)
class Observation:
    """What a policy sees at one instant.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        camera: The camera that took `image` (NumPy matrices, no batch dimension).
        ee_position: (3,) end-effector (tool centre) position, world frame [m].
        gripper: Opening in [0, 1]; 1 is open.
        instruction: What is to be done, in words.
    """

    image: np.ndarray
    camera: Camera
    ee_position: np.ndarray
    gripper: float
    instruction: str = ""


@dataclass(frozen=True)
class ActionChunk:
    """The next T waypoints.

    Attributes:
        positions: (T, 3) end-effector positions, world frame [m]; NaN where `missed`.
        gripper: (T,) commanded opening in [0, 1]; 1 is open.
        rotations: (T, 3) extrinsic xyz Euler angles of the hand relative to "pointing straight
            down" [rad], or None where the policy does not predict rotation; NaN where `missed`.
            Half a turn more is the same hand.
        heatmaps: (T, h, w) probability that each waypoint is in each cell, or None.
        pixels: (T, 2) predicted (u, v) in the observation's image [px], or None.
    """

    positions: np.ndarray
    gripper: np.ndarray
    rotations: np.ndarray | None = None
    heatmaps: np.ndarray | None = None
    pixels: np.ndarray | None = None

    @property
    def missed(self) -> np.ndarray:
        """(T,) bool: the ray of the waypoint's pixel meets its height nowhere, so it has no place.

        Nobody can go there. A position that is NaN without such a pixel is a broken policy's.
        """
        if self.pixels is None:
            return np.zeros(len(self.positions), bool)
        return np.isnan(self.positions).all(-1) & np.isfinite(self.pixels).all(-1)


@dataclass(frozen=True)
class Inference:
    """How a trained policy is run: chosen when it is used, not when it is trained.

    Attributes:
        execute: Waypoints executed before planning again.
        subcell: Refine the argmax by a local soft-argmax, for pixels and for heights.
        precision: Of the network: fp32 | bf16 (autocast).
        ensemble: Average each plan with what earlier ones predicted for the same waypoints.
        align_view: Show it each view turned, shifted and zoomed towards the environment's usual one
            (`para.evaluation.aligned`).
        tta: Looks at each image that a plan is the median of (`para.policies.tta`); 1: as it is.
    """

    execute: int = 4
    subcell: bool = True
    precision: str = "fp32"
    ensemble: bool = False
    align_view: bool = False
    tta: int = 1
