"""What a campaign asks for, cell by cell: one policy, one split, one layout, one seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from envs.base import TASKS, load_task
from envs.splits import load_split
from para.campaign.config import CampaignConfig, PartConfig, ReproduceConfig
from para.cli import load_config
from para.errors import UnknownNameError
from para.evaluation.results import MAIN_MODELS
from para.registry import options

GROUPS = ("figure", "table")
"""Folders of campaigns in configs/."""
OWN = "splits=[...]"
"""Name of a campaign that is told on the command line."""


@dataclass(frozen=True)
class Cell:
    """One number of a figure or table: a policy that is trained, and where it is tested.

    Attributes:
        task: Name of the task.
        layout: How its objects are placed.
        appearance: How episodes look.
        split: Name of the split.
        label: The policy, as the campaign calls it: para, regression@forced.
        seed: Training seed.
        precision: Of inference.
        episodes: Per test; None: as many as the split says, or in a sweep as that says.
        sweep: What goes wrong, level by level; None: nothing.
    """

    task: str
    layout: str
    appearance: str
    split: str
    label: str
    seed: int
    precision: str
    episodes: int | None
    sweep: str | None = None


def campaigns(cfg: ReproduceConfig) -> dict[str, list[Cell]]:
    """The cells of every campaign that `cfg` asks for, by its name.

    Raises:
        UnknownNameError: A split, task, or what is to be kept of the campaigns, does not exist.
        ConfigError: A task cannot be split like this.
    """
    parts = cfg.campaigns or _own(cfg) or everything(cfg)
    found = {name: [*_cells(cfg, one.parts)] for name, one in parts.items()}
    for key in ("splits", "models", "seeds") if OWN not in parts else ():
        wanted = getattr(cfg, key)
        known = {value for cells in found.values() for c in cells for value in _values(c, key)}
        for value in wanted or ():
            if value not in known:
                raise UnknownNameError(f"{key} of this campaign:", str(value), map(str, known))
        if wanted:
            found = {n: [c for c in cs if _values(c, key) & {*wanted}] for n, cs in found.items()}
    return {name: list(dict.fromkeys(cells)) for name, cells in found.items() if cells}


def everything(cfg: ReproduceConfig) -> dict[str, CampaignConfig]:
    """All campaigns of configs/, those of plug-ins too."""
    plugins = [f"plugins=[{','.join(cfg.plugins)}]"] if cfg.plugins else []
    found: dict[str, CampaignConfig] = {}
    for group in GROUPS:
        for name in options(group):
            found |= load_config(ReproduceConfig, [f"{group}={name}", *plugins]).campaigns
    return found


def _own(cfg: ReproduceConfig) -> dict[str, CampaignConfig]:
    """What the command line itself says, where it names splits and no campaign."""
    if cfg.splits is None:
        return {}
    models, seeds = cfg.models or list(MAIN_MODELS), cfg.seeds or [0]
    return {OWN: CampaignConfig([PartConfig(splits=cfg.splits, models=models, seeds=seeds)])}


def _values(cell: Cell, key: str) -> set[Any]:
    """What `key`=[...] may say to keep a cell."""
    if key == "models":
        return {cell.label, cell.label.partition("@")[0]}
    return {cell.split if key == "splits" else cell.seed}


def _cells(cfg: ReproduceConfig, parts: Iterable[PartConfig]) -> Iterator[Cell]:
    for part in parts:
        for task in part.tasks or [cfg.task.name]:
            kind = load_task(task)
            here = task == cfg.task.name
            layouts = part.layouts or [cfg.layout if here else kind.layouts[0]]
            for name in part.splits:
                load_split(name).require_fit(TASKS[kind.cfg.kind], task)
            for layout in layouts:
                if layout not in kind.layouts:
                    raise UnknownNameError(f"layout of task {task}:", layout, kind.layouts)
            either = part.augments or [None], part.sweeps or [None]
            each = product(part.seeds, layouts, part.splits, part.models, *either)
            for seed, layout, split, model, augment, sweep in each:
                label = f"{model}@{augment}" if augment else model
                where = task, layout, part.appearance or cfg.appearance, split
                precision = part.precision or cfg.precision
                yield Cell(*where, label, seed, precision, part.episodes or cfg.episodes, sweep)
