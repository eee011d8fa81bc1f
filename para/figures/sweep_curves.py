"""Success when something goes wrong: one panel for each thing that a sweep varies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envs.perturbations import KINDS
from para.evaluation.config import EvalConfig
from para.evaluation.results import Result, rates_by_level
from para.figures.style import LIGHT, model_style, new_figure, save_figure, soft_grid, themed
from para.runs.folders import setting_of

UNDISTURBED = {"light": 1.0}
"""Where an undisturbed episode stands on an axis that does not begin at 0."""


def curves_of_sweep(cfg: EvalConfig, results: Mapping[str, Result]) -> list[Path]:
    """Draw success by level with 95 % Wilson intervals, a line per policy; returns the PNG.

    Args:
        cfg: What was evaluated, with a sweep.
        results: By label.
    """
    place = Path(cfg.outputs_dir) / "figures" / setting_of(cfg).name / cfg.profile
    names = list(cfg.sweep.levels)
    usual = UNDISTURBED | {
        "fovy_deg": cfg.env.camera_fovy_deg,
        "distance_m": cfg.env.camera_distance,
    }
    with themed(LIGHT):
        figure = new_figure(3.6 * len(names) + 0.4, 3.6)
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for label, result in results.items():
            style, rates = model_style(label), rates_by_level(result, cfg.tests[0])
            for axes, name in zip(panels, names, strict=True):
                points = {usual.get(name, 0.0): rates["", 0.0]}
                points |= {level: rate for (what, level), rate in rates.items() if what == name}
                x, y = sorted(points), [points[level] for level in sorted(points)]
                low, high = zip(*(rate.interval for rate in y), strict=True)
                axes.fill_between(
                    x, [100 * v for v in low], [100 * v for v in high],
                    color=style.colour, alpha=0.15, linewidth=0,
                )  # fmt: skip
                axes.plot(
                    x, [100 * rate.value for rate in y], style.line, color=style.colour,
                    marker=style.marker, label=f"{style.label}, n={y[0].n} a level",
                )  # fmt: skip
        for axes, name in zip(panels, names, strict=True):
            soft_grid(axes)
            axes.set(xlabel=KINDS[name][2], ylim=(-3, 103))
        panels[0].set_ylabel("success [%]")
        panels[0].legend(loc="lower left")
        figure.suptitle(cfg.sweep.title, x=0.01, ha="left", fontweight="bold", fontsize=13)
        stem = place / f"{cfg.split.name}_{cfg.sweep.name}_sweep"
        return save_figure(figure, stem, LIGHT)[1:]
