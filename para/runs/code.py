"""Which code a component runs: its own module and all that it imports, as one hash."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any


def code_digest(components: Iterable[Any]) -> str:
    """SHA-256 over the sources of the modules that define `components` and that those import.

    Only packages in which a component is defined, and PARA's own, are followed: the versions of
    others are recorded with every result.

    Args:
        components: Classes or functions, of plug-ins too.
    """
    modules = [component.__module__ for component in components]
    roots = {module.split(".")[0] for module in modules} | {"para", "envs", "baselines"}
    found: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name.split(".")[0] not in roots:
            continue
        source = _source(name)
        found[name] = source
        waiting += _imports(source)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + found[name] + b"\0")
    return digest.hexdigest()


def _source(name: str) -> bytes:
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:
        spec = importlib.util.find_spec(name)
        file = spec.origin if spec else None
    return Path(file).read_bytes() if file and file.endswith(".py") else b""


@cache
def _imports(source: bytes) -> tuple[str, ...]:
    """Modules that are imported anywhere in `source`, in functions too."""
    return tuple(_imported(source))


def _imported(source: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names if _exists(item.name))
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if _exists(node.module):
                yield node.module
            members = (f"{node.module}.{item.name}" for item in node.names)
            yield from (member for member in members if _exists(member))


def _exists(name: str) -> bool:
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
