"""What an episode is, as plain data: how it starts, where its hand goes, how far it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from para.errors import ConfigError, UnknownNameError

FIXED, VARIED, UNSEEN = "fixed", "varied", "unseen"
APPEARANCES = (FIXED, VARIED)
"""How what demos and tests show looks: always the same, or drawn per episode. A test may also show
what is UNSEEN: colours, textures and shapes that VARIED never has."""


CONTROL_DT = 0.02
"""One control step [s]: what episodes are counted in."""


@dataclass(frozen=True)
class Condition:
    """How an episode starts: it depends on nothing else but the actions.

    Attributes:
        task: Name of the task.
        objects: Name of an object -> (x, y, yaw) of its foot, world frame [m, m, rad].
        theta_deg: Polar angle of the viewpoint [deg].
        phi_deg: Azimuth of the viewpoint [deg].
        distractors: Number of other objects on the table.
        seed: Decides the shapes, colours and places of the distractors.
        named: The objects that the instruction names, in its order; none where it is always the
            same.
        perturbed: What goes wrong, and by how much; see `envs.perturbations`.
        appearance: FIXED, VARIED or UNSEEN.
        look: Decides colours, textures, shapes and light of an appearance that is not fixed.
        origin: Where the rest of the scene comes from, in the simulator's own words, as the number
            of an initial state; empty where the task says it all.
    """

    task: str
    objects: Mapping[str, tuple[float, float, float]]
    theta_deg: float = 0.0
    phi_deg: float = 0.0
    distractors: int = 0
    seed: int = 0
    named: tuple[str, ...] = ()
    perturbed: Mapping[str, float] = field(default_factory=dict)
    appearance: str = FIXED
    look: int = 0
    origin: str = ""

    def __post_init__(self) -> None:
        # Plain Python numbers, so that a condition survives JSON and compares equal afterwards.
        plain = {name: tuple(float(v) for v in pose) for name, pose in self.objects.items()}
        object.__setattr__(self, "objects", plain)
        object.__setattr__(self, "named", tuple(self.named))
        wrong = {name: float(level) for name, level in self.perturbed.items()}
        object.__setattr__(self, "perturbed", wrong)
        if self.appearance not in (known := (*APPEARANCES, UNSEEN)):
            raise UnknownNameError("appearance", self.appearance, known)

    def __hash__(self) -> int:
        """Equal conditions have equal hashes."""
        tables = frozenset(self.objects.items()), frozenset(self.perturbed.items())
        names = (item.name for item in fields(self) if item.name not in ("objects", "perturbed"))
        return hash((*tables, *(getattr(self, name) for name in names)))

    @property
    def position(self) -> tuple[float, float]:
        """The centre of all objects (x, y) [m]."""
        xs, ys, _ = zip(*self.objects.values(), strict=True)
        return sum(xs) / len(xs), sum(ys) / len(ys)

    def at(self, name: str) -> np.ndarray:
        """(x, y) of an object [m]."""
        return np.array(self.objects[name][:2])

    def poses(self) -> dict[str, np.ndarray]:
        """Name -> (7,) position [m] and quaternion (w, x, y, z) of an object on the table."""
        return {
            name: np.array([x, y, 0.0, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
            for name, (x, y, yaw) in self.objects.items()
        }

    def moved(self, shift: np.ndarray) -> Condition:
        """The same start with all objects moved by `shift` (2,) [m]."""
        dx, dy = shift
        return replace(
            self,
            objects={name: (x + dx, y + dy, yaw) for name, (x, y, yaw) in self.objects.items()},
        )

    def dressed(self, appearance: str, look: int) -> Condition:
        """The same start in another appearance; `look` means nothing where it is FIXED."""
        return replace(self, appearance=appearance, look=0 if appearance == FIXED else look)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as stored in demos and results.

        Without `named`, `perturbed` and `origin` where nothing is, and without `appearance` and
        `look` where it is fixed.
        """
        data = asdict(self) | {"objects": {name: [*pose] for name, pose in self.objects.items()}}
        named, perturbed, origin = (data.pop(key) for key in ("named", "perturbed", "origin"))
        looks = {key: data.pop(key) for key in ("appearance", "look")}
        data |= {"named": [*named]} if named else {}
        data |= {"perturbed": perturbed} if perturbed else {}
        data |= {"origin": origin} if origin else {}
        return data if self.appearance == FIXED else data | looks

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Condition:
        """Inverse of `to_dict`, also after a trip through JSON.

        The `position` that results add follows from the objects and is left out.

        Raises:
            ConfigError: Other keys than those of a condition.
        """
        known = {item.name for item in fields(cls)}
        if not {"task", "objects"} <= data.keys() or data.keys() - known - {"position"}:
            raise ConfigError(
                f"A start condition has the keys {', '.join(sorted(known))}, this one "
                f"{', '.join(sorted(data))}."
            )
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True)
class Outcome:
    """How far an episode is.

    Attributes:
        stage: One of the task's stages.
        success: It is the last of them.
        steps: Control steps used (20 ms each).
        metrics: The task's metrics, by name.
    """

    stage: str
    success: bool
    steps: int
    metrics: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: stage, success, steps and every metric, as results hold them."""
        return {
            "stage": self.stage,
            "success": self.success,
            "steps": self.steps,
            **self.metrics,
        }


@dataclass(frozen=True)
class Stage:
    """A step on the way to success.

    Attributes:
        name: As in results, e.g. GRASP.
        meaning: Of an episode that ended there: "lifted, not placed".
        progress: Of an episode that goes on: "lifted".
    """

    name: str
    meaning: str
    progress: str


@dataclass(frozen=True)
class Metric:
    """A number that is measured at the end of an episode.

    Attributes:
        name: As in results, e.g. place_error_m.
        title: For axes and tables, without the unit.
        unit: Of the stored number.
    """

    name: str
    title: str
    unit: str


@dataclass(frozen=True)
class TaskObject:
    """What a figure needs to know about an object.

    Attributes:
        name: As in conditions and results.
        radius: Of the circle around its footprint [m].
        colour: RGB in [0, 1].
    """

    name: str
    radius: float
    colour: tuple[float, float, float]


class Waypoint(NamedTuple):
    """Where the expert's hand goes next.

    Attributes:
        position: (3,) tool position, world frame [m].
        gripper: Opening in [0, 1]; it belongs to the time at the waypoint, where the hand rests
            while it changes.
        yaw: Of the hand about the vertical [rad]; at 0 the fingers open along world y.
    """

    position: np.ndarray
    gripper: float
    yaw: float = 0.0

    @property
    def rotation(self) -> np.ndarray:
        """(3,) extrinsic xyz Euler angles relative to pointing straight down [rad]."""
        return np.array([0.0, 0.0, self.yaw])
