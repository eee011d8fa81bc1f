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
    roots = frozenset(module.split(".")[0] for module in modules) | {"para", "envs", "baselines"}
    found: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _source(name)
            waiting += _imports(found[name], roots)
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
def _imports(source: bytes, roots: frozenset[str]) -> tuple[str, ...]:
    """Modules of the packages `roots` that are imported anywhere in `source`, in functions too.

    Whether a name is a module is asked of these alone: asking imports the package around it.
    """
    ours = (name for name in _imported(source) if name.split(".")[0] in roots)
    return tuple(name for name in ours if _exists(name))


def _imported(source: bytes) -> Iterator[str]:
    """What `source` imports: modules, and what may be modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{item.name}" for item in node.names)


def _exists(name: str) -> bool:
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
