"""How the numbers of a foreign data set become poses: a small YAML (configs/mapping, or a file).

    position: {key: observation.state, columns: [0, 1, 2]}      # tool centre
    rotation: {key: observation.state, columns: [3, 4, 5, 6]}
    rotation_is: quaternion_xyzw
    gripper: {key: observation.state, columns: [7]}
    gripper_open: 0.08        # that number is open: 1
    gripper_closed: 0.0
    table_height: 0.0         # z of the table top in the set's own frame [m]

Columns are numbers, or names where the set names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from scipy.spatial.transform import Rotation

from para.errors import ConfigError, DataError, UnknownNameError, one_line
from para.fields import check, choice, number
from para.files import read_text
from para.places import CONFIGS

ROTATIONS = {
    "quaternion_wxyz": 4,
    "quaternion_xyzw": 4,
    "rotation_vector": 3,
    "euler_xyz": 3,
    "matrix": 9,
}
"""How an orientation is written, and in how many numbers; Euler angles are extrinsic [rad]."""
FLIPS = ("none", "vertical", "horizontal", "both")


@dataclass
class Part:
    """Some columns of an array of a data set."""

    key: str = ""
    """Name of the array; empty: the set has none."""
    columns: list[Any] = field(default_factory=list)
    """Numbers or names; [] takes all."""


@dataclass
class MappingConfig:
    """configs/mapping"""

    position: Part = field(default_factory=Part)
    """Tool centre (3), in metres after `scale`."""
    scale: float = number(1.0, above=0, most=1000)
    """What a unit of length of the set is [m]: 0.001 for millimetres."""
    rotation: Part = field(default_factory=Part)
    """Orientation of the hand, z out of it; where there is none it points straight down."""
    rotation_is: str = choice("quaternion_xyzw", list(ROTATIONS))
    """quaternion_wxyz | quaternion_xyzw | rotation_vector | euler_xyz | matrix."""
    gripper: Part = field(default_factory=Part)
    """Measured opening; the mean of several columns' absolute values."""
    gripper_open: float = number(1.0)
    """The number at which it is open."""
    gripper_closed: float = number(0.0)
    command: Part = field(default_factory=Part)
    """Commanded opening; empty: the opening that is measured next."""
    command_open: float = number(1.0)
    command_closed: float = number(0.0)
    image: str = ""
    """Key of the image; empty: the only one."""
    flip: str = choice("none", FLIPS)
    """none | vertical | horizontal | both: how stored images are to be turned over."""
    table_height: float = number(0.0, least=-10, most=10)
    """z of the table top in the set's own world [m]; poses and cameras are moved by it."""

    def rules(self, key: str, run: Any) -> None:
        """There is a position, and open is not closed."""
        if not self.position.key:
            raise ConfigError("mapping: position.key is empty: where does the tool centre stand?")
        for name in ("gripper", "command"):
            if getattr(self, f"{name}_open") == getattr(self, f"{name}_closed"):
                raise ConfigError(f"mapping: {name}_open and {name}_closed are the same number.")


def load_mapping(name: str) -> MappingConfig:
    """The mapping configs/mapping/<name>.yaml, or that of a file NAME.yaml.

    Raises:
        UnknownNameError: There is neither.
        ConfigError: It has keys or values that a mapping has not.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = CONFIGS / "mapping" / f"{name}.yaml"
        if not path.is_file():
            known = [p.stem for p in (CONFIGS / "mapping").glob("*.yaml")]
            raise UnknownNameError("mapping", name, [*known, "FILE.yaml"])
    try:
        values = OmegaConf.create(read_text(path))
        mapping = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(MappingConfig), values))
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        known = ", ".join(MappingConfig.__dataclass_fields__)
        raise ConfigError(
            f"mapping={name}: {one_line(str(error).partition(chr(10))[0], 200)}. It has the keys "
            f"{known}."
        ) from error
    except Exception as error:  # what the YAML reader raises
        raise ConfigError(f"mapping={name} is no YAML: {one_line(error, 200)}.") from error
    check(mapping)
    return mapping


def read_part(
    part: Part, arrays: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]], where: str
) -> np.ndarray:
    """The columns (N, C) of a part.

    Args:
        part: What to take.
        arrays: Of the data set, (N, ...) each.
        names: What the columns of an array are called, where the set says so.
        where: Of what, for messages.

    Raises:
        DataError: There is no such array or column; names those that there are.
    """
    if part.key not in arrays:
        known = ", ".join(sorted(arrays)) or "none"
        raise DataError(f"{where} has no {part.key!r}. It has: {known}. Correct the mapping.")
    array = arrays[part.key].reshape(len(arrays[part.key]), -1)
    called = [str(name) for name in names.get(part.key, ())]
    places = []
    for column in part.columns or range(array.shape[1]):
        place = called.index(column) if column in called else column
        if type(place) is not int or not 0 <= place < array.shape[1]:
            listed = f" ({', '.join(called)})" if called else ""
            raise DataError(
                f"{where}: {part.key} has no column {column!r}: it has {array.shape[1]}{listed}. "
                "Correct the mapping."
            )
        places.append(place)
    return array[:, places].astype(np.float64)


def poses_of(
    mapping: MappingConfig,
    arrays: Mapping[str, np.ndarray],
    names: Mapping[str, Sequence[str]],
    where: str,
) -> dict[str, np.ndarray]:
    """`actions`, `obs/ee_pose` and `obs/gripper` (para/data/format.py) of one recording.

    Raises:
        DataError: What the mapping speaks of is not there, or has another number of columns.
    """

    def part(name: str, count: int | None) -> np.ndarray:
        values = read_part(getattr(mapping, name), arrays, names, where)
        if count is not None and values.shape[1] != count:
            raise DataError(
                f"{where}: {name} needs {count} columns, and the mapping gives "
                f"{values.shape[1]} of {getattr(mapping, name).key}."
            )
        return values

    position = part("position", 3) * mapping.scale - [0, 0, mapping.table_height]
    if mapping.rotation.key:
        written = part("rotation", ROTATIONS[mapping.rotation_is])
        quaternion = _quaternions(written, mapping.rotation_is, where)
    else:
        quaternion = np.tile([0.0, 1.0, 0.0, 0.0], (len(position), 1))
    gripper = np.ones(len(position))
    if mapping.gripper.key:
        measured = np.abs(part("gripper", None)).mean(1)
        gripper = _opening(measured, mapping.gripper_open, mapping.gripper_closed)
    if mapping.command.key:
        command = part("command", 1)[:, 0]
        command = _opening(command, mapping.command_open, mapping.command_closed)
    else:
        command = np.append(gripper[1:], gripper[-1:])
    return {
        "actions": np.column_stack([position, command]),
        "obs/ee_pose": np.column_stack([position, quaternion]),
        "obs/gripper": gripper,
    }


def _opening(values: np.ndarray, is_open: float, is_closed: float) -> np.ndarray:
    return np.clip((values - is_closed) / (is_open - is_closed), 0, 1)


def _quaternions(values: np.ndarray, how: str, where: str) -> np.ndarray:
    """Orientations as quaternions (N, 4) w, x, y, z; those that are some already stay as given."""
    if how == "quaternion_wxyz":
        quaternion = values
    elif how == "quaternion_xyzw":
        quaternion = values[:, [3, 0, 1, 2]]
    elif how == "rotation_vector":
        quaternion = Rotation.from_rotvec(values).as_quat(scalar_first=True)
    elif how == "euler_xyz":
        quaternion = Rotation.from_euler("xyz", values).as_quat(scalar_first=True)
    else:
        quaternion = Rotation.from_matrix(values.reshape(-1, 3, 3)).as_quat(scalar_first=True)
    length = np.linalg.norm(quaternion, axis=1)
    if not np.allclose(length, 1, atol=1e-2):
        worst = float(length[np.abs(length - 1).argmax()])
        raise DataError(
            f"{where}: a quaternion has length {worst:.3g}, not 1. Does the mapping take the right "
            f"columns, and is rotation_is={how} right?"
        )
    return quaternion
