"""What a process that was killed leaves behind."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from para.asides import aside_of

NOBODY = 2**22 - 1
"""The largest process number of Linux: no process has it."""


def left_behind(path: Path, process: int = NOBODY) -> Path:
    """The name under which a killed process had begun to write `path`."""
    with patch.object(os, "getpid", lambda: process):
        return aside_of(path)
