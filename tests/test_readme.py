"""README.md and docs/ say what the result files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from para.errors import ResultError
from para.evaluation.results import success_rate
from para.markdown import table_row
from para.report import PAGES, ROOT, TABLES, fill
from para.statistics import Rate
from tests.results_fixture import make_result, result_path, write_result


def write(results_dir: Path, model: str, seed: int, successes: int, version: int = 1) -> None:
    """A made-up result on lr whose held-out test of 10 episodes has so many successes."""
    result = make_result("lr", model, seed, ood=10)
    result["environment"]["version"] = version
    result["config"].setdefault("evaluation", {})
    for episode in result["episodes"][:10]:
        episode["success"] = episode["index"] < successes
        episode["stage"] = "PLACE" if episode["success"] else "MISS"
    write_result(results_dir, result)


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_up_to_date_with_the_results(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert fill(text, ROOT / "results") == text, "run: python -m para.report"


def test_aligned_views_stand_beside_those_as_seen(tmp_path: Path):
    text = "<!-- aligned -->\n<!-- /aligned -->\n"
    assert "not run: `python scripts/eval.py" in fill(text, tmp_path)
    write(tmp_path, "para", seed=0, successes=3)
    write(tmp_path / "aligned", "para", seed=0, successes=9)
    write(tmp_path / "aligned", "regression", seed=0, successes=5)
    rows = fill(text, tmp_path).splitlines()[3:5]
    cells = [[cell.strip() for cell in row.split("|")[3:-1]] for row in rows]
    dev = " n=10 (dev starts)"
    assert cells == [
        ["PARA", f"30.0 % [10.8, 60.3]{dev}", f"90.0 % [59.6, 98.2]{dev}"],
        ["Global regression", "not run", f"50.0 % [23.7, 76.3]{dev}"],
    ]
    result_path(tmp_path / "aligned", make_result("lr", "para")).write_text("{")
    with pytest.raises(ResultError, match=r"aligned/bowl_on_plate.*damaged"):
        fill(text, tmp_path)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_in_a_page(name):
    assert any(f"<!-- {name} -->" in (ROOT / page).read_text(encoding="utf-8") for page in PAGES)


def test_what_was_not_run_is_called_that(tmp_path: Path):
    text = "<!-- splits -->\n<!-- /splits -->\n<!-- theta -->\n<!-- /theta -->\n"
    filled = fill(text, tmp_path)
    assert "| not run | not run |" in filled
    assert "%" not in filled


def test_a_rate_over_seeds_is_shown_with_each_of_them(tmp_path: Path):
    names = ("video_total", "video_pairs")
    text = "\n".join(f"<!-- {name} -->\n<!-- /{name} -->" for name in names)
    ours, theirs = "para_two_stage-svd_tiny", "para_joint-svd_tiny"
    write(tmp_path, ours, seed=0, successes=10)
    write(tmp_path, ours, seed=1, successes=9)
    write(tmp_path, theirs, seed=1, successes=2)
    filled = fill(text, tmp_path)
    over_seeds = Rate.over_seeds([[True] * 10, [True] * 9 + [False]])
    assert f" {over_seeds} |" in filled
    assert str(over_seeds).endswith("n=2x10 (100, 90)")
    assert "20.0 % [5.7, 51.0] n=10 |" in filled
    # of seed 1, the smaller p value of two rows: Holm's method doubles 2 / 2^7
    assert "+70.0 points, McNemar p = 0.016 (7 : 0 of 10 pairs differ) | p = 0.031 |" in filled


def test_what_comes_from_different_simulated_worlds_is_not_compared(tmp_path: Path):
    write(tmp_path, "para", seed=0, successes=9)
    write(tmp_path, "regression", seed=0, successes=5)
    text = "<!-- splits -->\n<!-- /splits -->\n<!-- setting -->\n<!-- /setting -->\n"
    filled = fill(text, tmp_path)
    assert "; physics 1, dev starts." in filled
    assert "p = " in filled
    write(tmp_path, "para", seed=0, successes=9, version=2)
    filled = fill(text, tmp_path)
    assert "; physics 1, dev starts; physics 2, dev starts." in filled
    assert "n=10 (physics 1)" in filled
    assert "physics 2)" not in filled
    assert "p = " not in filled


def test_a_damaged_result_is_never_left_out_silently(tmp_path: Path):
    write(tmp_path, "para", seed=0, successes=3)
    path = result_path(tmp_path, make_result("lr", "para", seed=1))
    path.write_text("{}")
    with pytest.raises(ResultError, match=r"lr/para-laptop_cnn-colour/seed1\.json"):
        fill("", tmp_path)


def test_longer_trainings_stand_beside_the_published_ones(tmp_path: Path):
    text = "<!-- more_steps -->\n<!-- /more_steps -->\n"
    assert "not run" in fill(text, tmp_path)
    result = make_result("lr", "pixel_regression", 1)
    write_result(tmp_path, result)
    tries = [
        {"model": "pixel_regression", "split": "lr", "seed": seed, "steps": 3000}
        | {"ood": {"successes": 31, "n": 60}, "sanity": {"successes": 60, "n": 60}}
        for seed in (1, 2)
    ]
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning" / "more_steps.json").write_text(json.dumps({"tries": tries}))
    rows = fill(text, tmp_path).splitlines()[3:5]
    published = [str(result["training"]["steps"])]
    for test in ("sanity", "ood"):
        rate = success_rate(result, test)
        published.append(f"{rate.successes} of {rate.n}")
    for row, seed, shown in zip(rows, (1, 2), (published, ["not run"] * 3), strict=True):
        told = ["Pixel regression", "Left to right", str(seed), "3000", "60 of 60", "31 of 60"]
        assert row == table_row(*told, *shown)


def test_policies_stand_side_by_side_where_looks_vary(tmp_path: Path):
    text = "<!-- looks -->\n<!-- /looks -->\n"
    for model in ("para", "keypoint", "colour"):
        result = make_result("lr", model)
        place = {"layout": "independent", "appearance": "varied"}
        result["environment"] |= place
        write_result(tmp_path, result | {"layout": "independent"})
    rows = fill(text, tmp_path).splitlines()[3:-1]
    assert [row.split(" | ")[2] for row in rows] == ["PARA", "Keypoint"], "floors learn nothing"
    told = "| `bowl_on_plate` | Left to right (`lr`) | "
    assert all(row.startswith(told) and " n=96 |" in row for row in rows)
