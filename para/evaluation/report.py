"""What an evaluation says: tables for the terminal, paired tests, Weights & Biases."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.table import Table

from envs.splits import TESTS, SplitConfig
from para.errors import ConfigError
from para.evaluation.config import EvalConfig
from para.evaluation.results import (
    Result,
    compare,
    rates_by_theta,
    stage_counts,
    success_rate,
)
from para.runs.folders import setting_of


def rate_table(results: Mapping[str, Result], split: SplitConfig) -> Table:
    """Success rate with n and 95 % Wilson interval, and final stages, per policy and test."""
    table = Table(
        title=f"{split.title} ({split.name})",
        caption="ood: held out, sanity: in distribution; with 95 % Wilson intervals",
        title_justify="left",
        caption_justify="left",
    )
    for name in ("policy", "test"):
        table.add_column(name)
    table.add_column("success", justify="right", no_wrap=True)
    stages = next(iter(results.values()))["environment"]["stages"]
    for stage in stages:
        table.add_column(stage, justify="right")
    for label, result in results.items():
        for test in TESTS:
            rate = success_rate(result, test)
            counts = stage_counts(result, test)
            numbers = (str(counts[stage]) if rate.n else "" for stage in stages)
            table.add_row(label, test, str(rate), *numbers)
        table.add_section()
    return table


def theta_table(results: Mapping[str, Result], split: SplitConfig) -> Table | None:
    """Success per polar angle of the viewpoint; None unless the test has several of them."""
    rates = {label: rates_by_theta(result) for label, result in results.items()}
    thetas = sorted({theta for by_theta in rates.values() for theta in by_theta})
    if len(thetas) < 2:
        return None
    table = Table(title="Success by polar angle theta (held out)", title_justify="left")
    table.add_column("policy")
    for theta in thetas:
        trained = split.dataset == "objpos" and theta == 0
        table.add_column(f"{theta:.1f}°" + ("\n(train)" if trained else ""), justify="right")
    for label, by_theta in rates.items():
        cells = [by_theta.get(theta) for theta in thetas]
        table.add_row(
            label, *(f"{100 * r.value:.0f} %\n{r.successes}/{r.n}" if r else "" for r in cells)
        )
    return table


def comparisons(results: Mapping[str, Result], new: Collection[str]) -> list[str]:
    """One line for each pair of policies with a new one: the exact test on common held-out starts.

    Args:
        results: By policy, those of earlier evaluations too.
        new: Policies that were evaluated now.
    """
    return [
        f"{first} vs {second}, same starts: {compare(results[first], results[second])}"
        for first, second in combinations(results, 2)
        if (first in new or second in new) and compare(results[first], results[second]).n
    ]


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
