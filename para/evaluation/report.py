"""What an evaluation says: tables for the terminal, paired tests, Weights & Biases."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from envs.perturbations import KINDS
from envs.splits import STARTS, TESTS, SplitConfig
from para.errors import ConfigError
from para.evaluation.config import EvalConfig
from para.evaluation.result_set import ResultSet
from para.evaluation.results import (
    MAIN_MODELS,
    Result,
    compare,
    rates_by_level,
    rates_by_theta,
    stage_counts,
    success_rate,
    world,
    world_words,
)
from para.evaluation.runner import Evaluation
from para.evaluation.trained import next_step
from para.runs.folders import setting_of
from para.runs.identity import place
from para.statistics import format_p

_logger = logging.getLogger(__name__)


def print_page(
    console: Console, cfg: EvalConfig, done: Evaluation, figures: Sequence[Path] = ()
) -> None:
    """The page at the end of an evaluation: within 20 lines for one policy, 80 columns wide.

    Args:
        console: Where it goes.
        cfg: What was evaluated.
        done: What came of it.
        figures: What was drawn of it.
    """
    if cfg.sweep:
        console.print(sweep_table(done.results, cfg))
        for path in (*done.paths.values(), *figures):
            console.print(str(path), highlight=False, markup=False, soft_wrap=True)
        return
    console.print(rate_table(done.results, cfg))
    if table := theta_table(done.results, cfg.split):
        console.print(table)
    if table := comparison_table(done.results):
        console.print(table)
    reason, command = next_step(cfg, done.results)
    for line in (
        *committed_lines(cfg, done.results),
        *map(str, (*done.paths.values(), *done.videos[:1], *figures)),  # more videos lie beside it
        f"Next, {reason}:",
        f"  {command}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)


def rate_table(results: Mapping[str, Result], cfg: EvalConfig) -> Table:
    """Success rate with n and 95 % Wilson interval, and final stages, per policy and test."""
    table = _table(f"{cfg.split.title} ({cfg.split.name}), training seed {cfg.seed}")
    table.add_column("policy", overflow="fold")
    table.add_column("test", no_wrap=True)
    table.add_column("success", justify="right", no_wrap=True)
    stages = next(iter(results.values()))["environment"]["stages"]
    for stage in stages:
        table.add_column(stage, justify="right")
    for label, result in results.items():
        for test in TESTS:
            rate = success_rate(result, test)
            counts = stage_counts(result, test)
            numbers = (str(counts[stage]) if rate.n else "" for stage in stages)
            name = label if test == TESTS[0] else ""
            table.add_row(name, cfg.split.test_titles[test], str(rate), *numbers)
    return table


def sweep_table(results: Mapping[str, Result], cfg: EvalConfig) -> Table:
    """Success with n and 95 % Wilson interval at each level of a sweep, per policy."""
    table = _table(f"{cfg.sweep.title} ({cfg.sweep.name}), {cfg.split.name}, seed {cfg.seed}")
    table.add_column("what goes wrong", overflow="fold")
    for label in results:
        table.add_column(label, justify="right", no_wrap=True)
    rates = {label: rates_by_level([result], cfg.tests[0]) for label, result in results.items()}
    for name, level in next(iter(rates.values())):
        title = f"{KINDS[name][2]}: {level:g}" if name else "nothing"
        table.add_row(escape(title), *(str(own[name, level]) for own in rates.values()))
    return table


def theta_table(results: Mapping[str, Result], split: SplitConfig) -> Table | None:
    """Success per polar angle of the viewpoint; None unless the test has several of them."""
    rates = {label: rates_by_theta(result) for label, result in results.items()}
    thetas = sorted({theta for by_theta in rates.values() for theta in by_theta})
    if len(thetas) < 2:
        return None
    table = _table("Held out, by polar angle theta of the camera")
    table.add_column("policy", overflow="fold")
    for theta in thetas:
        trained = split.dataset == "objpos" and theta == 0
        table.add_column(f"{theta:.1f}°" + ("\n(train)" if trained else ""), justify="right")
    for label, by_theta in rates.items():
        cells = [by_theta.get(theta) for theta in thetas]
        table.add_row(
            label, *(f"{100 * r.value:.0f} %\n{r.successes}/{r.n}" if r else "" for r in cells)
        )
    return table


def comparison_table(results: Mapping[str, Result]) -> Table | None:
    """The exact test on common held-out starts for each pair of policies; None without a pair."""
    pairs = [(a, b, compare(results[a], results[b])) for a, b in combinations(results, 2)]
    if not any(comparison.n for _, _, comparison in pairs):
        return None
    table = _table("The same held-out starts: exact McNemar test")
    for name in ("first", "second"):
        table.add_column(name, overflow="fold")
    for name in ("points", "p", "only first : only second"):
        table.add_column(name, justify="right", no_wrap=True)
    for first, second, c in pairs:
        only = f"{c.only_first} : {c.only_second} of {c.n}"
        points = f"{100 * c.difference:+.1f}"
        table.add_row(first, second, points, format_p(c.p_value).removeprefix("p = "), only)
    return table


def committed_lines(cfg: EvalConfig, results: Mapping[str, Result]) -> list[str]:
    """The reference's main policies on the same split in one line; none where there are none.

    They are shown beside and compared with nothing: another machine, perhaps another version of the
    simulated world, trained and tested them.
    """
    if cfg.is_reference:
        return []
    setting = setting_of(cfg)
    folders = [place("", setting, cfg.profile, starts, cfg.split.name) for starts in STARTS]
    reference = ResultSet.load(cfg.reference, *folders)
    for item in reference.left_out:
        _logger.warning("%s/%s: %s It is left out here.", item.folder, item.name, item.reason)
    rates = {model: reference.rate(cfg.split.name, model, "ood") for model in MAIN_MODELS}
    words = [f"{m} {100 * r.value:.0f} % n={r.n}" for m, r in rates.items() if r.n]
    if not words:
        return []
    shown = {r.world for m in rates for r in reference.select(cfg.split.name, m)}
    same = shown == {world(result) for result in results.values()}
    worlds = "; ".join(world_words(of).removesuffix(" starts") for of in sorted(shown))
    note = "" if same else f" ({worlds})"
    return [f"Committed, {cfg.split.test_titles['ood']}: {', '.join(words)}{note}"]


def log_to_wandb(cfg: EvalConfig, results: Mapping[str, Result]) -> None:
    """Log rates and episodes to Weights & Biases, where `wandb=offline|online` asks for it."""
    if cfg.wandb == "off":
        return
    import wandb

    name = f"{setting_of(cfg).name}/{cfg.split.name}"
    Path(cfg.outputs_dir).mkdir(parents=True, exist_ok=True)
    try:
        run = wandb.init(
            project="para", job_type="eval", name=f"eval/{name}/seed{cfg.seed}", mode=cfg.wandb,
            dir=cfg.outputs_dir, config=asdict(cfg), settings=wandb.Settings(silent=True),
        )  # fmt: skip
    except (wandb.errors.Error, OSError) as error:
        raise ConfigError(
            f"wandb={cfg.wandb} could not start: {error}. The result files are complete; log in "
            "with `wandb login`, or use wandb=offline."
        ) from error
    rates = wandb.Table(["policy", "test", "success", "low", "high", "n"])
    rows = wandb.Table(["policy", "test", "index", "stage", "steps", "place_error_m", "condition"])
    summary: dict[str, Any] = {}
    for label, result in results.items():
        for test in TESTS:
            rate = success_rate(result, test)
            if rate.n:
                rates.add_data(label, test, rate.value, *rate.interval, rate.n)
                summary[f"{name}/{label}/{test}"] = rate.value
        for e in result["episodes"]:
            values = (e["test"], e["index"], e["stage"], e["steps"], e["place_error_m"])
            rows.add_data(label, *values, str(e["condition"]))
    run.log({**summary, f"{name}/rates": rates, f"{name}/episodes": rows})
    run.finish()
