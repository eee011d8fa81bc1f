"""The tables of README.md, made from the files under results/.

    python -m para.report            rewrites the tables in README.md
    python -m para.report --check    exits with 1 if they are not what the files say

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from envs.splits import load_split, split_names
from para.evaluation.results import (
    Result,
    compare,
    load_results,
    rates_by_theta,
    read_result,
    stage_steps,
    success_rate,
    total_minutes,
    total_steps,
)
from para.figures.video_charts import (
    CLIP_PLACES,
    RECIPE_SPLIT,
    RECIPE_TABLES,
    RECIPES,
    SCALING_MODELS,
    SCALING_SPLITS,
)
from para.files import atomic_write
from para.statistics import Rate, format_p

ROOT = Path(__file__).resolve().parents[1]


def _select(results_dir: Path, split: str, model: str, seed: int = 0) -> Result | None:
    path = results_dir / split / model / f"seed{seed}.json"
    return read_result(path) if path.exists() else None


def _rate(result: Result | None, test: str) -> str:
    return str(success_rate(result, test)) if result else "not run"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def splits_table(results_dir: Path) -> str:
    """Success of PARA and ACT on every split, held out and in distribution, and the paired test."""
    lines = [
        _row(
            "split", "PARA, held out", "ACT, held out", "McNemar", "PARA, in dist.", "ACT, in dist."
        ),
        _row(*["---"] * 6),
    ]
    order = {"lr": 0, "nf": 1, "vp_default_to_all": 2, "vp_lr": 3, "vp_io": 4, "distractor": 5}
    names = [name for name in split_names() if not name.startswith("video")]
    names.sort(key=lambda name: (order.get(name, 9), int(re.sub(r"\D", "", name) or 0)))
    for name in names:
        para, act = (_select(results_dir, name, model) for model in ("para", "act"))
        p_value = format_p(compare(para, act).p_value) if para and act else ""
        held_out = [_rate(result, "ood") for result in (para, act)]
        inside = [_rate(result, "sanity") for result in (para, act)]
        lines.append(_row(f"{load_split(name).title} (`{name}`)", *held_out, p_value, *inside))
    return "\n".join(lines)


def theta_table(results_dir: Path) -> str:
    """Success on vp_default_to_all by polar angle."""
    results = {model: _select(results_dir, "vp_default_to_all", model) for model in ("para", "act")}
    rates: dict[str, dict[float, Rate]] = {
        model: rates_by_theta(result) for model, result in results.items() if result
    }
    if not rates:
        return "not run: `python scripts/reproduce.py splits=[vp_default_to_all]`"
    thetas = sorted(next(iter(rates.values())))
    lines = [
        _row("theta", *(f"{theta:.1f}°" for theta in thetas)),
        _row(*["---"] * (len(thetas) + 1)),
    ]
    for model, by_theta in rates.items():
        cells = []
        for theta in thetas:
            low, high = by_theta[theta].interval
            rate = 100 * by_theta[theta].value
            cells.append(f"{rate:.0f} % [{100 * low:.0f}, {100 * high:.0f}]")
        lines.append(_row(f"{model.upper()}, n={by_theta[thetas[0]].n} each", *cells))
    return "\n".join(lines)


def setting_line(results_dir: Path) -> str:
    """Where the numbers of PARA and ACT come from: hardware, dates, budgets."""
    found = _in_splits(results_dir, video=False)
    return _setting([r for r in found if r["model"] in ("para", "act")])


def video_setting_line(results_dir: Path) -> str:
    """Where the numbers on the video backbone, and of the sweep beside it, come from."""
    recipes = [
        _select(results_dir, RECIPE_SPLIT, model)
        for _, models in RECIPE_TABLES.values()
        for model in models
    ]
    return _setting([r for r in (*recipes, *_in_splits(results_dir, video=True)) if r])


def _in_splits(results_dir: Path, video: bool) -> list[Result]:
    """Results on the splits video_n*, or on all others."""
    found = load_results(results_dir).items()
    return [r for path, r in found if path.parts[-3].startswith("video") == video]


def _setting(results: Sequence[Result]) -> str:
    if not results:
        return "not run: `python scripts/reproduce.py`"
    dates = sorted({result["created"][:10] for result in results})
    machines = sorted({f"{r['hardware']['cores']} cores, {r['hardware']['cpu']}" for r in results})
    minutes = [total_minutes(result) for result in results]
    steps = sorted({total_steps(result) for result in results})
    seeds = sorted({result["seed"] for result in results})
    evaluations = [result["config"]["evaluation"] for result in results]
    precisions = sorted({evaluation.get("precision", "fp32") for evaluation in evaluations})
    return (
        f"Seeds {', '.join(map(str, seeds))}; {', '.join(map(str, steps))} steps, "
        f"{min(minutes):.1f}-{max(minutes):.1f} minutes of one core each, backbone from scratch; "
        f"inference in {' or '.join(precisions)}; {'; '.join(machines)}; {dates[0]}"
        + (f" to {dates[-1]}" if dates[1:] else "")
        + "."
    )


def video_table(results_dir: Path) -> str:
    """Success of each recipe on the video backbone: one table per budget that recipes share."""
    tables = []
    for title, models in RECIPE_TABLES.values():
        lines = [_row(title, "steps", "in distribution", "held out"), _row(*["---"] * 4)]
        for model in models:
            result = _select(results_dir, RECIPE_SPLIT, model)
            steps = stage_steps(result) if result else ""
            rates = (_rate(result, test) for test in ("sanity", "ood"))
            lines.append(_row(f"{RECIPES[model].title} (`{model}`)", steps, *rates))
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def video_scaling_table(results_dir: Path) -> str:
    """Success everywhere by number of demonstrations, on the video and on the image backbone."""
    lines = [
        _row("demonstrations", *map(str, SCALING_SPLITS)),
        _row(*["---"] * (len(SCALING_SPLITS) + 1)),
    ]
    for model in SCALING_MODELS:
        found = [_select(results_dir, split, model) for split in SCALING_SPLITS.values()]
        lines.append(_row(f"`{model}`", *(_rate(result, "ood") for result in found)))
    return "\n".join(lines)


def video_features_table(results_dir: Path) -> str:
    """Success of heads on frozen video features that are read or learned in different ways."""
    result = _benchmark(results_dir, "video_features")
    if not result:
        return "not run: `python benchmarks/video_features.py`"
    lines = [
        _row("frozen video features", "steps", "error", "in distribution", "held out"),
        _row(*["---"] * 5),
    ]
    for row in result["rows"]:
        rates = (str(Rate(row[test]["successes"], row[test]["n"])) for test in ("sanity", "ood"))
        steps = f"{row['video_steps']} + {row['heads_steps']}"
        lines.append(_row(row["change"], steps, f"{row['val_error_mm']:.0f} mm", *rates))
    return "\n".join(lines)


def video_quality_table(results_dir: Path) -> str:
    """How near generated frames are to what really happened, and how near the first frame is."""
    result = _benchmark(results_dir, "video_quality")
    if not result:
        return "not run: `python benchmarks/video_quality.py`"
    lines = [
        _row("clips from", "frame", "generated", "first frame repeated"),
        _row(*["---"] * 4),
    ]
    for name, part in result["sets"].items():
        for row in part["frames"]:
            pairs = (
                f"{row[f'{guess}_psnr_db']:.1f} dB, SSIM {row[f'{guess}_ssim']:.3f}"
                for guess in ("generated", "first_frame")
            )
            if row["frame"] in (1, 3, 6):
                where = f"{CLIP_PLACES[name]}, n={row['clips']}"
                lines.append(_row(where, str(row["frame"]), *pairs))
    return "\n".join(lines)


def _benchmark(results_dir: Path, name: str) -> dict[str, Any] | None:
    path = results_dir / "benchmarks" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def speed_table(results_dir: Path) -> str:
    """What benchmarks/ measured, one line each; those that were not run say so."""
    lines = [_row("what", "measured", "by"), _row("---", "---", "---")]

    def add(name: str, describe: Callable[[dict[str, Any]], Iterable[tuple[str, str]]]) -> None:
        result = _benchmark(results_dir, name)
        rows = describe(result) if result else [(name, "not run")]
        lines.extend(_row(what, value, f"`benchmarks/{name}.py`") for what, value in rows)

    add("make_train", _make_train_rows)
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


def _reproduce_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    jobs = ", ".join(f"{value['count']} {kind}" for kind, value in result["jobs"].items())
    cores = result["hardware"]["cores"]
    yield (
        f"`python scripts/reproduce.py` in a fresh clone, {cores} cores",
        f"{result['minutes']:.0f} minutes ({jobs})",
    )


def _render_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for preset in ("fast", "beauty"):
        rows = [r for r in result["rows"] if r["robot"] == "panda" and r["preset"] == preset]
        values = ", ".join(f"{row['fps']:.0f} at {row['size']} px" for row in rows)
        yield f"frames/s, Panda, `{preset}`", values


def _train_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for row in result["training"]:
        yield (
            f"training samples/s, {row['model']}, {row['threads']} thread(s)",
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
        if row["precision"] == "fp32" and row["model"] in ("para", "act"):
            yield (
                f"one prediction, {row['model']}, {row['backbone']}, {result['threads']} thread(s)",
                f"{row['median_ms']:.0f} ms (n={row['n']})",
            )


def _video_latency_rows(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for row in result["rows"]:
        yield (
            f"one prediction, {row['model']}, {row['backbone']}, {row['precision']}, "
            f"{result['threads']} thread(s)",
            f"{row['median_ms']:.0f} ms (n={row['n']})",
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


TABLES: dict[str, Callable[[Path], str]] = {
    "splits": splits_table,
    "theta": theta_table,
    "setting": setting_line,
    "video": video_table,
    "video_setting": video_setting_line,
    "video_features": video_features_table,
    "video_quality": video_quality_table,
    "video_scaling": video_scaling_table,
    "speed": speed_table,
}


def fill(text: str, results_dir: Path) -> str:
    """`text` with the content between each table's marks replaced."""
    for name, table in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = pattern.sub(lambda match, t=table: f"{match[1]}{t(results_dir)}\n{match[2]}", text)
    return text


def main(arguments: list[str]) -> int:
    """Rewrite or check README.md."""
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = fill(before, ROOT / "results")
    if "--check" in arguments:
        return int(before != after)
    with atomic_write(readme) as aside:
        aside.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
