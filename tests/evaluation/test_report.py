"""The tables of the terminal say what the results hold."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from envs.splits import load_split
from para.cli import load_config
from para.errors import ResultError
from para.evaluation.config import EvalConfig
from para.evaluation.report import comparison_table, print_page, rate_table, theta_table
from para.evaluation.result_set import ResultSet
from para.evaluation.results import compare, rates_by_theta, success_rate
from para.evaluation.runner import Evaluation, _progress
from tests.results_fixture import HERE, make_result, write_results


def _text(renderable):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def _results(split, **numbers):
    return {model: make_result(split, model, **numbers) for model in ("para", "regression")}


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    """An evaluation of para where nothing is trained or committed; folders are the usual ones."""
    monkeypatch.chdir(tmp_path)
    return load_config(EvalConfig, ["model=para", f"reference_dir={tmp_path}"])


def _page(cfg, results):
    """(lines of the page, rows that they take in a terminal of 80 columns)."""
    place = Path("outputs/results/bowl_on_plate-panda-together/laptop")
    paths = {m: place / f"{cfg.split.name}/{m}-resnet10-colour/seed0.json" for m in results}
    films = Path("outputs/videos/bowl_on_plate-panda-together/laptop")
    videos = [films / f"{m}_{cfg.split.name}_{t}_ep000_success.mp4" for m in results for t in "ab"]
    figure = Path(f"outputs/figures/bowl_on_plate-panda-together/laptop/{cfg.split.name}_map.png")
    console = Console(width=80, file=io.StringIO())
    print_page(console, cfg, Evaluation(results, paths, videos), [figure])
    lines = console.file.getvalue().splitlines()
    return lines, sum(max(1, -(-len(line) // 80)) for line in lines)


@pytest.mark.parametrize("split", ["lr", "vp_default_to_all"])
def test_the_page_of_one_policy_has_all_in_twenty_rows(cfg, tmp_path, split):
    write_results(tmp_path, [split], seeds=[0, 1])
    cfg = replace(cfg, split=load_split(split))
    mine = make_result(split, "para", seed=7)
    lines, rows = _page(cfg, {"para": mine})
    assert rows <= 19  # and a progress bar
    text = "\n".join(lines)
    for test, title in (("ood", "held out"), ("sanity", "in distribution")):
        (line,) = (line for line in lines if str(success_rate(mine, test)) in line)
        assert title in line
    committed = ResultSet.load(tmp_path)
    (line,) = (line for line in lines if line.startswith("Committed, held out: "))
    for model in ("para", "regression"):
        rate = committed.rate(split, model, "ood")
        assert f"{model} {100 * rate.value:.0f} % n={rate.n}" in line
    assert "physics" not in line
    assert sum(line.startswith("outputs/") for line in lines) == 3
    assert (
        lines[-1] == f"  python scripts/train.py model=regression split={split} {_reference(cfg)}"
    )
    assert "McNemar" not in text
    paths = [line for line in lines if line.startswith(("outputs/", "  python"))]
    assert all(len(line) <= 80 for line in lines if line not in paths)


def _reference(cfg):
    return f"reference_dir={cfg.reference_dir}"


def test_committed_results_of_another_version_of_the_world_say_so(cfg, tmp_path):
    write_results(tmp_path, ["lr"])
    mine = make_result("lr", "para")
    mine["environment"]["version"] = 2
    lines, _ = _page(cfg, {"para": mine})
    (line,) = (line for line in lines if line.startswith("Committed"))
    assert line.endswith("(physics 1, dev)")
    assert len(line) <= 80


def test_nothing_is_committed_for_other_settings_nor_for_the_campaign_itself(cfg, tmp_path):
    write_results(tmp_path, ["lr"])
    mine = {"para": make_result("lr", "para")}
    for other in ({"robot": "hand"}, {"profile": "smoke"}, {"results_dir": str(tmp_path)}):
        lines, _ = _page(replace(cfg, **other), mine)
        assert not [line for line in lines if line.startswith("Committed")]


def test_a_damaged_reference_is_named_and_stops_nothing(cfg, tmp_path, caplog):
    first, _ = write_results(tmp_path, ["lr"])
    first.write_text("{")
    lines, _ = _page(cfg, {"para": make_result("lr", "para")})
    assert "Committed, held out: regression" in "\n".join(lines)
    assert "lr/para-laptop_cnn-colour/seed0.json" in caplog.text


def test_a_damaged_run_beside_it_does_not_spoil_the_page(cfg, tmp_path):
    damaged = tmp_path / "runs" / HERE / "left" / "act-resnet10-colour" / "seed0" / "policy.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    lines, _ = _page(cfg, {"para": make_result("lr", "para")})
    assert "train.py model=regression" in lines[-1]


def test_what_was_evaluated_together_is_compared_and_the_website_comes_next(cfg):
    lines, _ = _page(cfg, _results("lr", ood=50))
    (line,) = (line for line in lines if line.startswith("para   regression"))
    assert "of 50" in line
    assert lines[-2].startswith("Next, the website")


def test_rates_with_n_interval_and_stages(cfg):
    results = _results("lr", ood=96)
    text = _text(rate_table(results, cfg))
    for result in results.values():
        for test in ("ood", "sanity"):
            assert str(success_rate(result, test)) in text
    assert "Left to right (lr)" in text
    results["regression"]["episodes"] = []
    assert _text(rate_table(results, cfg)).count("not run") == 2


def test_theta_table_only_where_there_are_several():
    assert theta_table(_results("lr"), load_split("lr")) is None
    results = _results("vp_default_to_all", ood=192)
    text = _text(theta_table(results, load_split("vp_default_to_all")))
    assert "25.0°" in text
    assert text.count("(train)") == 1
    for result in results.values():
        for rate in rates_by_theta(result).values():
            assert f"{rate.successes}/{rate.n}" in text


def test_each_pair_of_policies_is_compared():
    results = _results("lr", ood=50)
    comparison = compare(results["para"], results["regression"])
    text = _text(comparison_table(results))
    assert f"{100 * comparison.difference:+.1f}" in text
    assert f"{comparison.only_first} : {comparison.only_second} of 50" in text
    many = results | {f"other_{k}_with_a_rather_long_name": results["para"] for k in range(2)}
    assert len(comparison_table(many).rows) == 6
    assert comparison_table({"para": results["para"]}) is None


def test_results_of_different_versions_of_the_world_are_never_paired():
    results = _results("lr", ood=10)
    results["para"]["environment"]["version"] = 2
    with pytest.raises(ResultError, match="physics 2, regression with physics 1"):
        comparison_table(results)


def test_the_progress_bar_fits_a_terminal_whatever_the_policy_is_called(cfg):
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    outcomes = {"ood": [True] * 192, "sanity": [True] * 60}
    job = SimpleNamespace(
        cfg=replace(cfg, split=load_split("video_n16")),
        conditions=outcomes,
        run=SimpleNamespace(label="regression_two_stage_long-svd_tiny"),
        outcomes=lambda: outcomes,
    )
    with _progress([job], console) as show:
        show(job)
    assert "252/252 everywhere 100 %  in dist. 100 % 0:00:0" in console.file.getvalue()
