"""Whether a worker runs what its driver runs: the same code, on the same packages."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from para.places import CONFIGS
from para.system import versions

OURS = ("para", "envs", "baselines")


@dataclass(frozen=True)
class Build:
    """What a process runs.

    Attributes:
        packages: Versions of Python and of the packages that decide results, by name.
        code: SHA-256 of all Python and YAML files of PARA, and of plug-ins, by package.
    """

    packages: dict[str, str]
    code: dict[str, str]

    def differences(self, other: Build) -> list[str]:
        """How `other` differs from this, in words: "numpy 2.1.0 instead of 2.3.5", ..."""
        found = [
            f"{name} {other.packages.get(name, 'missing')} instead of {version}"
            for name, version in self.packages.items()
            if other.packages.get(name) != version
        ]
        return found + [
            f"other code in {name}"
            for name, digest in self.code.items()
            if other.code.get(name) != digest
        ]


@cache
def this_build(plugins: tuple[str, ...] = ()) -> Build:
    """What this process runs, with the packages that `plugins=[...]` adds."""
    code = {name: _digest(_folders(name)) for name in (*OURS, *plugins)}
    return Build(versions(), code | {"configs": _digest([CONFIGS])})


def _folders(package: str) -> Sequence[Path]:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    return [Path(place) for place in (spec and spec.submodule_search_locations) or ()]


def _digest(folders: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(_sources(folder)):
            digest.update(str(path.relative_to(folder)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in (".py", ".yaml"))
