"""Charts computed from result files: rates with intervals, stages, errors."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Patch

from para.evaluation.result_set import at_theta, theta_of
from para.evaluation.results import MAIN_MODELS
from para.figures.drawing import (
    Drawing,
    demos_axis,
    missing_notes,
    panel_title,
    percent,
    percent_axis,
    policy_legend,
    published_line,
    published_name,
    rate_data,
    rate_line,
)
from para.figures.sources import NotRun, Sources, published
from para.figures.splits import corner_splits, main_splits, split_title
from para.figures.style import Theme, mix, model_style, new_figure, soft_grid
from para.figures.tasks import final_metric
from para.statistics import Rate

_EDGE = 178
"""Right end of the bars' axis [percent]: beyond 100 stand the policies' names and n."""


def rates_per_theta(sources: Sources, model: str) -> dict[float, Rate]:
    """Success rate at each polar angle [deg] of split vp_default_to_all, over all seeds."""
    split, test = "vp_default_to_all", "ood"
    thetas = {theta_of(e) for e in sources.results.episodes(split, model, test)}
    return {
        theta: sources.results.rate(split, model, test, at_theta(theta)) for theta in sorted(thetas)
    }


def per_theta_chart(sources: Sources, theme: Theme) -> Drawing:
    """Success against the camera's polar angle, trained at 0 degrees only; published behind it."""
    models = sources.require("vp_default_to_all")
    reference = published()["per_theta"]
    figure = new_figure(5.2, 3.9)
    axes = figure.add_subplot()
    data, words = {}, []
    for model in MAIN_MODELS:
        published_line(axes, model, reference["theta_deg"], reference[model])
    for model in models:
        rates = rates_per_theta(sources, model)
        rate_line(axes, model, list(rates), list(rates.values()))
        data[model] = {str(theta): rate_data(rate) for theta, rate in rates.items()}
        listed = ", ".join(f"{theta:g}°: {percent(rate)}" for theta, rate in rates.items())
        words.append(f"{model_style(model).label}: {listed}.")
    percent_axis(axes)
    soft_grid(axes)
    axes.set_xticks(reference["theta_deg"], [f"{t:g}" for t in reference["theta_deg"]])
    axes.set_xlabel("Camera angle θ from the training view [°]")
    policy_legend(axes, models, beside=MAIN_MODELS)
    alt = (
        "Line chart of success rate against camera angle, policies trained at 0 degrees only. "
        + " ".join(words)
        + " Published: "
        + "; ".join(
            f"{published_name(m)} {', '.join(str(v) for v in reference[m])} %" for m in MAIN_MODELS
        )
        + "."
    )
    notes = missing_notes(models, MAIN_MODELS, "vp_default_to_all")
    return Drawing(figure, alt, data, notes)


def shown_splits(sources: Sources) -> list[str]:
    """Splits that have results of one of the main policies, in order."""
    found = {r.split for r in sources.results.results if r.model in MAIN_MODELS}
    shown = [split for split in main_splits() if split in found]
    if not shown:
        names = " nor ".join(model_style(model).label for model in MAIN_MODELS)
        raise NotRun(f"Neither {names} was evaluated.", sources.command("lr"))
    return shown


def stage_breakdown(sources: Sources, theme: Theme) -> Drawing:
    """Where episodes end, per split and policy: stacked shares of each stage, success first."""
    stages = sources.stages[::-1]
    rows, data, words = [], {}, []
    for split in shown_splits(sources):
        for model in MAIN_MODELS:
            episodes = sources.results.episodes(split, model, "ood")
            if episodes:
                counts = {s.name: sum(e["stage"] == s.name for e in episodes) for s in stages}
                rows.append((split, model, counts, len(episodes)))
                data.setdefault(split, {})[model] = {**counts, "n": len(episodes)}
                listed = ", ".join(f"{name} {count}" for name, count in counts.items())
                words.append(f"{split_title(split)}, {model_style(model).label}: {listed}")
    if not rows:
        raise NotRun("No out-of-distribution test was run.", sources.command("lr"))
    splits = list(dict.fromkeys(row[0] for row in rows))
    figure = new_figure(5.2, 1.15 + 0.52 * len(splits))
    axes = figure.add_subplot()
    y = 0.0
    ticks = {}
    for split in splits:
        first = y
        for _, model, counts, n in (row for row in rows if row[0] == split):
            colour, left = model_style(model).colour, 0.0
            for stage in stages:
                share = 100 * counts[stage.name] / n
                fill = mix(colour, theme.surface, stage.strength)
                axes.barh(y, share, 0.82, left, color=fill, edgecolor=colour, linewidth=0.7)
                left += share
            axes.text(101.5, y, model_style(model).label, va="center", fontsize=9.5)
            axes.text(_EDGE, y, f"{n}", va="center", ha="right", fontsize=9.5, color=theme.muted)
            y += 1
        ticks[split] = (first + y - 1) / 2
        y += 0.55
    axes.text(_EDGE, -0.95, "n", ha="right", va="center", fontsize=9.5, color=theme.muted)
    axes.set_yticks(list(ticks.values()), [split_title(s) for s in ticks])
    axes.set_ylim(y - 0.9, -1.3)
    axes.set_xlim(0, _EDGE)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("Episodes [%]", x=50 / _EDGE)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    swatches = [
        Patch(
            facecolor=mix(theme.muted, theme.surface, stage.strength),
            edgecolor=theme.muted,
            label=stage.words,
        )
        for stage in stages
    ]
    figure.legend(handles=swatches, ncols=3, loc="outside upper center", columnspacing=1.0)
    alt = "Stacked bars of how episodes end, out of distribution. " + "; ".join(words) + "."
    return Drawing(figure, alt, data)


def place_error_distribution(sources: Sources, theme: Theme) -> Drawing:
    """Cumulative distribution of how far from success episodes ended, per split."""
    metric = final_metric(sources.setting.task)
    splits = [s for s in shown_splits(sources) if s not in corner_splits().values()]
    splits = [s for s in splits if any(sources.results.rate(s, m, "ood").n for m in MAIN_MODELS)]
    if not splits:
        raise NotRun("No out-of-distribution test was run.", sources.command("lr"))
    rows = -(-len(splits) // 2)
    figure = new_figure(5.2, 0.9 + 1.55 * rows)
    panels = np.atleast_2d(figure.subplots(rows, 2, sharex=True, sharey=True)).ravel()
    data, words = {}, []
    for axes, split in zip(panels, splits, strict=False):
        for model in MAIN_MODELS:
            episodes = sources.results.episodes(split, model, "ood")
            if not episodes:
                continue
            errors = 100 * np.sort([e[metric.name] for e in episodes])
            style = model_style(model)
            share = 100 * np.arange(1, len(errors) + 1) / len(errors)
            axes.step(
                np.r_[0.1, errors, 100], np.r_[0, share, 100], where="post", color=style.colour
            )
            axes.plot(np.median(errors), 50, style.marker, color=style.colour)
            data.setdefault(split, {})[model] = {
                "median_cm": float(np.median(errors)),
                "n": len(errors),
            }
            words.append(
                f"{split_title(split)}, {style.label}: median {np.median(errors):.1f} cm, "
                f"n={len(errors)}"
            )
        panel_title(axes, split_title(split), theme)
        axes.set_xscale("log")
        axes.set_xlim(0.3, 60)
        axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
        axes.minorticks_off()
        axes.set_ylim(0, 101.5)
        axes.set_yticks([0, 50, 100])
        soft_grid(axes, "both")
    for axes in panels[len(splits) :]:
        axes.set_visible(False)
    if len(splits) % 2 and rows > 1:  # the panel above the empty one carries the labels
        panels[len(splits) - 2].tick_params(labelbottom=True)
    figure.supxlabel(f"{metric.title} [cm]", fontsize=10.5)
    figure.supylabel("Episodes at most this far [%]", fontsize=10.5)
    _figure_legend(figure, "marks: median")
    alt = f"Cumulative distribution: {metric.title.lower()}. {'; '.join(words)}."
    return Drawing(figure, alt, data)


def _figure_legend(figure, title: str) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=s.colour, marker=s.marker, label=s.label)
        for s in map(model_style, MAIN_MODELS)
    ]
    handles.append(Line2D([], [], linestyle="none", label=f"({title})"))
    figure.legend(handles=handles, ncols=3, loc="outside upper left", columnspacing=1.2)


def data_scaling_chart(sources: Sources, theme: Theme) -> Drawing:
    """Success everywhere against the number of demos at the corners; published points behind."""
    corners = corner_splits()
    results = sources.results.newest(corners.values())
    runs = {
        n: split
        for n, split in corners.items()
        if any(results.rate(split, m, "ood").n for m in MAIN_MODELS)
    }
    if not runs:
        raise NotRun(
            "Data scaling (corner_n4 ... corner_n64) was not run.", sources.command("corner_n32")
        )
    figure = new_figure(5.2, 3.7)
    axes = figure.add_subplot()
    data, words, notes = {}, [], []
    for model in MAIN_MODELS:
        points = {int(p["demos"]): p[model] for p in published()["scaling"]}
        published_line(axes, model, list(points), list(points.values()))
        rates = {n: results.rate(split, model, "ood") for n, split in runs.items()}
        rates = {n: rate for n, rate in rates.items() if rate.n}
        for n, split in corners.items():
            if n not in rates:
                notes.append(f"{model_style(model).label} was not run on {split}.")
        if not rates:
            continue
        rate_line(axes, model, list(rates), list(rates.values()))
        data[model] = {str(n): rate_data(rate) for n, rate in rates.items()}
        listed = ", ".join(f"{n} demos {percent(rate)}" for n, rate in rates.items())
        words.append(f"{model_style(model).label}: {listed}.")
    demos_axis(axes, list(corners), "all near the four corners")
    percent_axis(axes)
    soft_grid(axes)
    policy_legend(axes, list(data), beside=MAIN_MODELS)
    alt = "Line chart of success rate against number of demonstrations. " + " ".join(words)
    return Drawing(figure, alt, data, tuple(notes))


def latency_bars(sources: Sources, theme: Theme) -> Drawing:
    """Time from one image to waypoints, median with the range from fastest to slowest."""
    with sources.benchmark("latency") as result:
        rows = [row for row in result["rows"] if row["precision"] == "fp32"]
        times = [[float(row[f"{k}_ms"]) for k in ("median", "fastest", "slowest")] for row in rows]
        threads, machine = result["threads"], result["hardware"].get("cpu", "")
        names = [(row["profile"], row["model"]) for row in rows]
    profiles = list(dict.fromkeys(profile for profile, _ in names))
    counts = [sum(p == profile for p, _ in names) for profile in profiles]
    figure = new_figure(5.2, 0.5 + 0.55 * len(profiles) + 0.34 * len(names))
    panels = np.atleast_1d(figure.subplots(len(profiles), 1, height_ratios=counts))
    words = []
    for axes, profile in zip(panels, profiles, strict=True):
        own = [(m, t) for (p, m), t in zip(names, times, strict=True) if p == profile]
        for y, (model, (median, fastest, slowest)) in enumerate(own):
            colour = model_style(model).colour
            axes.barh(y, median, 0.7, color=colour)
            axes.hlines(y, fastest, slowest, color=theme.ink, linewidth=1.2)
            axes.text(
                1.02, y, f"{median:.3g} ms", transform=axes.get_yaxis_transform(), va="center"
            )
            words.append(f"{profile}, {model_style(model).label}: {median:.3g} ms")
        axes.set_yticks(range(len(own)), [model_style(m).label for m, _ in own])
        axes.set_ylim(len(own) - 0.4, -0.6)
        axes.set_xlim(left=0)
        soft_grid(axes, "x")
        axes.spines["left"].set_visible(False)
        panel_title(axes, f"profile={profile}", theme)
    panels[-1].set_xlabel(f"One prediction [ms], median and range, {threads} CPU threads")
    alt = f"Time of one prediction on {machine}, {threads} threads, median. {'; '.join(words)}."
    data = {f"{p}/{m}": t[0] for (p, m), t in zip(names, times, strict=True)}
    return Drawing(figure, alt, data)
