"""Paired differences of a table: against PARA, on the same starts, p values together."""

from __future__ import annotations

import pytest

from para.evaluation.result_set import ResultSet
from para.statistics import Comparison
from para.website.content import Numbers
from para.website.differences import Difference, adjusted, differences
from tests.results_fixture import write_results


def test_p_values_of_a_table_are_adjusted_together_and_gaps_are_left_out():
    found = adjusted(
        {
            "a": Comparison(9, 1, 100, 0.02),
            "gap": None,
            "b": Comparison(50, 0, 100, 0.001, (0.4, 0.6)),
        }
    )
    assert list(found) == ["a", "b"]
    assert [one.p_value for one in found.values()] == pytest.approx([0.02, 0.002])
    assert str(found["a"]) == "+8.0 (9 : 1), p = 0.020"
    assert str(found["b"]) == "+50.0 [40.0, 60.0], p = 0.002"


def test_every_policy_of_a_split_is_compared_with_para(tmp_path):
    write_results(tmp_path, seeds=(0, 1))
    numbers = Numbers(ResultSet.load(tmp_path))
    cells = differences(numbers, ["lr", "nf"])
    assert set(cells) == {(split, "regression", None) for split in ("lr", "nf")}
    for (split, other, _), found in cells.items():
        assert found.comparison == numbers.comparison(split, "para", other)
        assert isinstance(found, Difference)
        assert found.p_value >= found.comparison.p_value
    assert not differences(numbers, ["lr"], ["act"])
