"""Success when something goes wrong: one panel for each thing that a sweep varies."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from envs.perturbations import KINDS, SWEEPS, SweepConfig
from para.evaluation.config import EvalConfig
from para.evaluation.result_set import ResultSet, sweep_dir
from para.evaluation.results import Result, model_order, rates_by_level
from para.figures.drawing import Drawing, percent, percent_axis, rate_data, rate_line
from para.figures.sources import NotRun, Sources
from para.figures.style import LIGHT, Theme, model_style, new_figure, save_figure, soft_grid, themed
from para.places import typed
from para.runs.folders import setting_of
from para.statistics import Rate

SPLIT, LAYOUT = "demos_n256", "together"
"""What the page shows: demonstrations all over the table, so that nothing is new but the fault."""

Levels = dict[tuple[str, float], Rate]
"""What goes wrong, by how much -> success; undisturbed ("", 0)."""


def sweep_inputs(sources: Sources, sweep: str) -> list[Path]:
    """Result files of a sweep; `NotRun` without any."""
    found = [result.path for result in _results(sources, sweep).results]
    if not found:
        command = f"{typed('eval')} split={SPLIT} layout={LAYOUT} model=para sweep={sweep}"
        raise NotRun(f"sweep={sweep} was not run on {SPLIT}, objects {LAYOUT}.", command)
    return found


def sweep_figure(sources: Sources, theme: Theme, sweep: str) -> Drawing:
    """Success by level with 95 % intervals, a line per policy."""
    results = _results(sources, sweep)
    labels = sorted({result.model for result in results.results}, key=model_order)
    runs = {label: [run.data for run in results.select(SPLIT, label)] for label in labels}
    cfg = SWEEPS.load(sweep)
    figure = new_figure(5.2, 3.6)
    rates = {label: rates_by_level(data) for label, data in runs.items()}
    told = runs[labels[0]][0]["config"]["evaluation"]["env"]
    _draw(figure, cfg, rates, _usual(told["camera_fovy_deg"], told["camera_distance"]))
    handles = []
    for label in labels:
        style = model_style(label)
        look = {"color": style.colour, "marker": style.marker}
        handles.append(Line2D([], [], linestyle=style.line, label=style.label, **look))
    figure.legend(handles=handles, ncols=2, loc="outside upper left", columnspacing=1.0)
    data, words = {}, []
    for label, levels in rates.items():
        data[label] = {_level(*level): rate_data(rate) for level, rate in levels.items()}
        listed = ", ".join(f"{_level(*level)}: {percent(rate)}" for level, rate in levels.items())
        words.append(f"{model_style(label).label}: {listed}.")
    return Drawing(figure, f"Success by level. {cfg.title}. {' '.join(words)}", data)


def curves_of_sweep(cfg: EvalConfig, results: Mapping[str, Result]) -> list[Path]:
    """Draw what an evaluation with sweep= measured; returns the PNG.

    Args:
        cfg: What was evaluated, with a sweep.
        results: By label.
    """
    place = Path(cfg.outputs_dir) / "figures" / setting_of(cfg).name / cfg.profile
    rates = {label: rates_by_level([result], cfg.tests[0]) for label, result in results.items()}
    with themed(LIGHT):
        figure = new_figure(3.6 * len(cfg.sweep.levels) + 0.4, 3.6)
        _draw(figure, cfg.sweep, rates, _usual(cfg.env.camera_fovy_deg, cfg.env.camera_distance))
        figure.axes[0].legend(loc="lower left")
        figure.suptitle(cfg.sweep.title, x=0.01, ha="left", fontweight="bold", fontsize=13)
        stem = place / f"{cfg.split.name}_{cfg.sweep.name}_sweep"
        return save_figure(figure, stem, LIGHT)[1:]


def _results(sources: Sources, sweep: str) -> ResultSet:
    """The results that the page shows, of the newest simulated world."""
    setting = sources.laid(LAYOUT).setting
    folder = sweep_dir(sources.results.folder, sweep)
    return ResultSet.load(folder).of(setting, sources.profile).newest([SPLIT])


def _usual(fovy_deg: float, distance_m: float) -> dict[str, float]:
    """Where an undisturbed episode stands on an axis that does not begin at 0."""
    return {"light": 1.0, "fovy_deg": fovy_deg, "distance_m": distance_m}


def _level(name: str, level: float) -> str:
    return f"{KINDS[name][2]}: {level:g}" if name else "undisturbed"


def _draw(
    figure: Figure, sweep: SweepConfig, rates: Mapping[str, Levels], usual: Mapping[str, float]
) -> None:
    """One panel for each thing that varies, a line per policy."""
    names: Sequence[str] = list(sweep.levels)
    width = round(10.5 * figure.get_figwidth() / len(names)) - 3  # letters below a panel
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for label, levels in rates.items():
            points = {usual.get(name, 0.0): levels["", 0.0]}
            points |= {level: rate for (what, level), rate in levels.items() if what == name}
            ordered = sorted(points)
            rate_line(axes, label, np.array(ordered), [points[level] for level in ordered])
            axes.lines[-1].set_label(f"{model_style(label).label}, n={levels['', 0.0].n} a level")
        soft_grid(axes)
        axes.set_xlabel(textwrap.fill(KINDS[name][2], width))
    percent_axis(panels[0], "Success [%]")
