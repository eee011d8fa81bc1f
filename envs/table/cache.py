"""Where things that are slow to make, and safe to delete, are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """The user's cache folder: $PARA_CACHE, else $XDG_CACHE_HOME/para, else ~/.cache/para."""
    if chosen := os.environ.get("PARA_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "para"
