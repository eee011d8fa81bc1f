"""What is said of the tasks side by side: one policy for each, one for all, floors and ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from baselines.floors import FLOORS
from envs.base import TASKS
from envs.episodes import VARIED
from envs.multi_task import LAYOUT
from para.evaluation.results import MAIN_MODELS
from para.figures.splits import ALL_TASKS
from para.runs.identity import Setting
from para.website.content import Bounded, Number, Numbers

ALONE = "lr"
"""The split of each task's headline."""
RECOGNISED = ("bowl_on_plate", "block_in_tray", "open_drawer", "push_to_target", "stack_blocks")
"""Tasks that nobody can do by colour where looks vary; `pick_named` keeps the colours it names."""
FURTHER = (
    *((Setting(name, layout=LAYOUT, appearance=VARIED), "lr") for name in RECOGNISED),
    (Setting("pick_named", layout=LAYOUT), "composition"),
    (Setting("bowl_on_plate", layout=LAYOUT, appearance=VARIED), "appearance"),
)
"""What else is tested: a half of the table where looks vary, and what is held out besides it."""


@dataclass(frozen=True)
class TaskRow(Bounded):
    """One test of one task.

    Attributes:
        task: Name of the task.
        numbers: The results that it is computed from.
        split: What a policy of this task alone was trained and tested on.
        shared: The split whose policy was trained on all tasks, tested on the same; None: none.
    """

    task: str
    numbers: Numbers
    split: str
    shared: str | None

    @property
    def title(self) -> str:
        """Of the task."""
        return TASKS[TASKS.load(self.task).kind].title

    @property
    def looks(self) -> str:
        """fixed | varied."""
        return self.numbers.setting.appearance

    @property
    def description(self) -> str:
        """Of the task, in a sentence."""
        return TASKS[TASKS.load(self.task).kind].description

    @property
    def starts(self) -> str:
        """dev | final: what the policy of this task was evaluated on; empty where it was not."""
        runs = self.numbers.select(self.split, MAIN_MODELS[0])
        return ", ".join(sorted({run.data["starts"] for run in runs}))

    def alone(self, test: str, model: str = MAIN_MODELS[0]) -> Number | None:
        """Success of the policy of this task; None: not run."""
        return self.numbers.number(self.split, model, test)

    def of_all(self, test: str, model: str = MAIN_MODELS[0]) -> Number | None:
        """Success of the policy of all tasks; None: not run, or there is none."""
        return self.numbers.number(self.shared, model, test) if self.shared else None


def varied_rows(numbers: Numbers) -> Iterator[tuple[Numbers, str, str]]:
    """Policies that learn, where looks vary: the numbers, the split and the label of each."""
    for setting, split in FURTHER:
        if setting.appearance == VARIED:
            here = Numbers(numbers.every, setting, numbers.profile)
            for model in here.models(split):
                if model not in FLOORS and here.select(split, model):
                    yield here, split, model


def task_rows(numbers: Numbers) -> Iterator[TaskRow]:
    """The headline of every task in its independent layout, then what else is held out."""
    for name in TASKS.options():
        if LAYOUT in TASKS[TASKS.load(name).kind].layouts:
            here = Numbers(numbers.every, Setting(name, layout=LAYOUT), numbers.profile)
            yield TaskRow(name, here, ALONE, ALL_TASKS)
    for setting, split in FURTHER:
        here = Numbers(numbers.every, setting, numbers.profile)
        yield TaskRow(setting.task, here, split, None)
