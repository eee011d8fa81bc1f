"""What holds for every file of the house (docs/architecture.md)."""

from __future__ import annotations

import sys
from importlib.metadata import packages_distributions

import pytest

from para.places import ROOT


@pytest.mark.parametrize(("folder", "most"), [("para", 400), ("envs", 400), ("baselines", 400)])
def test_a_module_is_one_idea_of_at_most_so_many_lines(folder, most):
    files = list((ROOT / folder).rglob("*.py"))
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {str(path): n for path, n in lengths.items() if n > most} == {}


def test_scripts_only_wire():
    for path in (ROOT / "scripts").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 20, path


@pytest.mark.parametrize("folder", ["benchmarks", "scripts", "examples"])
def test_no_script_hides_a_package(folder):
    """Python looks for packages in the folder of the script that it runs first of all."""
    names = {path.stem for path in (ROOT / folder).glob("*.py")}
    assert names
    asked_for = {"coverage"}  # by numba, whether it is installed or not
    assert names & {*packages_distributions(), *sys.stdlib_module_names, *asked_for} == set()
