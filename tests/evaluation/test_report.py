"""The tables of the terminal say what the results hold."""

import io

from rich.console import Console

from envs.splits import load_split
from para.evaluation.report import comparisons, rate_table, theta_table
from para.evaluation.results import compare, rates_by_theta, success_rate
from tests.results_fixture import make_result


def _text(renderable):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def _results(split, **numbers):
    return {model: make_result(split, model, **numbers) for model in ("para", "regression")}


def test_rates_with_n_interval_and_stages():
    results = _results("lr", ood=96)
    text = _text(rate_table(results, load_split("lr")))
    for result in results.values():
        for test in ("ood", "sanity"):
            assert str(success_rate(result, test)) in text
    assert "Left to right (lr)" in text
    results["regression"]["episodes"] = []
    assert _text(rate_table(results, load_split("lr"))).count("not run") == 2


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
    (line,) = comparisons(results, new=["regression"])
    assert comparisons(results, new=[]) == []
    assert (
        line
        == f"para vs regression, same starts: {compare(results['para'], results['regression'])}"
    )
    assert comparisons({"para": results["para"]}, new=["para"]) == []
