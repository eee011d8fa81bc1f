"""Imported before every test module."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing import util
from pathlib import Path
from typing import Any

import pytest

import envs  # noqa: F401  (chooses the rendering backend before any test imports mujoco)
from benchmarks.warm import spawn_by
from tests.warm_scripts import nursery

_SPAWN = util.spawnv_passfds
_ROOT = Path(__file__).resolve().parents[1]
_OUTPUTS = tuple(str(_ROOT / name / "_")[:-1] for name in ("data", "runs", "outputs"))
_EVENTS = {"open", "os.listdir", "os.scandir", "os.mkdir"}


def _keep_out_of_outputs(event: str, arguments: tuple[object, ...]) -> None:
    """Fail what looks into the output folders of this checkout, where a user may have anything.

    A bare name may be relative to another folder (`dir_fd`), which is not told: it is let through.
    """
    if event in _EVENTS and isinstance(arguments[0], str | os.PathLike):
        path = os.fsdecode(arguments[0])
        if os.sep in path and f"{os.path.abspath(path)}{os.sep}".startswith(_OUTPUTS):
            raise AssertionError(f"a test must not use {path}: {event}")


sys.addaudithook(_keep_out_of_outputs)

# A shell that starts the suite in the background has it ignore Ctrl-C, and so would the processes
# that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test begins first, so that at the end nobody waits for it."""
    items.sort(key=lambda item: item.path.name != "test_end_to_end.py")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Tell how a process of pytest-xdist died, which it does not (-9: SIGKILL)."""
    if error:
        process = node.gateway._io.popen
        with suppress(subprocess.TimeoutExpired):  # it closed its pipes and still runs: None
            process.wait(10)
        status = process.returncode
        sys.stderr.write(f"\n[{node.gateway.id}] exit status {status}\n")


def pytest_sessionstart(session: pytest.Session) -> None:
    """What tests spawn begins with its imports done, which took it six seconds of a core."""
    spawn_by(nursery)


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """Networks that a test makes are the same, whatever ran before."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture
def really_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this test spawns starts as it does for users: their memory is that of processes."""
    monkeypatch.setattr(util, "spawnv_passfds", _SPAWN)


@pytest.fixture
def lerobot_python() -> str:
    """A Python with LeRobot 0.4.4, whose pins fight ours: `PARA_LEROBOT=ENV/bin/python`."""
    python = os.environ.get("PARA_LEROBOT")
    if not python:
        pytest.skip("PARA_LEROBOT names no Python with lerobot 0.4.4 (see the file's docstring)")
    return python
