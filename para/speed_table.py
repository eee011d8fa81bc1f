"""The table of what benchmarks/ measured: seconds, rates and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from para.evaluation.results import MAIN_MODELS, benchmark
from para.markdown import table_head, table_row


def speed_table(results_dir: Path) -> str:
    """What benchmarks/ measured, one line each; those that were not run say so."""
    lines = table_head("what", "measured", "by")

    def add(name: str, describe: Callable[[dict[str, Any]], Iterable[tuple[str, str]]]) -> None:
        result = benchmark(results_dir, name)
        rows = describe(result) if result else [(name, "not run")]
        lines.extend(table_row(what, value, f"`benchmarks/{name}.py`") for what, value in rows)

    add("make_train", _make_train_rows)
    add("short_training", _short_training_rows)
    add("reproduce", _reproduce_rows)
    add("render", _render_rows)
    add("train_step", _train_rows)
    add("heads", _head_rows)
    add("latency", _latency_rows)
    add("video_latency", _video_latency_rows)
    add("evaluation", _evaluation_rows)
    add("expert", _expert_rows)
    return "\n".join(lines)


def _make_train_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield (
        "`make train` in a fresh clone",
        f"{result['setup_seconds']} s set-up, {result['train_and_evaluate_seconds']} s the rest",
    )


def _short_training_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for row in result["rows"]:
        seconds, (low, high) = max(row["seconds"]), row["ood"]["interval"]
        yield (
            f"PARA on `{result['split']}` after {row['steps']} steps, {seconds:.0f} s",
            f"{100 * row['ood']['mean']:.1f} % [{100 * low:.1f}, {100 * high:.1f}] held out "
            f"(n={len(row['seconds'])}x{row['ood']['n']})",
        )


def _reproduce_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    jobs = ", ".join(f"{value['count']} {kind}" for kind, value in result["jobs"].items())
    command, cores = result["command"].split(" (")[0], result["hardware"]["cores"]
    yield (
        f"`{command}` in a fresh clone, {cores} cores",
        f"{result['minutes']:.0f} minutes ({jobs})",
    )


def _render_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for preset in ("fast", "beauty"):
        rows = [r for r in result["rows"] if r["robot"] == "panda" and r["preset"] == preset]
        values = ", ".join(f"{row['fps']:.0f} at {row['size']} px" for row in rows)
        yield f"frames/s, Panda, `{preset}`", values
    looks = ", ".join(f"{row['ratio']:.2f} at {row['size']} px" for row in result["looks"])
    yield "a frame of varied looks / of fixed ones", looks


def _train_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for row in result["training"]:
        yield (
            f"training samples/s, {row['model']}, {row['threads']} thread(s), {row['precision']}",
            f"{row['samples_per_s']:.0f} (n={row['n']} windows)",
        )
    yield "loader alone, one thread", f"{result['loader_one_thread_samples_per_s']:.0f} samples/s"


def _head_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for row in result["profiles"].values():
        ratios = [row[name]["ratio_to_backbone"] for name in ("para", "para_volume")]
        megabytes = [row[name]["peak_megabytes"] for name in ("para", "para_volume")]
        yield (
            f"training step / backbone's alone, {row['backbone_name']}, {row['image_size']} px",
            f"{ratios[0]:.2f} factorised, {ratios[1]:.2f} volume "
            f"({megabytes[0]:.0f} and {megabytes[1]:.0f} MB peak; n={row['n']})",
        )


def _latency_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for row in result["rows"]:
        if row["precision"] == "fp32" and row["model"] in MAIN_MODELS:
            yield (
                f"one prediction, {row['model']}, {row['backbone']}, {row['precision']}, "
                f"{result['threads']} thread(s)",
                _latency(row),
            )


def _latency(row: dict[str, Any]) -> str:
    milliseconds = row["median_ms"]
    time = f"{milliseconds:.0f} ms" if milliseconds < 1e4 else f"{milliseconds / 1e3:.0f} s"
    return f"{time} (n={row['n']})"


def _video_latency_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for row in result["rows"]:
        yield (
            f"one prediction, {row['model']}, {row['backbone']}, {row['precision']}, "
            f"{result['threads']} thread(s)",
            _latency(row),
        )


def _evaluation_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for row in result["rows"]:
        yield (
            f"{row['n']} evaluation episodes, robot={row['robot']}",
            f"{row['seconds']:.0f} s, of it {row['startup_seconds']:.0f} s start-up",
        )


def _expert_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, table in result["tables"].items():
        row = table["expert"]
        low, high = (100 * end for end in row["wilson95"])
        rate = f"{100 * row['success']:.1f} % [{low:.1f}, {high:.1f}] n={row['n']}"
        yield f"expert, {name}", rate
