"""A task, a split and policies of another package are on the page, in their own words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.results_fixture import RATES, make_result, write_result
from tests.website.page_tree import parse

ROOT = Path(__file__).parents[2]
BUILD = """
import sys
from para.registry import load_plugin
from para.runs.identity import Setting
from para.website.build import build_site

load_plugin("block_lab")
root, shown = sys.argv[1], (Setting("touch_block", "hand", "together"), "smoke")
build_site(f"{root}/results", root, [], f"{root}/site", *shown)
"""


@pytest.mark.long
def test_results_of_a_plugin_are_shown(tmp_path, monkeypatch):
    monkeypatch.setitem(RATES, "every_other", (0.5, 0.5))
    environment = {"task": "touch_block", "robot": "hand", "layout": "together"}
    for model in ("drift-patches", "para_blunt-patches"):
        result = make_result("every_other", model, ood=4, sanity=2) | {"profile": "smoke"}
        result["environment"] = environment | {"stages": ["AWAY", "ABOVE"]}
        for episode in result["episodes"]:
            episode["stage"] = "ABOVE" if episode["success"] else "AWAY"
        write_result(tmp_path / "results", result)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "plugins")))
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    page = parse((tmp_path / "site" / "index.html").read_text())
    others = page.find(data_table="others")[0]
    assert "Every other position" in others.text
    assert "above it / never above it" in others.text  # what its stages mean
    for model in ("drift-patches", "para_blunt-patches"):
        assert others.find(data_split="every_other", data_model=model)
    counts = [row.find("td")[5].text for row in page.find("tr", data_run=None)]
    assert all(count.startswith("ABOVE") and "AWAY" in count for count in counts)
