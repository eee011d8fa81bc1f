"""Start conditions: everything that differs between two episodes of the same task."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from envs import workspace as ws
from para.errors import ConfigError, UnknownNameError

LAYOUTS = ("together", "independent")


@dataclass(frozen=True)
class Condition:
    """Where things stand and from where the camera looks; nothing else of an episode is random.

    Attributes:
        bowl: Centre of the bowl (x, y), world frame [m].
        plate: Centre of the plate (x, y), world frame [m].
        theta_deg: Polar angle of the viewpoint [deg].
        phi_deg: Azimuth of the viewpoint [deg].
        distractors: Number of other objects on the table.
        seed: Decides the shapes, colours and places of the distractors.
    """

    bowl: tuple[float, float]
    plate: tuple[float, float]
    theta_deg: float = 0.0
    phi_deg: float = 0.0
    distractors: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        # Plain Python numbers, so that a condition survives JSON and compares equal afterwards.
        object.__setattr__(self, "bowl", (float(self.bowl[0]), float(self.bowl[1])))
        object.__setattr__(self, "plate", (float(self.plate[0]), float(self.plate[1])))
        distance = float(np.hypot(*np.subtract(self.bowl, self.plate)))
        if distance < ws.BOWL_RADIUS + ws.PLATE_RADIUS:
            raise ConfigError(
                f"Bowl {self.bowl} and plate {self.plate} would touch: their centres are "
                f"{distance:.3f} m apart; at least {ws.BOWL_RADIUS + ws.PLATE_RADIUS:.3f} m."
            )

    @property
    def position(self) -> tuple[float, float]:
        """The pair centre, halfway between bowl and plate (x, y) [m]."""
        return (self.bowl[0] + self.plate[0]) / 2, (self.bowl[1] + self.plate[1]) / 2

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as stored in demos and results."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Condition:
        """Inverse of `to_dict`, also after a trip through JSON."""
        return cls(**data)


def place_pair(position: tuple[float, float] | np.ndarray, **view: Any) -> Condition:
    """layout=together: bowl and plate side by side around `position` (x, y) [m].

    Args:
        position: The pair centre.
        **view: Further fields of `Condition`.
    """
    p = np.asarray(position, dtype=np.float64)
    return Condition(tuple(p + ws.BOWL_OFFSET), tuple(p + ws.PLATE_OFFSET), **view)


def place_independent(
    rng: np.random.Generator,
    low: tuple[float, float] = (-ws.X_HALF, -ws.Y_HALF),
    high: tuple[float, float] = (ws.X_HALF, ws.Y_HALF),
    bowl: tuple[float, float] | np.ndarray | None = None,
    **view: Any,
) -> Condition:
    """layout=independent: bowl and plate anywhere in the box [low, high], never touching.

    Args:
        rng: Source of the positions.
        low: Lower corner (x, y) [m].
        high: Upper corner (x, y) [m].
        bowl: A given bowl position; only the plate is then drawn.
        **view: Further fields of `Condition`.
    """
    given = bowl is not None
    for _ in range(10_000):
        b = np.asarray(bowl) if given else rng.uniform(low, high)
        plate = rng.uniform(low, high)
        if np.hypot(*(b - plate)) >= ws.PAIR_DISTANCE:
            return Condition(tuple(b), tuple(plate), **view)
    raise ConfigError(
        f"The region {low} ... {high} is too small for bowl and plate; they need "
        f"{ws.PAIR_DISTANCE} m between their centres."
    )


def random_condition(rng: np.random.Generator, layout: str = "together", **view: Any) -> Condition:
    """A condition that is uniform over the workspace. Raises `UnknownNameError` for a layout."""
    if layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, LAYOUTS)
    if layout == "independent":
        return place_independent(rng, **view)
    return place_pair(rng.uniform((-ws.X_HALF, -ws.Y_HALF), (ws.X_HALF, ws.Y_HALF)), **view)


def grid_condition(index: int, layout: str = "together", **view: Any) -> Condition:
    """Condition `index` in 0 ... 255 of the training grid.

    layout=together puts the pair's centre at the grid position, layout=independent the bowl; the
    plate is then drawn from a generator seeded with `index`.
    """
    if layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, LAYOUTS)
    position = ws.grid_positions()[index]
    if layout == "independent":
        return place_independent(np.random.default_rng([256, index]), bowl=position, **view)
    return place_pair(position, **view)
