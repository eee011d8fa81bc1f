"""The episodes that data sets consist of, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.base import Condition, EnvConfig, Task
from envs.demos import DEMO_SETS
from envs.episodes import FIXED
from para.data.format import EpisodeMeta, episode_path, regenerate_command
from para.errors import DataError, UnknownNameError

ATTEMPT = 10_000
"""Seeds between one attempt at an episode and the next."""
RETRY_SHIFT = 0.005
"""How far the objects of a failed episode are moved, at most [m]."""
EXACT = 1e-6
"""Numbers of a start that differ less are the same: machines round the last bit differently."""


@dataclass(frozen=True)
class PlannedDemo:
    """One episode to make.

    Attributes:
        index: Its place in the data set.
        seed: index + ATTEMPT * attempt; decides everything that is random in it.
        condition: Its start.
    """

    index: int
    seed: int
    condition: Condition


def plan(
    dataset: str,
    task: Task,
    layout: str = "together",
    limit: int | None = None,
    env: EnvConfig | None = None,
    appearance: str = FIXED,
) -> list[PlannedDemo]:
    """The episodes of a data set, by index.

    Args:
        dataset: One of `envs.demos.DEMO_SETS`.
        task: What is shown.
        layout: One of the task's.
        limit: Take this many, spread evenly over the set.
        env: Environment configuration (its `theta_max_deg`).
        appearance: One of `envs.episodes.APPEARANCES`.
    """
    if dataset not in DEMO_SETS:
        raise UnknownNameError("dataset", dataset, DEMO_SETS)
    total = DEMO_SETS[dataset].total
    indices = np.arange(total)
    if limit is not None and limit < total:
        indices = np.linspace(0, total - 1, limit).round().astype(int)
    return [planned(dataset, task, layout, int(i), env or EnvConfig(), appearance) for i in indices]


def planned(
    dataset: str,
    task: Task,
    layout: str,
    index: int,
    env: EnvConfig,
    appearance: str = FIXED,
    attempt: int = 0,
) -> PlannedDemo:
    """Episode `index` of a data set; after a failed `attempt`, its objects stand elsewhere."""
    seed = index + ATTEMPT * attempt
    start = DEMO_SETS[dataset].condition(index, task, layout, env).dressed(appearance, index)
    condition = task.shown(start, seed)
    if attempt:
        condition = condition.moved(
            np.random.default_rng(seed).uniform(-RETRY_SHIFT, RETRY_SHIFT, 2)
        )
    return PlannedDemo(index, seed, condition)


def require_as_planned(
    folder: Path, metas: Iterable[EpisodeMeta], task: Task, env: EnvConfig, appearance: str
) -> None:
    """Demos start as the data set of that name says today.

    Raises:
        DataError: One starts elsewhere: it was made before its data set, or its task, was changed.
    """
    for meta in metas:
        where = meta.dataset, task, meta.layout, meta.index, env, appearance
        start = planned(*where, attempt=meta.seed // ATTEMPT).condition
        if not _same(Condition.from_dict(meta.condition).to_dict(), start.to_dict()):
            raise DataError(
                f"{episode_path(folder, meta.index)} does not start as demo {meta.index} of "
                f"{meta.dataset} does in this version of PARA: the task or the data set has "
                f"changed. Choose another data_dir=..., or delete {folder} and run: "
                f"{regenerate_command(folder)}"
            )


def _same(found: Any, wanted: Any) -> bool:
    """Do two conditions, as plain data, say the same but for EXACT?"""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, float):
        return math.isclose(found, wanted, rel_tol=0, abs_tol=EXACT)
    return bool(found == wanted)
