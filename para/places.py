"""What comes with the code beside Python: where it lies, and what its commands are called.

In a checkout configs/, website/ and results/ stand at the top and `python scripts/train.py` is
typed; a wheel holds the folders in para/shipped/ (pyproject.toml puts them there) and brings
`para-train`.
"""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "shipped"

ROOT = _PACKAGE.parent
"""The repository, or the folder that para was installed in."""

INSTALLED = _SHIPPED.is_dir()
"""Is this an installed wheel, not a checkout (editable installs are one)?"""


def shipped(name: str) -> Path:
    """The folder `name` (configs | website | results) that comes with the code."""
    return (_SHIPPED if INSTALLED else ROOT) / name


CONFIGS = shipped("configs")
"""Our own YAML files."""


def typed(command: str) -> str:
    """How one calls a command here: `python scripts/train.py`, or `para-train` if that was typed.

    Args:
        command: Name of a module of para.commands: train, eval, generate_demos, ...
    """
    if INSTALLED or Path(sys.argv[0]).name.startswith("para-"):
        return f"para-{command.replace('_', '-')}"
    return f"python scripts/{command}.py"
