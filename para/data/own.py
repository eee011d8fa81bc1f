"""Imported data sets: where they lie, what is in them, which demos are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from para.data.format import FORMAT, IMPORTED, episode_path
from para.errors import DataError, one_line
from para.files import atomic_write_json, read_json, seal
from para.places import typed

OWN = "own"
"""Split, task and robot of demos that no simulator made, and their folder in data_dir."""


def own_folder(data_dir: Path | str, name: str) -> Path:
    """Folder of the imported set called `name`."""
    return Path(data_dir) / OWN / name


def own_name(folder: Path | str) -> str:
    """What a set is called in the paths of what it trains: its folder's name."""
    name = Path(folder).absolute().name
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name)[:80]


def write_imported(folder: Path, command: str, source: str) -> None:
    """Write down what imported a set; its presence says that the import is complete."""
    atomic_write_json(folder / IMPORTED, seal({"command": command, "source": source}))


def read_imported(folder: Path) -> dict[str, Any]:
    """What imported a set: {command, source}."""
    value = read_json(folder / IMPORTED, DataError, "Import the set again with fresh=true.")
    if not isinstance(value.get("command"), str):
        raise DataError(f"{folder / IMPORTED} is damaged: it names no command.")
    return value


@dataclass(frozen=True)
class OwnSet:
    """An imported set, as far as it is known without reading frames.

    Attributes:
        folder: Where it lies.
        indices: Of its successful demos, ascending.
        instructions: All that is said in them.
        digest: Of all its demos: changes with every bit of one.
    """

    folder: Path
    indices: tuple[int, ...]
    instructions: frozenset[str]
    digest: str

    def divided(self, held_out: int, limit: int | None = None) -> tuple[list[int], list[int]]:
        """Demos to train on, and those that are held out.

        Args:
            held_out: So many, but at most one in eight, and at least one of two or more.
            limit: Take so many demos, spread evenly.
        """
        indices = list(self.indices)
        if limit is not None and limit < len(indices):
            places = np.linspace(0, len(indices) - 1, limit).round().astype(int)
            indices = [indices[place] for place in places]
        wanted = min(held_out, max(len(indices) // 8, 1), len(indices) - 1)
        return spread_out(indices, wanted)


def spread_out(indices: Sequence[int], wanted: int) -> tuple[list[int], list[int]]:
    """Indices that are kept, and `wanted` ones that are held out, spread evenly over all."""
    apart = {indices[int((k + 0.5) * len(indices) / wanted)] for k in range(wanted)}
    return [i for i in indices if i not in apart], sorted(apart)


def open_own(folder: Path | str) -> OwnSet:
    """The imported set in a folder.

    Raises:
        DataError: There is none, its import was not finished, or a file is damaged.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("demo_*.hdf5"))
    if not paths:
        raise DataError(
            f"data={folder} has no demos (demo_*.hdf5). Import some: {typed('import_demos')} "
            "source=folder|hdf5|lerobot|libero path=PATH"
        )
    if folder.parent.name == OWN and not (folder / IMPORTED).exists():
        raise DataError(
            f"data={folder}: its import was not finished. Run it again with fresh=true."
        )
    digest, indices, instructions = hashlib.blake2b(digest_size=16), [], set()
    for path in paths:
        try:
            with h5py.File(path, "r") as file:
                if file.attrs["format"] != FORMAT:
                    raise DataError(f"{path} is no demo of PARA.")
                attributes = file["data/demo_0"].attrs
                index, success = int(attributes["index"]), bool(attributes["success"])
                digest.update(f"{index} {file.attrs['checksum']}\n".encode())
                if success:
                    indices.append(index)
                    instructions.add(str(attributes.get("instruction", "")))
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{path} is damaged ({one_line(error)}). Import it again.") from error
        if path != episode_path(folder, index):
            raise DataError(f"{path} holds episode {index}: it was renamed.")
    if not indices:
        raise DataError(f"data={folder}: all {len(paths)} demos are failed ones.")
    return OwnSet(folder, tuple(indices), frozenset(instructions), digest.hexdigest())
