"""Charts of what a video backbone brings: training recipes, and demonstrations needed."""

from __future__ import annotations

from dataclasses import dataclass

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
from para.figures.sources import NotRun, Sources, published, run_command
from para.figures.style import Theme, model_style, new_figure, soft_grid


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
}
"""Policy on the video backbone -> its recipe: the published ones, then controls."""
RECIPE_SPLIT = "lr"
TWO_STAGE, GLOBAL = "para_two_stage-svd_tiny", "act_two_stage-svd_tiny"
RECIPE_TABLES = {
    "total": (
        "The same steps in total",
        (TWO_STAGE, "para_joint-svd_tiny", "para_frozen-svd_tiny", GLOBAL),
    ),
    "second-stage": (
        "The same steps after the video stage, or without one",
        (
            *(TWO_STAGE, "para_joint_short-svd_tiny", "para_frozen-svd_tiny"),
            *("para_heads_only-svd_tiny", GLOBAL),
        ),
    ),
    "short": (
        "The same steps in total, a quarter as many",
        ("para_two_stage_short-svd_tiny", "para_joint_short-svd_tiny"),
    ),
}
"""What may be compared: id -> (what is equal, policies)."""
SCALING_SPLITS = {n: f"video_n{n}" for n in (4, 16, 64, 256)}
SCALING_MODELS = (TWO_STAGE, "para_two_stage_all-svd_tiny", GLOBAL, "para")


def recipe_chart(sources: Sources, theme: Theme) -> Drawing:
    """Success of each recipe in distribution and held out, beside the published numbers."""
    found = sources.results.require(RECIPE_SPLIT, tuple(RECIPES))
    figure = new_figure(5.2, 1.0 + 0.62 * len(RECIPES))
    axes = figure.add_subplot()
    data, words = {}, []
    for y, (model, recipe) in enumerate(RECIPES.items()):
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
    axes.set_yticks(range(len(RECIPES)), [model_style(model).label for model in RECIPES])
    axes.set_ylim(len(RECIPES) - 0.5, -0.5)
    axes.set_xlim(-1.5, 101.5)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("Success rate [%]")
    soft_grid(axes, "x")
    look = {"color": theme.muted, "linestyle": "none"}
    handles = [
        Line2D([], [], marker="o", label="in distribution", **look),
        Line2D([], [], marker="s", mfc=theme.surface, label="held out (left → right)", **look),
        Line2D([], [], marker="d", mfc="none", label="published", **look),
    ]
    figure.legend(handles=handles, ncols=3, loc="outside upper left", columnspacing=1.0)
    alt = "Success rate of each training recipe on the small video backbone. " + " ".join(words)
    return Drawing(figure, alt, data, missing_notes(found, tuple(RECIPES), RECIPE_SPLIT))


def video_scaling_chart(sources: Sources, theme: Theme) -> Drawing:
    """Success everywhere against the number of demos, spread over the whole workspace."""
    rates = {
        model: {n: sources.results.rate(split, model, "ood") for n, split in SCALING_SPLITS.items()}
        for model in SCALING_MODELS
    }
    if not any(rate.n for of_model in rates.values() for rate in of_model.values()):
        raise NotRun(
            "Data efficiency of the video backbone (video_n4 ... video_n256) was not run.",
            run_command("video_n16", TWO_STAGE),
        )
    figure = new_figure(5.2, 3.9)
    axes = figure.add_subplot()
    data, words, notes = {}, [], []
    for model, of_model in rates.items():
        run = {n: rate for n, rate in of_model.items() if rate.n}
        missing = ", ".join(SCALING_SPLITS[n] for n in of_model if n not in run)
        if missing:
            notes.append(f"{model_style(model).label} was not run on {missing}.")
        if run:
            rate_line(axes, model, list(run), list(run.values()))
            data[model] = {str(n): rate_data(rate) for n, rate in run.items()}
            listed = ", ".join(f"{n} demos {percent(rate)}" for n, rate in run.items())
            words.append(f"{model_style(model).label}: {listed}.")
    demos_axis(axes, list(SCALING_SPLITS), "spread over the workspace")
    percent_axis(axes)
    soft_grid(axes)
    policy_legend(axes, list(data))
    alt = "Line chart of success rate against number of demonstrations. " + " ".join(words)
    return Drawing(figure, alt, data, tuple(notes))
