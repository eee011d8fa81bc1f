"""The splits as figures and tables show them: their titles, their order, what they ask."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from envs.base import TASKS, Condition, load_task
from envs.splits import load_split, split_names, test_conditions
from para.registry import config_folders
from para.runs.identity import Setting

ALL_TASKS = "multi_task_lr"
"""The split whose one policy is compared with the policies of single tasks."""
_SAMPLE = 16
"""So many starts of a test show what it changes."""


def split_title(name: str) -> str:
    """Its title; the name itself if it belongs to a plug-in that is not loaded."""
    return load_split(name).title if name in split_names() else name


def split_file(name: str) -> Path:
    """Its YAML file."""
    places = (folder / "split" / f"{name}.yaml" for folder in config_folders())
    return next(path for path in places if path.is_file())


def in_order(names: Iterable[str]) -> list[str]:
    """Splits by what they ask (positions, viewpoints, few demos, clutter), then by name."""
    return sorted(names, key=lambda name: (_axis(name), _natural(name)))


def on_curve(curve: str) -> list[str]:
    """The splits that are points of a curve (`SplitConfig.curve`), sorted."""
    return [name for name in split_names() if load_split(name).curve == curve]


def demo_splits() -> dict[int, str]:
    """Number of demos -> split of the curve over demonstrations, by number."""
    return dict(sorted((load_split(name).demos, name) for name in on_curve("demonstrations")))


def corner_splits() -> dict[int, str]:
    """Those of `demo_splits` that train near all four corners."""
    found = demo_splits().items()
    return {n: s for n, s in found if n >= 4 and load_split(s).train_positions.kind == "corner"}


def sweep_splits() -> dict[int, str]:
    """Number of demos -> split of the sweep that is made for video backbones."""
    return dict(sorted((load_split(name).demos, name) for name in on_curve("video")))


def camera_splits() -> dict[int, str]:
    """Number of trained viewpoints -> split of the curve over cameras, by number."""
    views = {name: load_split(name).train_views for name in on_curve("cameras")}
    return dict(sorted((len(v.thetas) * len(v.phis), name) for name, v in views.items()))


def main_splits() -> list[str]:
    """Splits of the main task in order, but those of the video sweep, which has its own table.

    Those of policies that are trained on every task are left out too: they compare with nothing.
    """
    names = {*split_names(load_task(Setting().task))} - {*sweep_splits().values()}
    return in_order(name for name in names if not load_split(name).every_task)


@cache
def has_views(name: str) -> bool:
    """Is the held-out test seen from several viewpoints?"""
    return len({(start.theta_deg, start.phi_deg) for start in _starts(name)}) > 1


@cache
def _axis(name: str) -> int:
    if name not in split_names(load_task(Setting().task)):
        return 4
    if any(start.distractors for start in _starts(name)):
        return 3
    if has_views(name):
        return 1
    return 2 if load_split(name).demos else 0


def _starts(name: str) -> list[Condition]:
    usual, split = Setting(), load_split(name)
    tasks = map(load_task, (usual.task, *TASKS.options()))
    task = next(task for task in tasks if not split.unfit(task))
    layout = usual.layout if task.cfg.name == usual.task else None
    return test_conditions(split, "ood", task, layout, _SAMPLE)


def _natural(name: str) -> list[tuple[int, str]]:
    """corner_n8 before corner_n16."""
    return [(int(part or 0), "") if part.isdecimal() else (0, part) for part in _parts(name)]


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name)
