"""What is wrong with the keys of a benchmark is said in a sentence, before it measures."""

from __future__ import annotations

import subprocess
import sys

import pytest

from para.places import ROOT


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("coverage.py", "profle=smoke"), "Unknown key 'profle'"),
        (("coverage.py", "--studies", "0"), "--studies 0: at least 1"),
        (("tuning.py", "models=[parra]", "splits=[lr]"), "Unknown model 'parra'"),
    ],
)
@pytest.mark.long
def test_mistakes_are_one_sentence(tmp_path, words, said):
    command = [sys.executable, str(ROOT / "benchmarks" / words[0]), *words[1:]]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
