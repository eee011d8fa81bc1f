"""The tables of docs/libero.md: each split that was run, and turned cameras by their angle."""

from __future__ import annotations

from para.evaluation.results import MAIN_MODELS
from para.figures.style import model_style
from para.floor_table import measured_bounds
from para.markdown import table_head, table_row
from para.website.content import TEST_WORDS, Numbers, in_words
from para.website.libero import VIEWS, libero_rows


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
    """Success of the main policies by where the camera stands."""
    titles = [model_style(model).label for model in MAIN_MODELS]
    lines = table_head("task", "demos", "camera", *titles)
    rows = [row for row in libero_rows(numbers) if row.turned]
    for row in rows:
        for title in VIEWS:
            rates = (in_words(row.seen(model, title)) for model in MAIN_MODELS)
            lines.append(table_row(f"`{row.setting.task}`", row.demos, title, *rates))
    if not rows:
        return "not run: `python scripts/eval.py task=libero_spatial_0 split=libero_cameras`"
    return "\n".join(lines)
