"""The tables of README.md, made from the files under results/.

    python -m para.report            rewrites the tables in README.md
    python -m para.report --check    exits with 1 if they are not what the files say

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from envs.splits import load_split, split_names
from para.evaluation.results import (
    Result,
    compare,
    load_results,
    rates_by_theta,
    read_result,
    success_rate,
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
    """Where the numbers come from: hardware, dates, budgets."""
    results = list(load_results(results_dir).values())
    if not results:
        return "not run: `python scripts/reproduce.py`"
    dates = sorted({result["created"][:10] for result in results})
    machines = sorted({f"{r['hardware']['cores']} cores, {r['hardware']['cpu']}" for r in results})
    minutes = [result["training"]["minutes"] for result in results]
    steps = sorted({result["training"]["steps"] for result in results})
    seeds = sorted({result["seed"] for result in results})
    return (
        f"Seeds {', '.join(map(str, seeds))}; {', '.join(map(str, steps))} steps, "
        f"{min(minutes):.1f}-{max(minutes):.1f} minutes of one core each, backbone from scratch; "
        f"{'; '.join(machines)}; {dates[0]}" + (f" to {dates[-1]}" if dates[1:] else "") + "."
    )


TABLES: dict[str, Callable[[Path], str]] = {
    "splits": splits_table,
    "theta": theta_table,
    "setting": setting_line,
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
