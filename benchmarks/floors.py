"""What can be done without recognising anything, and what at best, on every split of every task.

    python benchmarks/floors.py [task=NAME] [split=NAME] [episodes=100] [key=value ...]

Evaluates the floors and the ceiling of baselines/floors.py on the held-out test of a task's splits,
with the keys of scripts/eval.py, and writes <results_dir>/benchmarks/floors.json. A row has each
one's successes and n, the best floor, and `headline`: that is at most 25 %, so that the split can
say something. Floors that replay demos are "not run" where there are none. The rows of tasks and
splits that are not named stay as they are in the file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from baselines.floors import FLOORS  # noqa: E402
from envs.base import load_task  # noqa: E402
from envs.splits import load_split, split_names  # noqa: E402
from envs.table.task import table_tasks  # noqa: E402
from para.cli import load_config, plainly  # noqa: E402
from para.compose import given, parse  # noqa: E402
from para.errors import DataError, ResultError  # noqa: E402
from para.evaluation.config import EvalConfig  # noqa: E402
from para.evaluation.results import success_rate  # noqa: E402
from para.evaluation.runner import evaluate  # noqa: E402
from para.files import atomic_write_json, read_json  # noqa: E402
from para.floor_table import HIGHEST_FLOOR, best_floor  # noqa: E402
from para.system import git_hash, hardware, versions  # noqa: E402


def measure(overrides: list[str], task: str, layout: str, split: str) -> dict[str, Any]:
    """The row of a split: every floor on its held-out starts."""
    places = (f"task={task}", f"layout={layout}", f"split={split}", *load_split(split).goes_with)
    measured: dict[str, dict[str, int] | None] = {}
    for floor in FLOORS:
        asked = (f"model={floor}", "tests=[ood]", "video=0")
        cfg = load_config(EvalConfig, [*overrides, *places, *asked])
        try:
            rate = success_rate(evaluate(cfg).results[floor])
        except DataError as error:
            sys.stderr.write(f"{error}\n")
            measured[floor] = None
            continue
        measured[floor] = {"successes": rate.successes, "n": rate.n}
        sys.stdout.write(f"{task} {layout} {split} {floor}: {rate}\n")
    row = {"task": task, "layout": layout, "robot": cfg.robot, "split": split}
    row |= {"starts": cfg.starts, "appearance": cfg.appearance, "floors": measured}
    name, best = best_floor(row)
    return row | {"best": name, "headline": bool(best and best.value <= HIGHEST_FLOOR)}


def main() -> None:
    """Measure what is named, or everything."""
    overrides = sys.argv[1:]
    said = given(overrides)
    rest = [o for o in overrides if parse(o).key_or_group not in ("task", "split", "layout")]
    results_dir = load_config(EvalConfig, rest).results_dir
    path = Path(results_dir) / "benchmarks" / "floors.json"
    before = read_json(path, ResultError)["rows"] if path.exists() else []
    rows = {_key(row): row for row in before}
    for name in [said["task"]] if "task" in said else table_tasks():
        task = load_task(name)
        for split in [said["split"]] if "split" in said else split_names(task):
            for layout in [said["layout"]] if "layout" in said else task.layouts:
                row = measure(rest, name, layout, split)
                rows[_key(row)] = row
                atomic_write_json(
                    path,
                    {
                        "command": "benchmarks/floors.py",
                        "git": git_hash(),
                        "hardware": hardware(),
                        "versions": versions(),
                        "highest_floor": HIGHEST_FLOOR,
                        "finding": finding([*rows.values()]),
                        "rows": [rows[key] for key in sorted(rows)],
                    },
                )


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    """What a row is of: the next measurement of the same replaces it."""
    return tuple(row[name] for name in ("task", "layout", "robot", "split", "starts", "appearance"))


def finding(rows: list[dict[str, Any]]) -> str:
    """What the rows say, in a sentence."""
    high = [row for row in rows if not row["headline"]]
    by = sorted({row["best"] for row in high if row["best"]})
    if not high:
        return "Every split's best floor is at most 25 %."
    return (
        f"{len(high)} of {len(rows)} splits are solved by more than 25 % without recognising "
        f"anything (by {', '.join(by)}): they show where a policy acts, not that it knows what it "
        "sees. Headlines need splits with a low floor."
    )


if __name__ == "__main__":
    plainly(main)
