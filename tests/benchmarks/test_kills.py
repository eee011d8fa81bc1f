"""A sample of benchmarks/kills.py, with a small writer of files in the place of the scripts."""

from __future__ import annotations

import json
import random
import sys

import pytest

from benchmarks import kills
from tests.killed import left_behind

WRITER = """
import sys, time
from pathlib import Path
from para.files import atomic_write
for number in range(40):
    path = Path(f"{number}.txt")
    if not path.exists():
        with atomic_write(path) as aside, aside.open("w") as file:
            for line in range(10):
                file.write(f"{number} {line}\\n")
                file.flush()
                time.sleep(0.0005)
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "command", lambda words: [sys.executable, "-c", WRITER])
    after = tmp_path / "undisturbed"
    kills.copy(None, after)
    assert kills.finish("", after) == ""
    return kills.Task("generate", "", None, after, 0.8)


def test_killed_writers_end_in_the_same_files(task, tmp_path):
    rows = [kills.trial(task, random.Random(seed), tmp_path / "trial") for seed in range(3)]
    assert sum(len(row["kills"]) for row in rows) > 2
    total = kills.summary(rows, seed=0)["total"]
    assert total["as_undisturbed"] == 3, rows
    assert total["kills"] == sum(total[moment] for moment in kills.MOMENTS)
    assert total["writing"] > 0
    assert kills.summary(rows, seed=0)["not_as_undisturbed"] == []


def test_the_files_tell_what_a_kill_hit(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    before, after = kills.states(tmp_path), kills.digests(tmp_path) | {"b/c.txt": ""}
    assert kills.moment(tmp_path, before, after) == "start"
    (tmp_path / "tmp").mkdir()
    assert kills.moment(tmp_path, before, after) == "start"
    path = tmp_path / "b" / "c.txt"
    path.parent.mkdir()
    assert kills.moment(tmp_path, before, after) == "work"
    aside = left_behind(path)
    aside.touch()
    assert kills.moment(tmp_path, before, after) == "writing"
    assert kills.moment(tmp_path, kills.states(tmp_path), after) == "start"  # not of this run
    aside.rename(path)
    assert kills.moment(tmp_path, before, kills.digests(tmp_path)) == "end"


def test_what_a_kill_changed_is_noticed(task, tmp_path, monkeypatch):
    def finish(words: str, place, start) -> str:
        (place / "3.txt").write_text("3 0\n")
        (place / "7.txt").unlink(missing_ok=True)
        (place / ".8.0123456789abcdef.txt").touch()
        return "exit status 1: error"

    monkeypatch.setattr(kills, "finish", finish)
    row = kills.trial(task, random.Random(1), tmp_path / "trial")
    assert "3.txt" in row["different"]
    assert "7.txt" in row["missing"]
    assert ".8.0123456789abcdef.txt" in row["left_over"]
    assert kills.summary([row], 0)["not_as_undisturbed"] == [row]


def test_times_do_not_count(tmp_path):
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        folder = tmp_path / name
        folder.mkdir()
        row = {"step": 3, "seconds": seconds, "inner": [{"created": name, "loss": 0.5}]}
        (folder / "x.json").write_text(json.dumps(row))
        (folder / "x.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
        (folder / "x.csv").write_text(f"step,minutes,loss\n3,{seconds},0.5\n")
    assert kills.digests(tmp_path / "a") == kills.digests(tmp_path / "b")
    (tmp_path / "b" / "x.csv").write_text("step,minutes,loss\n3,2.0,0.6\n")
    assert kills.digests(tmp_path / "a") != kills.digests(tmp_path / "b")
