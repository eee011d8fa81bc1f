"""What a run learns: one task, or all tasks of the suite where its split says so."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from envs.multi_task import LAYOUT, suite
from para.common import CommonConfig

C = TypeVar("C", bound=CommonConfig)


def with_each_task(cfg: C) -> list[C]:
    """`cfg`, a configuration with a split, for each task whose demos train its policy."""
    if not cfg.split.every_task:
        return [cfg]
    return [replace(cfg, task=task, layout=LAYOUT) for task in suite(cfg.robot)]
