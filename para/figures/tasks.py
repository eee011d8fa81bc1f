"""What figures and tables say about a task, from the task itself: its stages, what it measures.

Outcome is told by fill and shape, never by hue: a cross for nothing reached, a hollow mark on the
way, a filled one for success.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.base import TASKS, Metric, load_task
from para.figures.style import ModelStyle


@dataclass(frozen=True)
class Stage:
    """One stage of a task.

    Attributes:
        name: As in results.
        meaning: In words, of an episode that ended there.
        strength: How much of a policy's hue it keeps, in (0, 1]; the rest is the surface.
        first: Nothing was reached.
        success: The last one.
    """

    name: str
    meaning: str
    strength: float
    first: bool
    success: bool

    @property
    def words(self) -> str:
        """For legends: the meaning, and whether it is the success that is counted."""
        return f"{self.meaning} (success)" if self.success else self.meaning

    def mark(self, style: ModelStyle, surface: str, size: float) -> dict[str, Any]:
        """How an episode that ended here is marked, as arguments of `Axes.plot`."""
        if self.success:
            return {"marker": style.marker, "markersize": size, "color": style.colour} | {
                "markeredgecolor": surface,
                "markeredgewidth": 0.7,
            }
        if self.first:
            return {"marker": "x", "markersize": 0.78 * size, "color": style.colour} | {
                "markeredgewidth": 1.4
            }
        return {"marker": style.marker, "markersize": 0.86 * size, "color": style.colour} | {
            "markerfacecolor": surface,
            "markeredgewidth": 1.5,
        }


def stages_of(task: str, names: Sequence[str]) -> list[Stage]:
    """The stages of a task, in order, as results name them."""
    meanings = _meanings(task)
    last = len(names) - 1
    strengths = [*np.linspace(0.16, 0.5, last), 1.0] if last > 1 else [0.16, 1.0][-len(names) :]
    return [
        Stage(name, meanings.get(name, name.lower()), float(strengths[k]), k == 0, k == last)
        for k, name in enumerate(names)
    ]


def _meanings(task: str) -> dict[str, str]:
    """Name of a stage -> its meaning; empty for a task of a plug-in that is not loaded."""
    return {s.name: s.meaning for s in load_task(task).stages} if task in TASKS.options() else {}


def final_metric(task: str) -> Metric:
    """What is measured at the end of an episode: the first of the task's metrics."""
    return load_task(task).metrics[0]
