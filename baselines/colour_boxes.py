"""Where objects of known colours are, from boxes around their pixels: nothing is recognised.

Constants that a person would measure with a ruler (at which height the ray of a box's middle meets
the object, how the object's origin lies to it, how its outline is turned) are fitted on rendered
starts in which all is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from envs.base import EnvConfig, Environment, Task
from envs.table import workspace as ws
from para.camera import Camera
from para.types import Observation

SAME_HUE = 0.16
"""Largest distance between the directions of two colours in RGB space that count as the same."""
SAME_LIGHT = 0.4, 2.5
"""Range of brightness, as a multiple of the object's own, of the pixels that are its."""
DARK = 0.2
"""Below this brightness a colour has no hue."""
LEAST_PIXELS = 4
STARTS = 48
"""Rendered starts on which the constants are fitted."""
HEIGHTS = np.arange(0.0, 0.085, 0.0025)
"""Heights that are tried for the ray of a box's middle [m]."""
LIT = 0.85
"""Of an object, pixels as bright as this share of its brightest are its upper side."""
MARGIN = 0.14
"""So far beyond the workspace colours are looked for [m]."""


@dataclass(frozen=True)
class Constants:
    """What is known of an object beforehand.

    Attributes:
        height: Of the plane that the box's middle is unprojected to [m].
        offset: (2,) from there to the object's origin, in the object's frame [m].
        turn: Yaw of the outline's side relative to the object's [rad].
        period: The outline looks the same after so much [rad]; 0 for what is never turned.
    """

    height: float
    offset: np.ndarray
    turn: float
    period: float


Seen = tuple[np.ndarray, Observation, tuple[float, float, float]]
"""An object's mask (H, W), the observation that it is from, and where the object is (x, y, yaw)."""


class ColourBoxes:
    """Finds the objects of a task by their training colours.

    Args:
        colours: Name of an object -> RGB in [0, 1].
        constants: Name of an object -> what is known of it.
    """

    def __init__(self, colours: dict[str, tuple[float, ...]], constants: dict[str, Constants]):
        self.colours, self.constants = colours, constants

    def poses(self, image: np.ndarray, camera: Camera) -> dict[str, np.ndarray]:
        """Name -> (7,) pose of every object, as `envs.base.Environment.objects`.

        One whose colour is nowhere is taken to be in the middle of the workspace.

        Args:
            image: (H, W, 3) uint8 RGB.
            camera: The one that is told to have taken it.
        """
        found = {}
        for name, mask in masks(image, camera, self.colours).items():
            known = self.constants[name]
            x, y, yaw = 0.0, 0.0, 0.0
            if mask is not None:
                if known.period:
                    side = outline(mask, image, camera, known.height)
                    yaw = _wrapped(side - known.turn, known.period)
                place = camera.unproject_to_height(middle(mask), known.height)[:2]
                if np.isfinite(place).all():
                    x, y = place + _turned(known.offset, yaw)
            found[name] = np.array([x, y, 0.0, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
        return found


def masks(
    image: np.ndarray, camera: Camera, colours: dict[str, tuple[float, ...]]
) -> dict[str, np.ndarray | None]:
    """Name -> (H, W) bool: the largest connected part of each colour; None where there is none.

    Args:
        image: (H, W, 3) uint8 RGB.
        camera: Says what lies on the workspace.
        colours: Name -> RGB in [0, 1]. A pixel belongs to the nearest of them, or to none.
    """
    pixels = image.astype(np.float64) / 255
    light = np.linalg.norm(pixels, axis=-1)
    direction = pixels / np.maximum(light, 1e-6)[..., None]
    distances = []
    for colour in colours.values():
        own = np.array(colour)
        bright = np.linalg.norm(own)
        ratio = light / bright
        apart = np.linalg.norm(direction - own / bright, axis=-1)
        low, high = (0.0, 1.7) if bright < DARK else SAME_LIGHT
        distances.append(np.where((ratio >= low) & (ratio <= high), apart, np.inf))
    nearest, least = np.argmin(distances, axis=0), np.min(distances, axis=0)
    least[~_on_workspace(camera)] = np.inf
    return {name: _largest((nearest == k) & (least < SAME_HUE)) for k, name in enumerate(colours)}


def _on_workspace(camera: Camera) -> np.ndarray:
    """(H, W) bool: the pixel's ray meets the table on the workspace or MARGIN beside it."""
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    places = camera.unproject_to_height(np.stack([u, v], -1), np.zeros(u.shape))[..., :2]
    low, high = ws.CORNERS
    return ((places >= low - MARGIN) & (places <= high + MARGIN)).all(-1)


def _largest(mask: np.ndarray) -> np.ndarray | None:
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return None
    best = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return labels == best if statistics[best, cv2.CC_STAT_AREA] >= LEAST_PIXELS else None


def middle(mask: np.ndarray) -> np.ndarray:
    """(u, v) [px] of the middle of the box around a mask (H, W)."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]) / 2


def outline(mask: np.ndarray, image: np.ndarray, camera: Camera, height: float) -> float:
    """Yaw [rad] of the long side of the smallest rectangle around an object's upper side.

    Args:
        mask: (H, W) bool, the object.
        image: (H, W, 3) uint8 RGB: its upper side is what is lit best.
        camera: Unprojects it.
        height: To this plane of the world [m].
    """
    light = np.where(mask, image.astype(np.float64).sum(-1), 0)
    rows, columns = np.nonzero(mask & (light >= LIT * np.quantile(light[mask], 0.9)))
    pixels = np.stack([columns + 0.5, rows + 0.5], -1)
    places = camera.unproject_to_height(pixels, np.full(len(pixels), height))[:, :2]
    places = places[np.isfinite(places).all(-1)]
    if len(places) < LEAST_PIXELS:
        return 0.0
    corners = cv2.boxPoints(cv2.minAreaRect(places.astype(np.float32)))
    sides = corners[1] - corners[0], corners[2] - corners[1]
    lengths = [float(np.hypot(*side)) for side in sides]
    long = sides[int(np.argmax(lengths))]
    return float(np.arctan2(long[1], long[0]))


def fit_colour_boxes(task: Task, env: Environment, config: EnvConfig) -> ColourBoxes:
    """Fit the constants of all objects of a task on rendered starts, seen from the whole cap.

    Args:
        task: Says the objects' training colours.
        env: Renders; its episode is lost.
        config: Says how far views go.
    """
    rng = np.random.default_rng(0)
    colours = {item.name: item.colour for item in task.objects}
    seen: dict[str, list[Seen]] = {}
    for k in range(STARTS):
        view = {
            "theta_deg": config.theta_max_deg * (k % 4) / 3,
            "phi_deg": float(rng.uniform(0, 360)),
        }
        env.begin(task.random(rng, env.layout, **view))
        observation = env.observe()
        for name, mask in masks(observation.image, observation.camera, colours).items():
            if mask is not None:
                pose = env.condition.objects[name]
                seen.setdefault(name, []).append((mask, observation, pose))
    constants = {name: _fit(seen.get(name, [])) for name in colours}
    return ColourBoxes(colours, constants)


def _fit(seen: list[Seen]) -> Constants:
    if not seen:
        return Constants(0.0, np.zeros(2), 0.0, 0.0)
    places = np.array([pose[:2] for *_, pose in seen])
    yaws = np.array([pose[2] for *_, pose in seen])
    middles = [(middle(mask), observation.camera) for mask, observation, _ in seen]

    def residuals(height: float) -> np.ndarray:
        found = np.array([camera.unproject_to_height(uv, height)[:2] for uv, camera in middles])
        return np.array([_turned(d, -yaw) for d, yaw in zip(places - found, yaws, strict=True)])

    def spread(height: float) -> float:
        errors = residuals(height)
        return float(np.median(np.linalg.norm(errors - np.median(errors, axis=0), axis=-1)))

    height = float(min(HEIGHTS, key=spread))
    offset = np.median(residuals(height), axis=0)
    if not yaws.any():
        return Constants(height, offset, 0.0, 0.0)
    sides = [outline(mask, o.image, o.camera, height) for mask, o, _ in seen]
    period = np.pi / 2 if np.abs(yaws).max() <= np.pi / 4 else np.pi
    around = np.exp(1j * (np.array(sides) - yaws) * 2 * np.pi / period)
    turn = float(np.angle(np.mean(around)) * period / (2 * np.pi))
    return Constants(height, offset, turn, period)


def _turned(vector: np.ndarray, yaw: float) -> np.ndarray:
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def _wrapped(angle: float, period: float) -> float:
    return float((angle + period / 2) % period - period / 2)
