"""The tables of docs/libero.md: each split, turned cameras by their angle, and the expert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from para.evaluation.results import MAIN_MODELS, benchmark
from para.figures.style import model_style
from para.floor_table import measured_bounds
from para.markdown import table_head, table_row
from para.statistics import Rate
from para.website.content import TEST_WORDS, Numbers, in_words
from para.website.libero import VIEWS, libero_rows

MOVED_M = 0.05
"""An object whose mean place is so far from the usual one [m] has changed places."""


def libero_table(numbers: Numbers) -> str:
    """Success of the main policies, and how PARA's held-out episodes ended."""
    titles = [f"{model_style(model).label}, {test}" for model in MAIN_MODELS for test in TEST_WORDS]
    ends = f"{model_style(MAIN_MODELS[0]).label}, held out, ended"
    lines = table_head("task", "split", "demos", *titles, "best floor", "ceiling", ends)
    rows = [*libero_rows(numbers)]
    for row in rows:
        rates = [row.rate(model, test) for model in MAIN_MODELS for test in TEST_WORDS.values()]
        lines.append(
            table_row(
                *(f"`{row.setting.task}`", f"`{row.split}`", row.demos),
                *map(in_words, rates),
                *measured_bounds(row.numbers, row.split),
                row.ends() or "not run",
            )
        )
    if not rows:
        return (
            "not run: `python scripts/eval.py task=libero_spatial_0 split=libero_id model=expert`"
        )
    return "\n".join(lines)


def libero_cameras_table(numbers: Numbers) -> str:
    """Success of the main policies by where the camera stands, PARA also with aligned views."""
    titles = [model_style(model).label for model in MAIN_MODELS]
    lines = table_head("task", "demos", "camera", *titles, f"{titles[0]}, `align_view=true`")
    rows = [row for row in libero_rows(numbers) if row.turned]
    for row in rows:
        for title in VIEWS:
            rates = [row.seen(model, title) for model in MAIN_MODELS]
            rates.append(row.aligned.seen(MAIN_MODELS[0], title))
            words = map(in_words, rates)
            lines.append(table_row(f"`{row.setting.task}`", row.demos, title, *words))
    if not rows:
        return "not run: `python scripts/eval.py task=libero_spatial_0 split=libero_cameras`"
    return "\n".join(lines)


def libero_expert_table(results_dir: Path) -> str:
    """The scripted expert on official starts, by task, and what a step costs."""
    result = benchmark(results_dir, "libero")
    if result is None:
        return "not run: `python benchmarks/libero_tasks.py`"
    titles = "task", "instruction", "expert", "control steps", "CPU s an episode"
    lines = table_head(*titles, "expert, swapped", "moved in the swapped scene")
    for name, row in result["tasks"].items():
        swapped = result.get("swapped", {}).get(name)
        cells = f"{row['steps']:.0f}", f"{row['cpu_seconds']:.1f}", _expert(swapped)
        moved = _moved(swapped["shift_m"]) if swapped else "not run"
        lines.append(table_row(f"`{name}`", row["instruction"], _expert(row), *cells, moved))
    speed, machine = result["speed"], result["hardware"]
    note = (
        f"A control step {speed['control_step_ms']:.1f} ms of one core, {speed['ratio']:.2f} times "
        f"robosuite's own; a picture of 128 px {speed['picture_128px_ms']:.0f} ms; a reset "
        f"{speed['reset_ms']:.0f} ms; {speed['episodes_per_minute']:.0f} episodes of "
        f"`libero_spatial_0` a minute, {speed['episodes_per_minute_with_pictures']:.0f} with ten "
        f"pictures a second of simulated time; {speed['memory_gb']:.1f} GB. One process, "
        f"{machine['cpu']}, {result['created'][:10]}."
    )
    return "\n".join([*lines, "", note])


def _expert(row: dict[str, Any] | None) -> str:
    return str(Rate(row["successes"], row["n"])) if row else "not run"


def _moved(shift_m: dict[str, float]) -> str:
    """'plate_1 0.17 m, cookies_1 0.17 m': what is elsewhere, not a little aside."""
    far = {name: metres for name, metres in shift_m.items() if metres > MOVED_M}
    return ", ".join(f"{name} {metres:.2f} m" for name, metres in far.items())
