"""What is said of LIBERO: policies on its splits beside floors and ceiling, and what others say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from envs.base import Condition, load_task
from envs.libero.splits import AZIMUTHS_DEG, DISTANCES_M, RAISED_DEG, ROLLS_DEG, WHAT, View, view_of
from envs.libero.task import libero_tasks
from envs.splits import load_split, split_names, training_indices
from para.evaluation.config import EvalConfig
from para.evaluation.result_set import Episode, StoredResult
from para.evaluation.results import MAIN_MODELS
from para.figures.splits import split_title
from para.runs.identity import Setting
from para.website.content import Bounded, Number, Numbers

KIND = "libero"
"""Kind of its splits."""
NEAR_DEG = 30


def _orbits(least: int, most: int) -> Callable[[View], bool]:
    """Those round the vertical, at either height."""
    return lambda v: not v.perturbed and least <= abs(v.azimuth_deg) <= most


def _off(what: str, level: float) -> Callable[[View], bool]:
    return lambda v: {name: abs(value) for name, value in v.perturbed} == {what: level}


ANGLES = sorted({abs(angle) for angle in AZIMUTHS_DEG})
VIEWS: dict[str, Callable[[View], bool]] = {
    f"orbits of up to {NEAR_DEG}°": _orbits(0, NEAR_DEG),
    **{f"orbit of {angle}°": _orbits(angle, angle) for angle in ANGLES},
    f"{RAISED_DEG}° higher alone": _orbits(0, 0),
    **{f"{metres:g} m away": _off("distance_m", metres) for metres in DISTANCES_M},
    **{f"roll of {angle}°": _off("roll_deg", angle) for angle in sorted({*map(abs, ROLLS_DEG)})},
    "all": lambda _: True,
}
"""Title -> which of the cameras of `libero_cameras`; orbits either way and at both heights."""


@dataclass(frozen=True)
class LiberoRow(Bounded):
    """One split of one task, in one regime of demonstrations.

    Attributes:
        numbers: The results that it is computed from; their setting has the task and the regime.
        split: Name of the split.
    """

    numbers: Numbers
    split: str

    @property
    def setting(self) -> Setting:
        """The task, and the layout that its demos have."""
        return self.numbers.setting

    @property
    def instruction(self) -> str:
        """What the policy is to do."""
        return load_task(self.setting.task).instruction

    @property
    def title(self) -> str:
        """Of the split."""
        return split_title(self.split)

    @property
    def demos(self) -> str:
        """'32 varied': how many train it, of which regime; 'execute=8', 'tta=8' if so."""
        task, layout = load_task(self.setting.task), self.setting.layout
        count = len(training_indices(load_split(self.split), task, layout))
        unusual = []
        for key in ("execute", "tta"):
            asked = {run.data["config"].get("evaluation", {}).get(key) for run in self.runs}
            plain = {None, getattr(EvalConfig, key)}
            unusual += [f", {key}={value}" for value in sorted(asked - plain)]
        return f"{count} {layout}{''.join(unusual)}"

    @property
    def runs(self) -> list[StoredResult]:
        """The result files of the main policies."""
        return [run for model in MAIN_MODELS for run in self.numbers.select(self.split, model)]

    def rate(self, model: str, test: str = "ood") -> Number | None:
        """Success of a policy; None: not run.

        In distribution all splits of one data set ask the same of a policy: once is enough.
        """
        own = self.numbers.number(self.split, model, test)
        if own or test != "sanity":
            return own
        beside = (self.numbers.number(split, model, test) for split in self._of_same_policy(model))
        return next(filter(None, beside), None)

    def _of_same_policy(self, model: str) -> Iterator[str]:
        """Other splits for which the same training was evaluated, in distribution alike."""

        def trained(split: str) -> set[str]:
            return {run.data["training"]["sha256"] for run in self.numbers.select(split, model)}

        own, cfg = trained(self.split), load_split(self.split)
        for split in sorted({result.split for result in self.numbers.results.results}):
            other = load_split(split)
            alike = (other.dataset, other.test_seed) == (cfg.dataset, cfg.test_seed)
            if own and alike and trained(split) == own:
                yield split

    @property
    def turned(self) -> bool:
        """Is it held-out cameras that test it?"""
        return load_split(self.split).held_out == "cameras"

    @cached_property
    def aligned(self) -> LiberoRow:
        """The same where policies were shown each view turned, shifted and zoomed to the usual one.

        See `para.evaluation.aligned`.
        """
        numbers = Numbers(self.numbers.every.aligned, self.setting, self.numbers.profile)
        return LiberoRow(numbers, self.split)

    def seen(self, model: str, title: str) -> Number | None:
        """Success of a policy as seen by some of the cameras, by its title in VIEWS."""
        number, which = self.rate(model), VIEWS[title]

        def counts(episode: Episode) -> bool:
            view = view_of(Condition.from_dict(episode["condition"]))
            return view is not None and which(view)

        rate = self.numbers.results.rate(self.split, model, "ood", counts)
        return replace(number, rate=rate) if number and rate.n else None

    def ends(self, model: str = MAIN_MODELS[0]) -> str:
        """How the held-out episodes of a policy ended: '15 placed; 4 never lifted'; '' if not run.

        See `envs.base.Stage.meaning`.
        """
        if self.rate(model) is None:
            return ""
        meanings = {stage.name: stage.meaning for stage in self.numbers.stages}
        counts = self.numbers.stage_counts(self.split, model)
        return "; ".join(f"{count} {meanings[stage]}" for stage, count in counts.items() if count)


def libero_rows(numbers: Numbers) -> Iterator[LiberoRow]:
    """Splits of LIBERO that have results, task by task, `layout=varied` before `official`."""
    for name in libero_tasks():
        task = load_task(name)
        ours = [split for split in split_names(task) if load_split(split).kind == KIND]
        ours.sort(key=lambda s: (WHAT.index(load_split(s).held_out), -load_split(s).demos, s))
        for layout in task.layouts:
            here = Numbers(numbers.every, Setting(name, layout=layout), numbers.profile)
            run = {result.split for result in here.results.results}
            yield from (LiberoRow(here, split) for split in ours if split in run)
