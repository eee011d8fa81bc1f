"""Packages of an extra: asked for where they are needed, by a name that can be installed."""

from __future__ import annotations

import importlib.util

from para.errors import ConfigError


def require_packages(extra: str, *modules: str) -> None:
    """Raise `ConfigError` unless the modules of an extra can be imported.

    Args:
        extra: Of pyproject.toml.
        modules: Names to import.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"Not installed: {', '.join(missing)}. Run: pip install 'para-robot[{extra}]' "
            f"(in a checkout: pip install -e '.[{extra}]')."
        )
