"""What stands between a prediction and a motor: refusals with a reason, and how sure a plan is.

Confidence of a waypoint: the probability that its heatmap puts near the pixel that was chosen,

    c_t = sum of p_t(x) over cells x with |x - x_t| <= r,   r = `RADIUS` cells,

the mass of the heatmap's mode, in [0, 1]; for a Gaussian of standard deviation s (the target that
heatmaps are trained towards has 1.5 cells) it is 1 - exp(-r^2 / 2 s^2) = 0.86, the distribution of
a Rayleigh variable. The plan's is the least of the waypoints that are executed. That a soft-max's
mode tells errors apart, and must be calibrated on data, is Hendrycks & Gimpel (ICLR 2017); the mass
around it instead of the highest cell does not change with where in its cell the peak lies.
`benchmarks/confidence.py` measures success against it and chooses the thresholds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from para.fields import number, require
from para.types import ActionChunk, Observation

RADIUS = 3.0
"""Of the disc around the chosen pixel [cells]: two standard deviations of the target."""
DARK = 4.0
"""An image whose mean is below this is black [of 255]."""
EVEN = 2.0
"""An image whose standard deviation is below this shows nothing [of 255]."""
OPEN = 0.9
"""Fingers further apart than this part of their stroke hold nothing."""
MOVED = 0.01
"""A hand that moved further than this has changed the image [m]."""


@dataclass
class SafetyConfig:
    """Bounds of what a robot is told to do; see `docs/robot.md`."""

    low: list[float] = number([-0.35, -0.55, -0.01], least=-10, most=10)
    """Lower corner of the workspace box, world frame [m]."""
    high: list[float] = number([0.35, 0.55, 0.45], least=-10, most=10)
    """Upper corner of the workspace box, world frame [m]."""
    max_step: float = number(0.6, above=0, most=10)
    """Longest way from one waypoint to the next, and from the hand to the first [m]."""
    max_speed: float = number(0.4, above=0, most=10)
    """Waypoints are given so much time that the hand is no faster than this [m/s]."""
    min_confidence: float = number(0.2, least=0, most=1)
    """Plans below it are refused: their heatmap is diffuse. 0 refuses none. Chosen on development
    starts (`benchmarks/confidence.py`), for heatmaps of 32 cells."""
    max_second: float = number(1.0, least=0, most=1)
    """Plans are refused when a second peak is higher than so much of the first. 1 refuses none."""
    apart: float = number(0.2, above=0, most=2)
    """From this distance on a second peak is another place [widths of the image]."""
    max_age: float = number(0.5, above=0, most=3600)
    """Oldest image that is acted upon, where the client says how old it is [s]."""
    warn_drift: float = number(0.01, above=0, most=10)
    """A warning is given from so far on that a camera has moved, as seen at the hand and where it
    goes [m] (`para/drift.py`), and plans are refused from twice that on. What this
    finds and costs: `benchmarks/drift.py`."""

    def rules(self, key: str, run: Any) -> None:
        """The box is one."""
        for name in ("low", "high"):
            require(len(getattr(self, name)) == 3, f"{key}.{name} must be three numbers [x,y,z].")
        require(
            all(a < b for a, b in zip(self.low, self.high, strict=True)),
            f"{key}.low={self.low} must be below {key}.high={self.high} in every coordinate.",
        )


@dataclass(frozen=True)
class Judged:
    """A plan that may be executed.

    Attributes:
        plan: Finite everywhere. Where it is refused the hand stays where it is; from the first
            unsafe waypoint behind those that are executed on, it stays at the one before.
        refused: Why; empty where it is not.
        confidence: (T,) in [0, 1], see above; None where the policy has no heatmaps.
        seconds: (T,) time for each waypoint [s].
        warning: What should be looked at soon; empty where nothing should.
    """

    plan: ActionChunk
    refused: str
    confidence: np.ndarray | None
    seconds: np.ndarray
    warning: str = ""


def waypoint_confidence(chunk: ActionChunk, image_size: int) -> np.ndarray | None:
    """Confidence (T,) of each waypoint of a plan; None where it has no heatmaps.

    Args:
        chunk: The plan.
        image_size: Width of the image that it was made from [px].
    """
    if chunk.heatmaps is None or chunk.pixels is None:
        return None
    near = _distances(chunk, image_size) <= RADIUS
    return (chunk.heatmaps * near).sum((1, 2))


def second_peaks(chunk: ActionChunk, image_size: int, apart: float) -> np.ndarray | None:
    """Height (T,) of the highest cell far from the chosen pixel, as a part of the highest.

    Args:
        chunk: The plan.
        image_size: Width of the image that it was made from [px].
        apart: What is far [widths of the image].
    """
    if chunk.heatmaps is None or chunk.pixels is None:
        return None
    far = _distances(chunk, image_size) > apart * chunk.heatmaps.shape[2]
    highest = chunk.heatmaps.max((1, 2))
    return (chunk.heatmaps * far).max((1, 2)) / np.maximum(highest, 1e-12)


def _distances(chunk: ActionChunk, image_size: int) -> np.ndarray:
    """From each waypoint's pixel to each cell (T, h, w) [cells]."""
    _, rows, columns = chunk.heatmaps.shape
    cells = chunk.pixels * (columns / image_size) - 0.5
    x = np.arange(columns) - cells[:, 0, None]
    y = np.arange(rows) - cells[:, 1, None]
    return np.hypot(y[:, :, None], x[:, None, :])


def unfit_image(image: np.ndarray) -> str:
    """Why an image (H, W, 3) uint8 shows nothing to act upon; empty where it does."""
    if image.mean() < DARK:
        return "the image is black: is the camera on, and its lens uncovered?"
    if image.std() < EVEN:
        return "the image has one colour all over: is the lens covered?"
    return ""


class Watch:
    """Sees whether a camera's images go on: a frozen one shows the same after the hand moved."""

    def __init__(self) -> None:
        self._image: bytes | None = None
        self._hand = np.zeros(3)

    def stale(self, observation: Observation) -> str:
        """Why this image is older than what the hand has done since; empty where it is not."""
        image = hashlib.blake2b(np.ascontiguousarray(observation.image)).digest()
        if image == self._image:
            moved = float(np.linalg.norm(observation.ee_position - self._hand))
            if moved > MOVED:
                return (
                    f"the image is stale: the hand moved by {1000 * moved:.0f} mm and not a pixel "
                    "changed. Does the camera still deliver images?"
                )
            return ""
        self._image, self._hand = image, np.array(observation.ee_position)
        return ""


def judge(
    cfg: SafetyConfig,
    observation: Observation,
    chunk: ActionChunk,
    execute: int,
    waypoint_seconds: float,
    rotation: np.ndarray | None = None,
    reason: str = "",
    drift: float | None = None,
) -> Judged:
    """What of a plan may be executed.

    Args:
        cfg: The bounds.
        observation: What it was made from.
        chunk: The plan.
        execute: Waypoints that are executed before planning again: none of them may be unsafe.
        waypoint_seconds: Time between waypoints in the demos [s].
        rotation: (3,) how the hand is turned now [rad], for policies that turn it.
        reason: Why it is refused already.
        drift: How far off the camera's motion puts it [m], where that is known.
    """
    size = observation.image.shape[1]
    confidence = waypoint_confidence(chunk, size)
    unsafe = [_unsafe(cfg, observation, chunk, k) for k in range(len(chunk.positions))]
    first = next((k for k, why in enumerate(unsafe) if why), len(unsafe))
    warning = _moved(cfg, drift)
    if not reason and drift is not None and drift >= 2 * cfg.warn_drift:
        reason = warning
    if not reason and first < execute:
        reason = unsafe[first]
    if not reason and confidence is not None:
        reason = _unsure(cfg, confidence[:execute], chunk, size, execute)
    plan = _stay(observation, chunk, rotation) if reason else _stop_before(chunk, first)
    path = np.vstack([observation.ee_position, plan.positions])
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    seconds = np.maximum(waypoint_seconds, lengths / cfg.max_speed)
    return Judged(plan, reason, confidence, seconds, warning)


def _moved(cfg: SafetyConfig, drift: float | None) -> str:
    """What to do about a camera that has moved; empty where none has."""
    if drift is None or drift < cfg.warn_drift:
        return ""
    return (
        f"the camera has moved: places look {1000 * drift:.0f} mm off. Put it back as it was, or "
        "calibrate it anew."
    )


def _unsafe(cfg: SafetyConfig, observation: Observation, chunk: ActionChunk, k: int) -> str:
    """Why the hand must not go to waypoint k; empty where it may."""
    place = chunk.positions[k]
    turn = 0.0 if chunk.rotations is None else chunk.rotations[k]
    if chunk.missed[k]:
        return f"the ray of waypoint {k + 1} meets its height nowhere, so it has no place."
    if not (np.isfinite(place).all() and np.isfinite(turn).all() and np.isfinite(chunk.gripper[k])):
        return f"waypoint {k + 1} is NaN or infinite: the policy's training went wrong."
    for axis, value, low, high in zip("xyz", place, cfg.low, cfg.high, strict=True):
        if not low <= value <= high:
            return (
                f"waypoint {k + 1} leaves the workspace: {axis} = {value:.3f} m is not between "
                f"{low:g} and {high:g}."
            )
    before = chunk.positions[k - 1] if k else observation.ee_position
    step = float(np.linalg.norm(place - before))
    if step > cfg.max_step:
        return f"waypoint {k + 1} is {step:.2f} m from the one before, more than {cfg.max_step:g}."
    return ""


def _unsure(
    cfg: SafetyConfig, confidence: np.ndarray, chunk: ActionChunk, size: int, execute: int
) -> str:
    """Why the heatmaps of the waypoints that are executed are not clear; empty where they are."""
    k = int(confidence.argmin())
    if not confidence[k] >= cfg.min_confidence:  # NaN is no confidence
        return (
            f"the heatmap of waypoint {k + 1} is diffuse: confidence {confidence[k]:.2f} is below "
            f"{cfg.min_confidence:g}."
        )
    seconds = second_peaks(chunk, size, cfg.apart)[:execute]
    k = int(seconds.argmax())
    if seconds[k] > cfg.max_second:
        return (
            f"the heatmap of waypoint {k + 1} has two peaks far apart: the second is "
            f"{seconds[k]:.2f} of the first, more than {cfg.max_second:g}."
        )
    return ""


def _stay(observation: Observation, chunk: ActionChunk, rotation: np.ndarray | None) -> ActionChunk:
    """The plan that leaves the hand where it is, and opens no gripper that may hold something."""
    count = len(chunk.positions)
    here = np.asarray(observation.ee_position, np.float64)
    turned = None if chunk.rotations is None else np.tile(np.asarray(rotation), (count, 1))
    gripper = np.full(count, float(observation.gripper > OPEN), chunk.gripper.dtype)
    positions = np.tile(here, (count, 1))
    return replace(chunk, positions=positions, gripper=gripper, rotations=turned)


def _stop_before(chunk: ActionChunk, first: int) -> ActionChunk:
    """The plan that stays at the waypoint before `first`, which is at least 1."""
    keep = np.minimum(np.arange(len(chunk.positions)), first - 1)
    turned = None if chunk.rotations is None else chunk.rotations[keep]
    return replace(
        chunk, positions=chunk.positions[keep], gripper=chunk.gripper[keep], rotations=turned
    )
