"""The episodes that data sets consist of, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.base import Condition, EnvConfig, Task
from envs.demos import DEMO_SETS
from envs.episodes import FIXED
from para.errors import UnknownNameError

RETRY_SHIFT = 0.005
"""How far the objects of a failed episode are moved, at most [m]."""


@dataclass(frozen=True)
class PlannedDemo:
    """One episode to make.

    Attributes:
        index: Its place in the data set.
        seed: index + 10000 * attempt; decides everything that is random in it.
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
    seed = index + 10_000 * attempt
    start = DEMO_SETS[dataset].condition(index, task, layout, env).dressed(appearance, index)
    condition = task.shown(start, seed)
    if attempt:
        condition = condition.moved(
            np.random.default_rng(seed).uniform(-RETRY_SHIFT, RETRY_SHIFT, 2)
        )
    return PlannedDemo(index, seed, condition)
