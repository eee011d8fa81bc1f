"""Charts of what a video backbone brings: training recipes, and demonstrations needed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Any

from matplotlib.lines import Line2D

from para.figures.drawing import (
    Drawing,
    demos_axis,
    missing_notes,
    percent,
    percent_axis,
    policy_legend,
    rate_data,
    rate_line,
)
from para.figures.sources import NotRun, Sources, published
from para.figures.splits import split_title, sweep_splits
from para.figures.style import Theme, model_style, new_figure, soft_grid
from para.statistics import Rate


@dataclass(frozen=True)
class Recipe:
    """A way to train a policy on the video backbone.

    Attributes:
        title: What it is called in tables.
        success: Published success rate in distribution [percent], where there is one.
        steps: Published budget.
    """

    title: str
    success: int | None = None
    steps: str | None = None


RECIPES = {
    f"{row['model']}_{row['recipe']}-svd_tiny": Recipe(row["title"], row["success"], row["steps"])
    for row in published()["video"]
} | {
    "para_joint_short-svd_tiny": Recipe("Joint from scratch, short"),
    "para_heads_only-svd_tiny": Recipe("Heads on a random, frozen video model"),
    "para_two_stage_short-svd_tiny": Recipe("Two stages, short"),
    "regression_two_stage_long-svd_tiny": Recipe("Global regression, four times as long"),
    "para_two_stage_long_video-svd_tiny": Recipe("Two stages, four times as much video"),
    "para_frozen_long_video-svd_tiny": Recipe("Frozen video features, four times as much video"),
    "para_two_stage-svd_tiny_64px": Recipe("Two stages, frames of 64 px"),
    "para_frozen-svd_tiny_64px": Recipe("Frozen video features, frames of 64 px"),
}
"""Policy on the video backbone -> its recipe: the published ones, then controls."""
RECIPE_SPLIT = "lr"
TWO_STAGE, GLOBAL = "para_two_stage-svd_tiny", "regression_two_stage-svd_tiny"
ALL_VIDEO, LONG_VIDEO = "para_two_stage_all-svd_tiny", "para_two_stage_long_video-svd_tiny"
FROZEN, JOINT_SHORT = "para_frozen-svd_tiny", "para_joint_short-svd_tiny"
RECIPE_TABLES = {
    "total": (
        "The same steps in total",
        (TWO_STAGE, "para_joint-svd_tiny", FROZEN, GLOBAL),
    ),
    "second-stage": (
        "The same steps after the video stage, or without one",
        (TWO_STAGE, JOINT_SHORT, FROZEN, "para_heads_only-svd_tiny", GLOBAL),
    ),
    "short": (
        "The same steps in total, a quarter as many",
        ("para_two_stage_short-svd_tiny", JOINT_SHORT),
    ),
    "more-video": (
        "Four times as much video, then the same",
        (TWO_STAGE, LONG_VIDEO, FROZEN, "para_frozen_long_video-svd_tiny"),
    ),
    "resolution": (
        "Video frames of 64 instead of 128 px",
        (TWO_STAGE, "para_two_stage-svd_tiny_64px", FROZEN, "para_frozen-svd_tiny_64px"),
    ),
    "regression": (
        "Global regression, with more steps after the video stage",
        (GLOBAL, "regression_two_stage_long-svd_tiny"),
    ),
}
"""What may be compared: id -> (what is equal, policies)."""
MAIN_TABLES = ("total", "second-stage")
"""Ids of the tables that show first; the others are controls."""
MAIN_RECIPES = tuple(
    dict.fromkeys(model for table in MAIN_TABLES for model in RECIPE_TABLES[table][1])
)
"""Policies in the main tables, which are drawn."""
CLIP_PLACES = {"held_out": "positions as in training", "elsewhere": "positions of the other half"}
"""Where benchmarks/video_quality.py takes first frames from."""
SCALING_MODELS = (TWO_STAGE, ALL_VIDEO, GLOBAL, "para")
VIDEO_PAIRS = (
    (RECIPE_SPLIT, TWO_STAGE, "para_joint-svd_tiny"),
    (RECIPE_SPLIT, TWO_STAGE, JOINT_SHORT),
    (RECIPE_SPLIT, JOINT_SHORT, "para_two_stage_short-svd_tiny"),
    (RECIPE_SPLIT, FROZEN, "para_heads_only-svd_tiny"),
    (RECIPE_SPLIT, TWO_STAGE, FROZEN),
    (RECIPE_SPLIT, "para_frozen_long_video-svd_tiny", FROZEN),
    (RECIPE_SPLIT, TWO_STAGE, GLOBAL),
)
"""Which policies are compared on the same starts: (split, first, second)."""
SWEEP_PAIRS = ((ALL_VIDEO, "para"), (TWO_STAGE, "para"), (TWO_STAGE, GLOBAL))
"""Which policies are compared on every split of the sweep."""


def recipe_chart(sources: Sources, theme: Theme) -> Drawing:
    """Success of the main recipes, in distribution and held out, beside the published numbers."""
    found = sources.require(RECIPE_SPLIT, MAIN_RECIPES)
    figure = new_figure(5.2, 1.0 + 0.62 * len(MAIN_RECIPES))
    axes = figure.add_subplot()
    data, words = {}, []
    for y, model in enumerate(MAIN_RECIPES):
        recipe = RECIPES[model]
        colour = model_style(model).colour
        if recipe.success is not None:
            published_mark = (recipe.success, y - 0.24)
            axes.plot(*published_mark, "d", mfc="none", color=colour, ms=6, clip_on=False)
        for test, offset, filled in (("sanity", 0.0, True), ("ood", 0.24, False)):
            rate = sources.results.rate(RECIPE_SPLIT, model, test)
            if not rate.n:
                continue
            low, high = (100 * bound for bound in rate.interval)
            axes.hlines(y + offset, low, high, color=colour, linewidth=1.4, alpha=0.75)
            face = {} if filled else {"markerfacecolor": theme.surface}
            axes.plot(100 * rate.value, y + offset, "o" if filled else "s", color=colour, **face)
            data.setdefault(model, {})[test] = rate_data(rate)
            name = "in distribution" if filled else "held out"
            words.append(f"{model_style(model).label}, {name}: {percent(rate)}.")
    axes.set_yticks(range(len(MAIN_RECIPES)), [model_style(model).label for model in MAIN_RECIPES])
    axes.set_ylim(len(MAIN_RECIPES) - 0.5, -0.5)
    axes.set_xlim(-1.5, 101.5)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("Success rate [%]")
    soft_grid(axes, "x")
    look = {"color": theme.muted, "linestyle": "none", "mfc": "none"}
    handles = [*_test_marks(theme), Line2D([], [], marker="d", label="published", **look)]
    figure.legend(handles=handles, ncols=3, loc="outside upper left", columnspacing=1.0)
    alt = "Success rate of each training recipe on the small video backbone. " + " ".join(words)
    return Drawing(figure, alt, data, missing_notes(found, MAIN_RECIPES, RECIPE_SPLIT))


def _test_marks(theme: Theme) -> list[Line2D]:
    look = {"color": theme.muted, "linestyle": "none"}
    return [
        Line2D([], [], marker="o", label="in distribution", **look),
        Line2D(
            [],
            [],
            marker="s",
            mfc=theme.surface,
            label=f"held out ({split_title(RECIPE_SPLIT).lower()})",
            **look,
        ),
    ]


def features_chart(sources: Sources, theme: Theme) -> Drawing:
    """Success of heads on a frozen video model, changing one thing at a time."""
    with sources.benchmark("video_features") as result:
        changes = [row["change"] for row in result["rows"]]
        rates = [
            {t: Rate(int(row[t]["successes"]), int(row[t]["n"])) for t in ("sanity", "ood")}
            for row in result["rows"]
        ]
    figure = new_figure(5.2, 0.9 + 0.45 * len(changes))
    axes = figure.add_subplot()
    colour = model_style(TWO_STAGE).colour
    for y, row in enumerate(rates):
        for test, offset, face in (("sanity", -0.13, colour), ("ood", 0.13, theme.surface)):
            low, high = (100 * bound for bound in row[test].interval)
            axes.hlines(y + offset, low, high, color=colour, linewidth=1.4, alpha=0.75)
            mark = "o" if test == "sanity" else "s"
            axes.plot(100 * row[test].value, y + offset, mark, color=colour, mfc=face)
    axes.set_yticks(range(len(changes)), changes)
    axes.set_ylim(len(changes) - 0.5, -0.5)
    axes.set_xlim(-1.5, 101.5)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("Success rate [%]")
    soft_grid(axes, "x")
    figure.legend(handles=_test_marks(theme), ncols=2, loc="outside upper left", columnspacing=1.0)
    words = " ".join(
        f"{change}: {percent(row['sanity'])} in distribution, {percent(row['ood'])} held out."
        for change, row in zip(changes, rates, strict=True)
    )
    data = {
        change: {test: rate_data(rate) for test, rate in row.items()}
        for change, row in zip(changes, rates, strict=True)
    }
    return Drawing(figure, f"Success rate with frozen video features. {words}", data)


def quality_chart(sources: Sources, theme: Theme) -> Drawing:
    """PSNR and SSIM of generated frames, against those of repeating the first frame.

    At positions as in training; how long the video model learned and where the sampler ends differ.
    """
    units = {"psnr_db": "PSNR [dB]", "ssim": "SSIM"}
    with sources.benchmark("video_quality") as result:
        frames = {clip_source(row): row["sets"]["held_out"]["frames"] for row in result["rows"]}
        lines = {
            (name, unit): {row["frame"]: float(row[f"generated_{unit}"]) for row in rows}
            for name, rows in frames.items()
            for unit in units
        } | {
            ("first frame repeated", unit): {
                row["frame"]: float(row[f"first_frame_{unit}"]) for row in rows
            }
            for rows in [next(iter(frames.values()))]
            for unit in units
        }
    figure = new_figure(5.2, 3.1)
    panels = dict(zip(units, figure.subplots(1, 2), strict=True))
    blue = model_style(TWO_STAGE).colour
    dashes = dict(zip(frames, cycle((":", "--", "-")), strict=False))
    for (name, unit), values in lines.items():
        colour = blue if name in frames else theme.muted
        look = {"color": colour, "linestyle": dashes.get(name, "-"), "marker": "o", "label": name}
        panels[unit].plot(*zip(*values.items(), strict=True), **look)
    for unit, title in units.items():
        panels[unit].set_xlabel("Frame of the clip")
        panels[unit].set_ylabel(title)
        soft_grid(panels[unit])
    handles, labels = panels["ssim"].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=1, loc="outside upper left")
    words = " ".join(
        f"{name}: {unit.removesuffix('_db')} {values[max(values)]:.3g} at frame {max(values)}."
        for (name, unit), values in lines.items()
    )
    alt = f"Two line charts of frame quality over the frames of a generated clip. {words}"
    return Drawing(figure, alt, {"/".join(key): values for key, values in lines.items()})


def clip_source(row: dict[str, Any]) -> str:
    """What made the clips of a row of benchmarks/video_quality.py."""
    return f"{row['steps']} steps, sampled down to noise level {row['sigma_min']:g}"


def video_scaling_chart(sources: Sources, theme: Theme) -> Drawing:
    """Success everywhere against the number of demos, spread over the whole workspace."""
    rates = {
        model: {n: sources.results.rate(split, model, "ood") for n, split in sweep_splits().items()}
        for model in SCALING_MODELS
    }
    if not any(rate.n for of_model in rates.values() for rate in of_model.values()):
        raise NotRun(
            "Data efficiency of the video backbone (video_n4 ... video_n256) was not run.",
            sources.command("video_n16", TWO_STAGE),
        )
    figure = new_figure(5.2, 3.9)
    axes = figure.add_subplot()
    data, words, notes = {}, [], []
    for model, of_model in rates.items():
        run = {n: rate for n, rate in of_model.items() if rate.n}
        missing = ", ".join(sweep_splits()[n] for n in of_model if n not in run)
        if missing:
            notes.append(f"{model_style(model).label} was not run on {missing}.")
        if run:
            rate_line(axes, model, list(run), list(run.values()))
            data[model] = {str(n): rate_data(rate) for n, rate in run.items()}
            listed = ", ".join(f"{n} demos {percent(rate)}" for n, rate in run.items())
            words.append(f"{model_style(model).label}: {listed}.")
    demos_axis(axes, list(sweep_splits()), "spread over the workspace")
    percent_axis(axes)
    soft_grid(axes)
    policy_legend(axes, list(data))
    alt = "Line chart of success rate against number of demonstrations. " + " ".join(words)
    return Drawing(figure, alt, data, tuple(notes))
