"""The table of views that were shown as the usual one (`align_view=true`), beside those as seen."""

from __future__ import annotations

from para.evaluation.result_set import ResultSet, StoredResult
from para.figures.splits import split_title
from para.figures.style import model_style
from para.markdown import table_head, table_row
from para.website.content import Numbers


def aligned_table(numbers: Numbers) -> str:
    """Held-out success of each policy that was evaluated so, and of the same recipe without."""
    shown = numbers.every.aligned
    one_each = {
        (run.id.setting, run.id.profile, run.split, run.model): run for run in shown.results
    }
    if not one_each:
        return "not run: `python scripts/eval.py split=vp_default_to_all align_view=true`"
    lines = table_head("task", "tested on", "policy", "views as seen", "views aligned")
    for run in one_each.values():
        task, split = run.id.setting.task, run.split
        told = f"`{task}`", f"{split_title(split)} (`{split}`)", model_style(run.model).label
        lines.append(table_row(*told, *(_held_out(each, run) for each in (numbers.every, shown))))
    return "\n".join(lines)


def _held_out(results: ResultSet, like: StoredResult) -> str:
    """Success among `results` of what `like` is of, and on which starts where on dev ones."""
    here = results.of(like.id.setting, like.id.profile)
    runs = here.select(like.split, like.model)
    if not runs:
        return "not run"
    _, on_final = runs[0].world
    on_dev = "" if on_final else " (dev starts)"
    return f"{here.rate(like.split, like.model, 'ood')}{on_dev}"
