"""Components by name: each is one file that registers its class with its configuration dataclass.

    @dataclass
    class KeypointConfig(PolicyConfig): ...

    @POLICIES.register("keypoint", KeypointConfig)
    class KeypointPolicy(Policy): ...

Beside it stands one YAML, `configs/<group>/<name>.yaml`, that begins with
`defaults: [<kind>_schema, _self_]`. Nothing else lists a component: choices, `--help`, validation,
tests, tables and the website ask the registry.

Components of other packages are added by an installed package's entry point, or by
`plugins=[my_package]` on a command line (`load_plugin`):

    [project.entry-points."para.plugins"]
    my_package = "my_package"

All modules of a plug-in are imported, and its folder `configs/`, if it has one, is laid out like
ours.
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from para.errors import ConfigError, ParaError, UnknownNameError
from para.places import CONFIGS

ENTRY_POINTS = "para.plugins"
"""Entry-point group of installed plug-in packages."""

T = TypeVar("T")
C = TypeVar("C", bound=type)
_Stamps = dict[Path, tuple[int, int] | None]
"""Files, and when each was changed [ns] and its size; None: it is gone."""


class RegistryError(ParaError):
    """A component that cannot be registered, or a plug-in that cannot be loaded."""


@dataclass(frozen=True)
class Component(Generic[T]):
    """One entry: the class, and the dataclass that its YAML files are checked against."""

    name: str
    cls: T
    config: type


class Registry(Generic[T]):
    """The components of one kind, found in the modules of `packages` and in plug-ins.

    Args:
        kind: What one is called in messages: "policy", "backbone", ...
        group: Its folder under configs/, and the configuration key of the chosen one.
        packages: Packages whose modules register the built-in ones.
    """

    groups: dict[str, Registry[Any]] = {}
    """All registries, by group."""

    def __init__(self, kind: str, group: str, packages: Sequence[str]):
        self.kind, self.group, self.packages = kind, group, tuple(packages)
        self._components: dict[str, Component[T]] = {}
        self._loaded: dict[str, tuple[_Stamps, Any]] = {}
        self._found = False
        Registry.groups[group] = self

    def register(self, name: str, config: type | None = None) -> Callable[[C], C]:
        """Class decorator: `name` is the class's `kind` in YAML files, `config` its schema.

        Raises:
            RegistryError: No dataclass was given, or another class has this name already.
        """
        if not (isinstance(config, type) and is_dataclass(config)):
            raise RegistryError(
                f"{self.kind} {name!r} is registered without a schema: give the dataclass of its "
                f'configuration, as in @register("{name}", MyConfig).'
            )

        def decorate(cls: C) -> C:
            known = self._components.get(name)
            if known and _place(known.cls) != _place(cls):
                raise RegistryError(
                    f"Two of kind {self.kind} are called {name!r}: {_place(known.cls)} and "
                    f"{_place(cls)}. Rename one of them."
                )
            self._components[name] = Component(name, cls, config)
            for registry in Registry.groups.values():
                registry._loaded.clear()
            return cls

        return decorate

    def component(self, name: str) -> Component[T]:
        """The component called `name`; `UnknownNameError` names those that exist."""
        self._find()
        if name not in self._components:
            raise UnknownNameError(self.kind, name, self._components)
        return self._components[name]

    def __getitem__(self, name: str) -> T:
        """The class called `name`; `UnknownNameError` names those that exist."""
        return self.component(name).cls

    def config(self, name: str) -> type:
        """The configuration dataclass of the component called `name`."""
        return self.component(name).config

    def options(self) -> list[str]:
        """Names of the YAML files in configs/<group>, ours and those of plug-ins, sorted."""
        self._find()
        return options(self.group)

    def schema(self, name: str) -> type:
        """The dataclass that configs/<group>/<name>.yaml is checked against."""
        return OmegaConf.get_type(self._read(name, []))

    def load(self, name: str) -> Any:
        """configs/<group>/<name>.yaml as the dataclass of its kind, without a command line.

        A copy of one's own; files are merged again only when one of them has changed.

        Raises:
            UnknownNameError: There is no such file.
            RegistryError: It names no schema.
            ConfigError: It has keys or values that the schema has not.
        """
        stamps, config = self._loaded.get(name, ({}, None))
        if not stamps or stamps != _stamps([self._file(name), *stamps]):
            files: list[Path] = []
            config = self._merged(name, files)
            self._loaded[name] = (_stamps(files), config)
        return copy.deepcopy(config)

    def _merged(self, name: str, files: list[Path]) -> Any:
        """See `load`; adds what was read to `files`."""
        try:
            config = OmegaConf.to_object(self._read(name, files))
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ConfigError(f"configs/{self.group}/{name}.yaml: {reason}.") from error
        if not is_dataclass(config):
            raise RegistryError(
                f"configs/{self.group}/{name}.yaml names no schema. Begin it with: defaults: "
                "[KIND_schema, _self_]."
            )
        return config

    def _file(self, name: str) -> Path:
        places = [folder / self.group / f"{name}.yaml" for folder in config_folders()]
        found = [path for path in places if path.is_file()]
        if not found:
            raise UnknownNameError(self.kind, name, self.options())
        return found[0]

    def _read(self, name: str, files: list[Path]) -> Any:
        """The file and what its `defaults` list, merged as Hydra does; adds them to `files`."""
        files.append(self._file(name))
        own = OmegaConf.load(files[-1])
        parts = []
        for entry in own.pop("defaults", ["_self_"]):
            if entry == "_self_":
                parts.append(own)
            elif isinstance(entry, Mapping):  # {head: factorised}: a component of its own
                for key, option in entry.items():
                    inner = Registry.groups[f"{self.group}/{key}"]
                    parts.append({key: inner._read(option, files)})
            elif entry.endswith("_schema"):
                parts.append(_structured(self.config(entry.removesuffix("_schema"))))
            else:
                parts.append(self._read(entry, files))
        return OmegaConf.merge(*parts)

    def __iter__(self) -> Iterator[str]:
        """All names, sorted."""
        self._find()
        return iter(sorted(self._components))

    def __contains__(self, name: object) -> bool:
        """Is there such a component?"""
        self._find()
        return name in self._components

    def __len__(self) -> int:
        """Number of components."""
        self._find()
        return len(self._components)

    def _find(self) -> None:
        """Import everything that may register a component; done once."""
        if self._found:
            return
        self._found = True
        for package in self.packages:
            import_all(package)
        load_installed_plugins()


@cache
def _structured(config: type) -> Any:
    """A schema as merging takes it, to be copied: one is made for all files that begin with it."""
    return OmegaConf.structured(config)


def _stamps(files: Iterable[Path]) -> _Stamps:
    found: _Stamps = {}
    for path in files:
        try:
            about = path.stat()
        except OSError:
            found[path] = None
        else:
            found[path] = (about.st_mtime_ns, about.st_size)
    return found


# --- plug-ins ------------------------------------------------------------------------------------

_plugins: dict[str, Path | None] = {}
"""Loaded plug-ins: name of the package -> its folder of YAML files, if it has one."""


def load_plugin(name: str) -> None:
    """Import every module of a plug-in package (or the one module it is); loading twice is fine.

    Raises:
        RegistryError: It cannot be imported; says why.
    """
    if name in _plugins:
        return
    try:
        import_all(name)
    except ParaError:
        raise
    except Exception as error:
        raise RegistryError(
            f"plugins=[{name}]: cannot import it ({type(error).__name__}: {error}). Install the "
            "package, or put its parent folder on PYTHONPATH."
        ) from error
    file = importlib.import_module(name).__file__
    configs = Path(file).parent / "configs" if file else None
    _plugins[name] = configs if configs and configs.is_dir() else None


def plugins() -> tuple[str, ...]:
    """Names of the plug-ins that are loaded, sorted."""
    return tuple(sorted(_plugins))


def load_installed_plugins() -> None:
    """Load the packages that announce themselves by an entry point."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        load_plugin(entry.value)


def config_folders() -> list[Path]:
    """Our folder of YAML files, and those that plug-ins bring, in the order of loading."""
    return [CONFIGS, *(folder for folder in _plugins.values() if folder is not None)]


def options(group: str) -> list[str]:
    """Names of the YAML files of a group ("model", "split", ...), those of plug-ins too, sorted."""
    return sorted(
        {path.stem for folder in config_folders() for path in (folder / group).glob("*.yaml")}
    )


def import_all(package: str) -> None:
    """Import a package and all modules in it, so that what they register is known."""
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{package}."):
        importlib.import_module(module.name)


def _place(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
