"""Every key of scripts/check_data.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from para.common import CommonConfig
from para.fields import number, require


@dataclass
class CheckDataConfig(CommonConfig):
    """scripts/check_data.py"""

    script: ClassVar[str] = "check_data"

    data: str = ""
    """Folder of demos (demo_*.hdf5), imported or generated."""
    demos: int = number(12, least=1, most=10_000)
    """Demos that are looked at, spread evenly."""
    films: int = number(1, least=0, most=100)
    """Demos that are filmed with the projected poses."""

    @property
    def folder(self) -> Path:
        """Where pictures go."""
        return Path(self.outputs_dir) / "check_data" / Path(self.data).absolute().name

    def rules(self, key: str, run: Any) -> None:
        """There are demos."""
        require(bool(self.data), "data= names no demos: give data=FOLDER, with demo_*.hdf5 in it.")
