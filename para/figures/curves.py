"""Learning curves: from the logs of runs, or from the compact copies kept with the results."""

from __future__ import annotations

import csv
import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from para.errors import CheckpointError, ResultError
from para.evaluation.results import MAIN_MODELS
from para.figures.drawing import Drawing, panel_title
from para.figures.sources import NotRun, Sources
from para.figures.style import Theme, model_style, new_figure, soft_grid
from para.files import atomic_write
from para.runs.contents import POLICY_META
from para.runs.log import Row, read_log
from para.runs.policy_file import read_policy_meta

_logger = logging.getLogger(__name__)

CURVES = "curves"
"""Folder of the copies among the results; below it they lie as their runs do."""
COLUMNS = ("step", "seconds", "loss", "val_loss")
MOST_ROWS = 120
_TICKS = [m * 10.0**e for e in range(-4, 3) for m in (1, 2, 5)]


@dataclass(frozen=True)
class Curve:
    """The losses of one run.

    Attributes:
        train_set: Name of the training set.
        model: Name of the policy, without its backbone.
        seed: Training seed.
        step: (n,) optimiser steps.
        loss: (n,) training loss; its unit depends on the policy.
    """

    train_set: str
    model: str
    seed: int
    step: np.ndarray
    loss: np.ndarray


def keep_curves(sources: Sources) -> list[Path]:
    """Copy the losses of finished runs to the results, at most MOST_ROWS each.

    Of the shown setting and profile, where there are results. Runs themselves are too big to be
    committed; with these copies the figure can be drawn from the results alone. Returns the files
    that are new or changed.
    """
    if not sources.results.results:
        return []
    written = []
    runs = _of_setting(sources.runs_dir, sources)
    for log in sorted(runs.glob("*/*/*/log.jsonl")):
        rows = _finished_rows(log.parent)
        if not rows:
            continue
        keep = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).round())
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for i in keep.astype(int):
            writer.writerow({k: _short(rows[i][k]) for k in COLUMNS if k in rows[i]})
        run = log.parent.relative_to(runs)
        path = (_copies(sources) / run).with_suffix(".csv")
        if not path.is_file() or path.read_text(encoding="utf-8") != text.getvalue():
            with atomic_write(path) as aside:
                aside.write_text(text.getvalue(), encoding="utf-8")
            written.append(path)
    return written


def _of_setting(folder: Path, sources: Sources) -> Path:
    return folder / sources.setting.name / sources.profile


def _copies(sources: Sources) -> Path:
    return _of_setting(sources.results.folder / CURVES, sources)


def _finished_rows(run: Path) -> list[Row]:
    """The log of a run that is finished; else, and where it is damaged, no rows."""
    if not os.path.lexists(run / POLICY_META):
        return []  # it has not got far enough to have a policy
    try:
        return read_log(run) if read_policy_meta(run)["finished"] else []
    except CheckpointError as error:
        _logger.warning("%s Its learning curve is left out.", error)
        return []


def _short(value: float) -> str:
    return f"{value:.6g}"


def curve_files(sources: Sources) -> list[Path]:
    """The committed learning curves; `NotRun` if there are none."""
    files = sorted(_copies(sources).glob("*/*/seed*.csv"))
    if not files:
        raise NotRun("No learning curves were kept.", sources.command("lr"))
    return files


def read_curve(path: Path) -> Curve:
    """Read one copy; `ResultError` names a file that is damaged."""
    train_set, policy, seed = path.parts[-3:]
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        step = np.array([float(row["step"]) for row in rows])
        loss = np.array([float(row["loss"]) for row in rows])
        number = int(seed.removeprefix("seed").removesuffix(".csv"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{path} is not a learning curve ({type(error).__name__}: {error}). Delete it and "
            "build the figures again where the runs are."
        ) from error
    return Curve(train_set, policy.split("-")[0], number, step, loss)


def learning_curves(sources: Sources, theme: Theme) -> Drawing:
    """Training loss against steps, one panel per policy, one line per training set."""
    curves = [read_curve(path) for path in curve_files(sources)]
    shown = [m for m in MAIN_MODELS if any(c.model == m for c in curves)]
    if not shown:
        raise NotRun("No learning curves were kept.", sources.command("lr"))
    figure = new_figure(5.2, 2.0 * len(shown) + 0.4)
    panels = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
    words = []
    for axes, model in zip(panels, shown, strict=True):
        style = model_style(model)
        own = [c for c in curves if c.model == model]
        for curve in sorted(own, key=lambda c: c.train_set == "left"):
            main = curve.train_set == "left"
            axes.plot(
                curve.step,
                _smooth(curve.loss),
                color=style.colour,
                linewidth=2.2 if main else 1.0,
                alpha=1.0 if main else 0.4,
            )
        axes.set_yscale("log")
        soft_grid(axes, "both")
        axes.minorticks_off()
        shown_range = axes.get_ylim()
        axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        axes.set_ylim(shown_range)
        panel_title(axes, f"{style.label} ({len(own)} runs)", theme)
        final = np.median([c.loss[-5:].mean() for c in own])
        words.append(f"{style.label}: {len(own)} runs, median final loss {final:.3g}")
    panels[-1].set_xlabel("Optimiser steps  (bold: left half, pale: other training sets)")
    figure.supylabel("Training loss (own units)", fontsize=10.5)
    alt = "Training loss against optimiser steps. " + "; ".join(words) + "."
    return Drawing(figure, alt, {m: sum(c.model == m for c in curves) for m in shown})


def _smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Centred running mean; shorter at the ends."""
    kernel = np.ones(min(width, len(values)))
    total = np.convolve(values, kernel, "same")
    return total / np.convolve(np.ones_like(values), kernel, "same")
