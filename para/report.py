"""The tables of README.md and docs/, made from the files under results/.

    python -m para.report            rewrites the tables
    python -m para.report --check    exits with 1 if they are not what the files say

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from envs.splits import TESTS, load_split
from para.aligned_table import aligned_table
from para.errors import ResultError
from para.evaluation.result_set import ResultSet, StoredResult
from para.evaluation.results import (
    MAIN_MODELS,
    benchmark,
    stage_steps,
    total_minutes,
    total_steps,
    training_precision,
    world_words,
)
from para.figures.splits import main_splits, split_title, sweep_splits
from para.figures.style import model_style
from para.figures.video_charts import (
    CLIP_PLACES,
    RECIPE_SPLIT,
    RECIPE_TABLES,
    RECIPES,
    SCALING_MODELS,
    SWEEP_PAIRS,
    VIDEO_PAIRS,
    clip_source,
)
from para.files import atomic_write
from para.floor_table import floors_table, measured_bounds
from para.libero_table import libero_cameras_table, libero_expert_table, libero_table
from para.markdown import table_head, table_row
from para.opponent_table import more_steps_table, opponents_table, three_way_table
from para.places import ROOT
from para.speed_table import speed_table
from para.statistics import Rate, format_p
from para.website.content import TEST_WORDS, Numbers, in_words
from para.website.differences import adjusted
from para.website.first_campaign import then_and_now
from para.website.many_tasks import task_rows, varied_rows

PAGES = ("README.md", "docs/video.md", "docs/protocol.md", "docs/opponents.md", "docs/libero.md")


def splits_table(numbers: Numbers, _: Path) -> str:
    """Success of the main policies on every split, in both tests, and the paired test.

    Its p values are adjusted for the number of splits by Holm's method.
    """
    titles = [model_style(model).label for model in MAIN_MODELS]
    held_out, in_distribution = ([f"{t}, {w}" for t in titles] for w in ("held out", "in dist."))
    named = ("best floor", "ceiling", "p (Holm)")
    lines = table_head("split", "seeds", *held_out, *named, *in_distribution)
    beside = adjusted({name: numbers.comparison(name) for name in main_splits()})
    for name in main_splits():
        rates = {
            test: [in_words(numbers.number(name, model, test)) for model in MAIN_MODELS]
            for test in TESTS
        }
        runs = [run for model in MAIN_MODELS for run in numbers.select(name, model)]
        seeds = str(len({run.seed for run in runs}) or "")
        title = f"{split_title(name)} (`{name}`)"
        p_value = format_p(beside[name].p_value) if name in beside else ""
        middle = (*measured_bounds(numbers, name), p_value)
        lines.append(table_row(title, seeds, *rates["ood"], *middle, *rates["sanity"]))
    return "\n".join(lines)


def tasks_table(numbers: Numbers, _: Path) -> str:
    """Success on every task of a policy of its own, and of one policy for all."""
    titles = [f"{of}, {test}" for of in ("its own PARA", "one for all") for test in TEST_WORDS]
    first = ("task", "looks", "split", "starts", "seeds")
    lines = table_head(*first, *titles, "best floor", "ceiling")
    found: list[StoredResult] = []
    for row in task_rows(numbers):
        own = [in_words(row.alone(test)) for test in TEST_WORDS.values()]
        shared = [in_words(row.of_all(test)) if row.shared else "" for test in TEST_WORDS.values()]
        runs = row.numbers.select(row.split, MAIN_MODELS[0])
        seeds = str(len({run.seed for run in runs}) or "")
        bounds = measured_bounds(row.numbers, row.split)
        first = f"`{row.task}`", row.looks, f"`{row.split}`", row.starts, seeds
        lines.append(table_row(*first, *own, *shared, *bounds))
        found += runs
    return "\n".join([*lines, "", _setting(found)])


def looks_table(numbers: Numbers, _: Path) -> str:
    """The policies that were trained where looks vary, side by side."""
    lines = table_head(
        *("task", "trained on, tested on", "policy", "seeds", "steps", "in dist.", "held out"),
        "PARA minus it",
    )
    rows = list(varied_rows(numbers))
    first = MAIN_MODELS[0]
    beside = adjusted(
        {k: here.comparison(s, first, m) for k, (here, s, m) in enumerate(rows) if m != first}
    )
    for k, (here, split, model) in enumerate(rows):
        runs = here.select(split, model)
        steps = ", ".join(sorted({str(run.data["training"]["steps"]) for run in runs}))
        rates = (in_words(here.number(split, model, test)) for test in TEST_WORDS.values())
        told = f"`{here.setting.task}`", f"{split_title(split)} (`{split}`)"
        tried = model_style(model).label, str(len(runs)), steps
        lines.append(table_row(*told, *tried, *rates, str(beside.get(k, ""))))
    return "\n".join(lines)


def theta_table(numbers: Numbers, _: Path) -> str:
    """Success on vp_default_to_all by polar angle."""
    thetas = numbers.thetas("vp_default_to_all")
    if not thetas:
        return "not run: `python scripts/reproduce.py splits=[vp_default_to_all]`"
    lines = table_head("theta", *(f"{theta:.1f}°" for theta in thetas))
    for model in MAIN_MODELS:
        found = [numbers.number("vp_default_to_all", model, theta=theta) for theta in thetas]
        cells = [
            f"{100 * n.rate.value:.0f} % [{n.low:.0f}, {n.high:.0f}]" if n else "not run"
            for n in found
        ]
        rate = next((n.rate for n in found if n), Rate(0, 0))
        seeds = len(rate.seeds) or 1
        each = f"n={seeds}x{rate.n // seeds} each"
        lines.append(table_row(f"{model_style(model).label}, {each}", *cells))
    return "\n".join(lines)


def setting_line(numbers: Numbers, _: Path) -> str:
    """Where the numbers of the main policies come from: hardware, dates, budgets."""
    found = _in_splits(numbers, video=False)
    return _setting([run for run in found if run.model in MAIN_MODELS])


def video_setting_line(numbers: Numbers, _: Path) -> str:
    """Where the numbers on the video backbone, and of the sweep beside it, come from."""
    models = {model for _, models in RECIPE_TABLES.values() for model in models}
    recipes = [run for model in sorted(models) for run in numbers.select(RECIPE_SPLIT, model)]
    return _setting([*recipes, *_in_splits(numbers, video=True)])


def _in_splits(numbers: Numbers, video: bool) -> list[StoredResult]:
    """Results on the splits of the video sweep, or on all others."""
    sweep = sweep_splits().values()
    return [run for run in numbers.results.results if (run.split in sweep) == video]


def _setting(runs: Sequence[StoredResult]) -> str:
    if not runs:
        return "not run: `python scripts/reproduce.py`"
    results = [run.data for run in runs]
    dates = sorted({result["created"][:10] for result in results})
    machines = sorted({f"{r['hardware']['cores']} cores, {r['hardware']['cpu']}" for r in results})
    minutes = [total_minutes(result) for result in results]
    steps = sorted({total_steps(result) for result in results})
    seeds = sorted({result["seed"] for result in results})
    evaluations = [result["config"]["evaluation"] for result in results]
    worlds = sorted({run.world for run in runs})
    precisions = sorted({evaluation.get("precision", "fp32") for evaluation in evaluations})
    trained = sorted({training_precision(result) for result in results} - {""})
    return (
        f"Seeds {', '.join(map(str, seeds))}; {', '.join(map(str, steps))} steps, "
        f"{min(minutes):.1f}-{max(minutes):.1f} minutes of one core each, backbone from scratch; "
        + (f"training in {' or '.join(trained)}, " if trained else "")
        + f"inference in {' or '.join(precisions)}; "
        f"{'; '.join(machines)}; {dates[0]}"
        + (f" to {dates[-1]}" if dates[1:] else "")
        + f"; {'; '.join(map(world_words, worlds))}."
    )


def recipe_table(numbers: Numbers, _: Path, name: str) -> str:
    """Success of the recipes on the video backbone that share a budget: one of RECIPE_TABLES."""
    title, models = RECIPE_TABLES[name]
    published = all(RECIPES[model].success is not None for model in models)
    beside = ["published, in dist."] if published else []
    lines = table_head(title, "steps", "in distribution", "held out", *beside)
    for model in models:
        runs = numbers.select(RECIPE_SPLIT, model)
        rates = (in_words(numbers.number(RECIPE_SPLIT, model, test)) for test in ("sanity", "ood"))
        steps = stage_steps(runs[0].data) if runs else ""
        beside = [f"{RECIPES[model].success} %"] if published else []
        lines.append(table_row(f"{RECIPES[model].title} (`{model}`)", steps, *rates, *beside))
    return "\n".join(lines)


def video_pairs_table(numbers: Numbers, _: Path) -> str:
    """Paired comparisons of policies on the video backbone, and their p values by Holm's method."""
    of_sweep = ((split, *pair) for pair in SWEEP_PAIRS for split in sweep_splits().values())
    rows, found = [], []
    for split, first, second in (*VIDEO_PAIRS, *of_sweep):
        tests = ("ood", "sanity") if split == RECIPE_SPLIT else ("ood",)
        for test in tests:
            where = load_split(split).test_titles[test]
            rows.append([f"`{split}`", f"`{first}`", f"`{second}`", where])
            found.append(numbers.comparison(split, first, second, test=test))
    beside = adjusted(dict(enumerate(found)))
    lines = table_head(
        "split", "first", "second", "test", "difference on the same starts", "p (Holm)"
    )
    for k, row in enumerate(rows):
        words = ("not run", "")
        if k in beside:
            words = str(beside[k].comparison), format_p(beside[k].p_value)
        lines.append(table_row(*row, *words))
    return "\n".join(lines)


def video_scaling_table(numbers: Numbers, _: Path) -> str:
    """Success everywhere by number of demonstrations, on the video and on the image backbone."""
    lines = table_head("demonstrations", *map(str, sweep_splits()))
    for model in SCALING_MODELS:
        found = (numbers.number(split, model) for split in sweep_splits().values())
        lines.append(table_row(f"`{model}`", *map(in_words, found)))
    return "\n".join(lines)


def video_features_table(_: Numbers, results_dir: Path) -> str:
    """Success of heads on frozen video features that are read or learned in different ways."""
    result = benchmark(results_dir, "video_features")
    if not result:
        return "not run: `python benchmarks/video_features.py`"
    lines = table_head("frozen video features", "steps", "error", "in distribution", "held out")
    for row in result["rows"]:
        rates = (str(Rate(row[test]["successes"], row[test]["n"])) for test in ("sanity", "ood"))
        steps = f"{row['video_steps']} + {row['heads_steps']}"
        lines.append(table_row(row["change"], steps, f"{row['val_error_mm']:.0f} mm", *rates))
    return "\n".join(lines)


def video_quality_table(_: Numbers, results_dir: Path) -> str:
    """How near generated frames are to what really happened, and how near the first frame is."""
    result = benchmark(results_dir, "video_quality")
    if not result:
        return "not run: `python benchmarks/video_quality.py`"
    lines = table_head(
        "clips from", "frame", "first frame repeated", *map(clip_source, result["rows"])
    )
    for place, title in CLIP_PLACES.items():
        models = [row["sets"][place]["frames"] for row in result["rows"]]
        for frames in zip(*models, strict=True):
            first = frames[0]
            if first["frame"] in (1, 3, 6):
                guesses = [(first, "first_frame"), *((row, "generated") for row in frames)]
                cells = (
                    f"{row[f'{guess}_psnr_db']:.1f} dB, SSIM {row[f'{guess}_ssim']:.3f}"
                    for row, guess in guesses
                )
                lines.append(table_row(f"{title}, n={first['clips']}", str(first["frame"]), *cells))
    return "\n".join(lines)


def coverage_table(_: Numbers, results_dir: Path) -> str:
    """How often intervals over seeds and starts hold the truth, in simulated studies."""
    result = benchmark(results_dir, "coverage")
    if not result:
        return "not run: `python benchmarks/interval_coverage.py`"
    titles = ("seeds", "true rate", "sd between seeds", "between starts", "covered", "mean width")
    lines = table_head(*titles)
    for row in result["rows"]:
        cells = [row["seeds"], f"{100 * row['rate']:.0f} %", row["seed_sd"], row["start_sd"]]
        cells += [f"{100 * row['covered']:.1f} %", f"{100 * row['width']:.0f} points"]
        lines.append(table_row(*map(str, cells)))
    rows = result["rows"]
    mean = sum(row["covered"] for row in rows) / len(rows)
    note = f"{rows[0]['studies']} studies a row, {100 * mean:.1f} % covered in all."
    return "\n".join([*lines, "", note])


Table = Callable[[Numbers, Path], str]

TABLES: dict[str, Table] = {
    "splits": splits_table,
    "theta": theta_table,
    "tasks": tasks_table,
    "looks": looks_table,
    "opponents": opponents_table,
    "three_way": three_way_table,
    "more_steps": more_steps_table,
    "aligned": lambda numbers, _: aligned_table(numbers),
    "libero": lambda numbers, _: libero_table(numbers),
    "libero_cameras": lambda numbers, _: libero_cameras_table(numbers),
    "libero_expert": lambda _, results_dir: libero_expert_table(results_dir),
    "setting": setting_line,
    **{f"video_{name}": partial(recipe_table, name=name) for name in RECIPE_TABLES},
    "video_pairs": video_pairs_table,
    "video_setting": video_setting_line,
    "video_features": video_features_table,
    "video_quality": video_quality_table,
    "video_scaling": video_scaling_table,
    "speed": lambda _, results_dir: speed_table(results_dir),
    "coverage": coverage_table,
    "floors": lambda _, results_dir: floors_table(results_dir),
    "then_and_now": lambda numbers, _: then_and_now(numbers),
}


def fill(text: str, results_dir: Path) -> str:
    """`text` with the content between each table's marks replaced.

    Raises:
        ResultError: A result file is damaged: it is never left out silently.
    """
    numbers = Numbers(ResultSet.load(results_dir))
    left_out = numbers.every.left_out
    if left_out:
        raise ResultError("\n".join(f"{item.name}: {item.reason}" for item in left_out))
    for name, table in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = pattern.sub(
            lambda match, t=table: f"{match[1]}{t(numbers, results_dir)}\n{match[2]}", text
        )
    return text


def main(arguments: list[str]) -> int:
    """Rewrite or check the pages."""
    same = True
    for name in PAGES:
        page = ROOT / name
        before = page.read_text(encoding="utf-8")
        after = fill(before, ROOT / "results")
        same = same and before == after
        if "--check" not in arguments:
            with atomic_write(page) as aside:
                aside.write_text(after, encoding="utf-8")
    return int("--check" in arguments and not same)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
