"""README.md says what the result files say."""

from __future__ import annotations

from pathlib import Path

from para.report import ROOT, fill


def test_readme_is_up_to_date_with_the_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert fill(text, ROOT / "results") == text, "run: python -m para.report"


def test_what_was_not_run_is_called_that(tmp_path: Path):
    text = "<!-- splits -->\n<!-- /splits -->\n<!-- theta -->\n<!-- /theta -->\n"
    filled = fill(text, tmp_path)
    assert "| not run | not run |" in filled
    assert "%" not in filled
