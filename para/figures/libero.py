"""Both policies on the same starts of LIBERO-PRO's swapped scene."""

from __future__ import annotations

from pathlib import Path

from para.evaluation.result_set import ResultSet
from para.evaluation.results import MAIN_MODELS
from para.figures.build import Film
from para.figures.choices import first_starts, video_inputs
from para.figures.sources import Sources
from para.figures.videos import grid, pair
from para.runs.identity import Setting
from para.runs.labels import PROFILE

SETTING = Setting("libero_spatial_0", layout="varied")
SPLITS = ("libero_pro_swap", *(f"libero_pro_swap_n{n}" for n in (32, 16, 4)))
"""Those with more demos first: the first one that was run with both policies is filmed."""


def swapped_inputs(sources: Sources) -> list[Path]:
    """Result files and weights behind `swapped`."""
    return video_inputs(*_filmed(sources))


def swapped(sources: Sources) -> Film:
    """A video of each policy, see `para.figures.videos.pair`."""
    return pair(*_filmed(sources), "ood")


def swapped_grid_inputs(sources: Sources, model: str) -> list[Path]:
    """Result file and weights behind `swapped_grid`."""
    return video_inputs(*_filmed(sources), (model,))


def swapped_grid(sources: Sources, model: str) -> Film:
    """The first starts, one policy, all at once."""
    return grid(*_filmed(sources), model, first_starts)


def _filmed(sources: Sources) -> tuple[Sources, str]:
    every = sources.every or sources.results
    return sources.within(SETTING), filmed_split(every, sources.profile)


def filmed_split(every: ResultSet, profile: str = PROFILE) -> str:
    """Name of the split whose policies are shown; the first of SPLITS where none was run."""
    results = every.of(SETTING, profile)
    run = (s for s in SPLITS if all(results.select(s, model) for model in MAIN_MODELS))
    return next(run, SPLITS[0])
