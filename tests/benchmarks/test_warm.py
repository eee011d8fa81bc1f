"""Forks of benchmarks/warm.py are processes like those of `python`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import psutil
import pytest

from benchmarks.warm import Call, Nursery, Process

SCRIPT = """
import json, os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process

def work(word):
    return word, os.getppid(), parent_process().pid, "json" in sys.modules, os.environ["WORD"]

if __name__ == "__main__":
    os.environ["WORD"] = "two"  # of what is started from now on
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        told = [list(answer) for answer in pool.map(work, sys.argv[1:])]
    print(json.dumps([os.getcwd(), os.getpid(), os.getsid(0), told]), flush=True)
    print("warned", file=sys.stderr)
    sys.exit(3)
"""
WAITS = """
import multiprocessing, time
if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,)).start()
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def start():
    """start(script, folder, *arguments): a process, and the file with what it says."""
    nursery = Nursery.open({}, imported=["json"])

    def begin(script, folder, *arguments):
        (folder / "script.py").write_text(script)
        said = folder / "said"
        with open(os.devnull) as nothing, said.open("w") as output:
            words = [str(folder / "script.py"), *arguments]
            environment = {**os.environ, "WORD": "one"}
            call = Call(words, environment, str(folder), [0, 1, 2], session=True)
            files = [nothing.fileno(), output.fileno(), output.fileno()]
            return Process(nursery.start(call, files)), said

    return begin


def test_a_script_and_its_workers_run_as_always(start, tmp_path):
    process, said = start(SCRIPT, tmp_path, "a", "b")
    assert process.wait() == 3
    line, warning = said.read_text().splitlines()
    assert warning == "warned"
    pid = process.pid
    workers = [[word, pid, pid, True, "two"] for word in "ab"]
    assert json.loads(line) == [str(tmp_path), pid, pid, workers]


def test_an_error_ends_in_its_traceback(start, tmp_path):
    process, said = start("1 / 0", tmp_path)
    assert process.wait() == 1
    assert said.read_text().endswith("ZeroDivisionError: division by zero\n")


def test_a_kill_reaches_a_script_and_all_its_workers(start, tmp_path):
    process, said = start(WAITS, tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    while not said.read_text().endswith("\n"):
        time.sleep(0.01)
    worker = int(said.read_text())
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    while psutil.pid_exists(worker):  # as an orphan it is not this process's to wait for
        time.sleep(0.01)
