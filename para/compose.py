"""Configurations composed by Hydra, and turned into instances of the scripts' dataclasses.

para/search_path.py says where Hydra finds files and schemas.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from para.common import CommonConfig
from para.errors import ConfigError, ParaError, UnknownNameError, one_line
from para.places import CONFIGS, typed
from para.refusals import refusal
from para.registry import Registry
from para.search_path import View, plain_words, read_yaml, searching

HYDRA_VERSION = "1.3"
"""Whose defaults Hydra follows."""
NOTHING = "hydra.conf"
"""Hydra insists on a package or folder of its own before our source; this one it has anyway."""

Config = TypeVar("Config", bound=CommonConfig)


@dataclass(frozen=True)
class Files:
    """Where a configuration starts.

    Attributes:
        name: Of the first YAML file; None: the script's own.
        primary: Folder that is searched first, or None.
        more: Folder that is searched last, or None.
    """

    name: str | None = None
    primary: Path | None = None
    more: Path | None = None


class Composer:
    """Composes configurations of one view; made by `composing`."""

    def __init__(self, view: View, files: Files):
        self.view = view
        self.name = files.name or view.config_class.script
        self.files = files

    def __call__(self, overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
        """The configuration with these overrides, as Hydra composes it."""
        if not overrides and not with_hydra:
            return copy.deepcopy(self._default[0])
        return hydra_compose(self.name, [*overrides], with_hydra)

    @cached_property
    def _default(self) -> tuple[DictConfig, dict[str, Any]]:
        """The configuration without overrides, and what is chosen from each group."""
        cfg = self([], with_hydra=True)
        choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg, choices

    def groups(self) -> dict[str, str | None]:
        """Groups from which something is chosen without overrides, and what (None: nothing).

        Raises:
            UnknownNameError: There is no YAML file to start from.
        """
        try:
            choices = self._default[1]
        except MissingConfigException as error:
            if error.missing_cfg_file != self.name:
                raise
            raise UnknownNameError("config", one_line(self.name), self.options("")) from error
        nested = ("hydra/", "profile/")
        return {str(k): v for k, v in choices.items() if not str(k).startswith(nested)}

    def options(self, group: str) -> list[str]:
        """The files of a group, by name; none if there is no such group."""
        repository = GlobalHydra.instance().config_loader().repository
        found = repository.get_group_options(group, ObjectType.CONFIG)
        return [name for name in found if not name.startswith("_")]


@contextmanager
def composing(view: View, files: Files = Files()) -> Iterator[Composer]:
    """A `Composer` that leaves nothing behind, also inside a job of Hydra's."""
    with searching(view, files.more):
        job = view.config_class.script
        if files.primary:
            within = initialize_config_dir(str(files.primary), job, version_base=HYDRA_VERSION)
        else:
            within = initialize_config_module(NOTHING, job, version_base=HYDRA_VERSION)
        with within:
            yield Composer(view, files)


def plugins_of(
    config_class: type[CommonConfig], overrides: Iterable[str], files: Files = Files()
) -> tuple[str, ...]:
    """Names of the plug-ins that a command line, or the first YAML file, asks for."""
    name = f"{files.name or config_class.script}.yaml"
    folders = (files.primary, CONFIGS, files.more)
    found = [folder / name for folder in folders if folder and (folder / name).is_file()]
    names = read_yaml(found[0])[0].get("plugins") if found else None
    names = given(overrides).get("plugins", names)
    return tuple(map(str, names)) if isinstance(names, Sequence) and names != str(names) else ()


def given(overrides: Iterable[str]) -> dict[str, Any]:
    """Keys and groups that overrides set, and to what; sweeps, and what is none, are left out."""
    found = filter(None, map(_parsed, overrides))
    said = (o for o in found if not (o.is_sweep_override() or o.is_delete()))
    return {o.key_or_group: o.value() for o in said}


@lru_cache(1000)
def parse(text: str) -> Override:
    """One override; any text that is none raises `ConfigError`."""
    try:
        (override,) = OverridesParser.create().parse_overrides([text])
    except Exception as error:
        raise ConfigError(
            f"Cannot read {one_line(text)!r}: write key=value, as in seed=1."
        ) from error
    return override


def _parsed(text: str) -> Override | None:
    try:
        return parse(text)
    except ConfigError:
        return None


# --- dataclasses ---------------------------------------------------------------------------------


def instance(config_class: type[Config], node: DictConfig) -> Config:
    """A composed configuration as an instance of `config_class`.

    Raises:
        UnknownNameError: It has a key that the dataclasses do not know.
        ConfigError: It lacks one, leaves one open, or its component has no schema.
    """
    for key, known, type_ in _typed_nodes(node, ""):
        names = [field.name for field in fields(type_)]
        for extra in sorted(set(known) - set(names)):
            raise UnknownNameError("key", key + extra, [key + name for name in names])
        for gone in sorted(set(names) - set(known)):
            raise ConfigError(f"{key}{gone} cannot be removed: set it to a value instead.")
    if missing := sorted(OmegaConf.missing_keys(node)):
        raise ConfigError(f"Nothing sets {', '.join(missing)}: add {missing[0]}=...")
    cfg = OmegaConf.to_object(node)
    if not isinstance(cfg, config_class):
        raise ConfigError(
            f"This configuration has another schema than {typed(config_class.script)}: begin "
            f"its file with defaults: [{config_class.script}, _self_]."
        )
    _require_schemas(cfg)
    return cfg


def _typed_nodes(node: DictConfig, key: str) -> Iterator[tuple[str, list[str], type]]:
    """Key with a dot behind it, keys inside, and dataclass, of every part that has one."""
    if node._is_none() or node._is_missing() or node._is_interpolation():
        return
    type_ = OmegaConf.get_type(node)
    if is_dataclass(type_):
        yield key, [str(name) for name in node], type_
    for name in node:
        child = node._get_node(name)
        if isinstance(child, DictConfig):
            yield from _typed_nodes(child, f"{key}{name}.")


def _require_schemas(cfg: CommonConfig) -> None:
    """Components are instances of the dataclass that their kind is registered with."""
    for group, registry in Registry.groups.items():
        if group.split("/")[0] in plain_words(type(cfg)):
            continue
        *parents, name = group.split("/")
        holder: Any = cfg
        for parent in parents:
            holder = getattr(holder, parent, None)
        if not hasattr(holder, name):
            continue
        key, value = group.replace("/", "."), getattr(holder, name)
        if value is None and getattr(type(holder), name, ...) is None:
            continue  # one that need not be chosen
        if isinstance(value, dict):
            raise ConfigError(
                f"{key}: its YAML file names no schema. Begin it with: defaults: [KIND_schema, "
                f"_self_], where KIND is one of: {', '.join(registry)}."
            )
        if not is_dataclass(value):
            raise ConfigError(f"{key}={one_line(value)}: choose one with {group}=NAME.")
        kind = getattr(value, "kind", None)
        if kind is not None and registry.config(kind) is not type(value):
            raise ConfigError(
                f"{key}.kind={kind}: the other keys stay those of another {registry.kind}. Choose "
                f"with {group}=NAME, which sets the kind."
            )


def as_config_error(error: Exception) -> ParaError:
    """Any error of composing as a single sentence."""
    if isinstance(error, ParaError):
        return error
    if sentence := refusal(error):
        return ParaError(sentence)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    lines = str(cause).splitlines() or [type(cause).__name__]
    message = re.sub(r"\w+ raised while composing config:$", "", lines[0])
    if message != lines[0]:
        message += lines[1]
    key = getattr(cause, "full_key", None)
    return ConfigError((f"{key}: " if key else "") + message.rstrip(".") + ".")
