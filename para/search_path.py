"""What Hydra finds, and where: YAML files of configs/ and of plug-ins, schemas of the registry.

All of it comes from one source of ours, `para://<script>`, plugged in where Hydra has its own hooks
(ConfigSource, SearchPathPlugin). Schemas, `schema/<script>` and `<group>/<kind>_schema`, are made
from the dataclasses when they are asked for, so that a script imports only components it uses.
"""

from __future__ import annotations

import copy
import importlib
import os
import typing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from para.common import CommonConfig
from para.errors import ConfigError
from para.places import CONFIGS, typed
from para.registry import Registry, config_folders, load_installed_plugins, load_plugin


@dataclass(frozen=True)
class View:
    """What one script sees of the configuration.

    Attributes:
        config_class: The script's keys.
        plugins: Packages that add components and YAML files.
        outline: Schemas of components are left out, so that neither they nor torch are imported:
            enough for --help, and for naming most mistakes at once.
    """

    config_class: type[CommonConfig]
    plugins: tuple[str, ...] = ()
    outline: bool = False

    @property
    def path(self) -> str:
        """Its entry on Hydra's search path."""
        return f"para://{self.config_class.script}"


_views: dict[str, View] = {}
_active: ContextVar[tuple[str, ...]] = ContextVar("para_search_path", default=())


class ParaSource(ConfigSource):
    """A view as a source of configurations."""

    def __init__(self, provider: str, path: str):
        super().__init__(provider, path)
        self.view = _views[path]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A launcher has carried the source into another process: make it the same there."""
        self.__dict__.update(state)
        _views.setdefault(self.view.path, self.view)
        load_plugins(self.view.plugins)

    def __deepcopy__(self, memo: dict[int, Any]) -> ParaSource:
        """Hydra copies its sources for each composition; this one never changes."""
        return self

    @staticmethod
    def scheme() -> str:
        """See `ConfigSource`."""
        return "para"

    def available(self) -> bool:
        """See `ConfigSource`."""
        return True

    def is_group(self, config_path: str) -> bool:
        """See `ConfigSource`."""
        if config_path.split("/")[0] in plain_words(self.view.config_class):
            return False
        return any(os.path.isdir(folder / config_path) for folder in config_folders())

    def is_config(self, config_path: str) -> bool:
        """See `ConfigSource`."""
        return self._schema(config_path) is not None or self._file(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """See `ConfigSource`; schemas are no options."""
        found = set()
        for folder in config_folders():
            place = folder / config_path
            for path in place.iterdir() if os.path.isdir(place) else ():
                is_config = path.suffix == ".yaml"
                inside = f"{config_path}/{path.name}".lstrip("/")
                wanted = ObjectType.CONFIG if is_config else ObjectType.GROUP
                if results_filter in (None, wanted) and (is_config or self.is_group(inside)):
                    found.add(path.stem if is_config else path.name)
        return sorted(found)

    def load_config(self, config_path: str) -> ConfigResult:
        """See `ConfigSource`."""
        schema = self._schema(config_path)
        if schema is not None:
            package = "_global_" if config_path.startswith("schema/") else None
            return self._result(copy.deepcopy(_structured(schema)), {"package": package})
        file = self._file(config_path)
        if file is None:
            raise ConfigLoadError(f"There is no {config_path}.yaml in configs/.")
        return self._result(*read_yaml(file))

    def _result(self, config: DictConfig, header: dict[str, str | None]) -> ConfigResult:
        return ConfigResult(self.provider, self.full_path(), config, header)

    def _schema(self, config_path: str) -> type | None:
        """The dataclass called `schema/<script>` or `<group>/<kind>_schema`; dict: any keys."""
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        if group == "schema":
            script = self.view.config_class.script
            if name != script:
                raise ConfigError(f"schema/{name}: {typed(script)} reads schema/{script} only.")
            return self.view.config_class
        if not name.endswith("_schema"):
            return None
        if self.view.outline:
            return dict
        for package in self.view.config_class.packages:
            importlib.import_module(package)
        registry, kind = Registry.groups.get(group), name.removesuffix("_schema")
        return registry.config(kind) if registry and kind in registry else None

    def _file(self, config_path: str) -> Path | None:
        name = config_path.removesuffix(".yaml") + ".yaml"
        return next((path for f in config_folders() if os.path.isfile(path := f / name)), None)


class ParaSearchPath(SearchPathPlugin):
    """Puts the view that is in use on Hydra's search path, and the folder beside it."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """See `SearchPathPlugin`."""
        for path in _active.get():
            search_path.append("para", path)


@contextmanager
def searching(view: View, more: Path | None = None) -> Iterator[None]:
    """Within this, Hydra finds `view`; what Hydra was doing before goes on afterwards.

    Args:
        view: What a script sees.
        more: A folder of YAML files that is searched last.
    """
    load_plugins(view.plugins)
    for plugin in (ParaSource, ParaSearchPath):
        Plugins.instance().register(plugin)
    _views[view.path] = view
    token = _active.set((view.path, *(() if more is None else (str(more),))))
    state = GlobalHydra.instance()
    outer, state.hydra = state.hydra, None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer
        _active.reset(token)


def load_plugins(names: Iterable[str]) -> None:
    """Load the installed plug-ins and those named."""
    _load_installed()
    for name in names:
        load_plugin(name)


@cache
def _load_installed() -> None:
    load_installed_plugins()


@cache
def plain_words(config_class: type[CommonConfig]) -> frozenset[str]:
    """Keys that are plain words for this script, though other scripts choose a group there.

    An evaluation names a trained policy, model=NAME, where training chooses a file of configs/.
    """
    chosen = set()
    for item in OmegaConf.load(CONFIGS / f"{config_class.script}.yaml").get("defaults", ()):
        chosen |= {str(key).split()[-1] for key in item} if isinstance(item, DictConfig) else set()
    types = typing.get_type_hints(config_class)
    return frozenset(name for name, type_ in types.items() if type_ in (str, str | None)) - chosen


def read_yaml(file: Path) -> tuple[DictConfig, dict[str, str | None]]:
    """A YAML file, a copy of one's own, and its header (# @package ...)."""
    config, header = _parsed(file, file.stat().st_mtime_ns)
    return copy.deepcopy(config), dict(header)


@cache
def _parsed(file: Path, changed: int) -> tuple[DictConfig, dict[str, str | None]]:
    text = file.read_text(encoding="utf-8")
    return OmegaConf.create(text), ConfigSource._get_header_dict(text)


@cache
def _structured(schema: type) -> DictConfig:
    """To be copied for each that asks, in a fifth of the time that making one takes."""
    return OmegaConf.create({}) if schema is dict else OmegaConf.structured(schema)
