"""A sample of benchmarks/nonsense.py: every schema's fields have bounds."""

from __future__ import annotations

import pytest

from benchmarks import nonsense

EVERY = 131


@pytest.mark.long
def test_nonsense_is_refused_in_one_sentence():
    every_case = list(nonsense.cases())
    chosen = every_case[5::EVERY]
    counts = nonsense.count(chosen)
    assert len(every_case) > 1500
    assert counts["lines"]["traceback"] == counts["lines"]["accepted"] == {}
    assert counts["refused"] + counts["meant"] == len(chosen) > 10


def test_what_is_accepted_is_noticed(monkeypatch):
    case = nonsense.Case(nonsense.GenerateConfig, (), "limit", "3")
    assert nonsense.outcome(case) == ("accepted", "")
    monkeypatch.setattr(nonsense, "start", lambda cfg: 1 / 0)
    assert nonsense.outcome(case) == ("traceback", "ZeroDivisionError: division by zero")
