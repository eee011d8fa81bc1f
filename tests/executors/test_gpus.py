"""GPUs that are made up: which process sees which, and how many share one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from para.executors import LocalExecutor, gpus
from para.executors.gpus import CONTEXT_BYTES, VARIABLE, Gpu, Seats, memory_taken, visible_gpus

GIB = 2**30


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """nvidia-smi says that there are two of 8 GiB."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '0, GPU-aa, 8192'\necho '1, GPU-bb, 8192'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.delenv(VARIABLE, raising=False)


def test_which_are_there(two_gpus, monkeypatch):
    assert visible_gpus() == [Gpu("0", 8 * GIB), Gpu("1", 8 * GIB)]
    for said, names in (("1", ["1"]), ("GPU-bb,0", ["GPU-bb", "0"]), ("", []), ("7", [])):
        monkeypatch.setenv(VARIABLE, said)
        assert [gpu.name for gpu in visible_gpus()] == names
    monkeypatch.setenv("PATH", "")
    assert visible_gpus() == []


def test_trainings_sit_alone_and_evaluations_as_their_memory_allows():
    seats = Seats([Gpu("0", 8 * GIB), Gpu("1", 8 * GIB)])
    assert [seats.take(True) for _ in range(3)] == ["0", "1", None]
    seats.leave("0", True)
    assert [seats.take(False) for _ in range(2)] == ["0", None]  # nobody knows what it takes
    seats.measured(2 * GIB)
    assert [seats.take(False) for _ in range(3)] == ["0", "0", None]  # 0.9 * 8 / 2 = 3.6
    assert seats.take(True) is None
    seats.leave("1", True)
    assert [seats.take(False) for _ in range(2)] == ["1", "1"]
    for _ in range(3):
        seats.leave("0", False)
    assert seats.take(True) == "0"
    assert [Seats([]).take(alone) for alone in (True, False)] == ["", ""]


def test_small_trainings_share_a_gpu_and_evaluations_sit_beside_them():
    seats = Seats([Gpu("0", 8 * GIB), Gpu("1", 8 * GIB)], trainings=2)
    assert [seats.take(True) for _ in range(5)] == ["0", "1", "0", "1", None]
    assert [seats.take(False) for _ in range(3)] == ["0", "1", None]  # the first ones
    seats.measured(4 * GIB)
    assert seats.take(False) is None  # 0.9 * 8 / 4 = 1.8
    seats.leave("1", True)
    assert [seats.take(True) for _ in range(2)] == ["1", None]
    seats.leave("0", False)
    assert [seats.take(False) for _ in range(2)] == ["0", None]


def _setup():
    return _work


def _work(task):
    """Say which GPU is seen, while others work, too; and take 3 GiB of it."""
    folder, number, together = task
    (Path(folder) / f"{number}").touch()
    end = time.monotonic() + 30
    while together and len(list(Path(folder).iterdir())) < together:
        assert time.monotonic() < end
        time.sleep(0.02)
    used = 3 * GIB - CONTEXT_BYTES
    cuda = SimpleNamespace(is_initialized=lambda: True, max_memory_reserved=lambda: used)
    sys.modules["torch"] = SimpleNamespace(cuda=cuda)
    return os.environ.get(VARIABLE)


def _run(crew, tasks, alone):
    for task in tasks:
        crew.submit(task, alone)
    values = []
    while len(values) < len(tasks):
        values += [done.value for done in crew.wait(timeout=60)]
    return values


def test_processes_see_one_gpu_each(two_gpus, tmp_path):
    """Two trainings side by side on two GPUs; four evaluations once the first have told."""
    rooms = [tmp_path / name for name in ("train", "first", "then")]
    for room in rooms:
        room.mkdir()
    train, first, then = map(str, rooms)
    with LocalExecutor(workers=4).start(_setup, whole_scripts=True) as crew:
        assert sorted(_run(crew, [(train, i, 2) for i in range(2)], alone=True)) == ["0", "1"]
        assert sorted(_run(crew, [(first, i, 2) for i in range(2)], alone=False)) == ["0", "1"]
        seen = _run(crew, [(then, i, 4) for i in range(4)], alone=False)
    assert sorted(seen) == ["0", "0", "1", "1"]
    assert VARIABLE not in os.environ


def _script():
    return _evaluate


def _evaluate(task):
    """A script that has its work done by a process of its own, as an evaluation has."""
    ((_, seen),) = LocalExecutor(workers=1).run(_setup, [task])
    return seen


def test_what_the_processes_of_a_script_take_counts_as_its_own(two_gpus, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0")
    rooms = [tmp_path / name for name in ("first", "then")]
    for room in rooms:
        room.mkdir()
    first, then = map(str, rooms)
    with LocalExecutor(workers=4).start(_script, whole_scripts=True) as crew:
        assert _run(crew, [(first, 0, 1)], alone=False) == ["0"]
        assert _run(crew, [(then, i, 2) for i in range(2)], alone=False) == ["0", "0"]


def test_without_gpus_nothing_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(gpus, "_by_crews", 0)
    assert memory_taken() == 0 or "torch" in sys.modules
    with LocalExecutor(workers=1).start(_setup) as crew:
        assert _run(crew, [(str(tmp_path), 0, 0)], alone=True) == [None]
