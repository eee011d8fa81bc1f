"""Scripts in processes of their own, as if typed, that begin with their imports done.

Each would spend six seconds of a core on them (benchmarks/warm.py). That they also start as users
start them is tested in test_end_to_end.py, by subprocess.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from benchmarks.warm import Call, Nursery, Process
from para.places import ROOT


@cache
def nursery() -> Nursery:
    """Of this test process."""
    return Nursery.open({})


class Script(Process):
    """A script that was started."""

    def __init__(self, words: Sequence[str], cwd: Path, environment: Mapping[str, str]):
        self._written = [tempfile.TemporaryFile() for _ in ("stdout", "stderr")]  # noqa: SIM115
        variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
        call = Call([str(ROOT / words[0]), *words[1:]], variables, str(cwd), [0, 1, 2], True)
        with open(os.devnull) as nothing:
            files = [file.fileno() for file in (nothing, *self._written)]
            super().__init__(nursery().start(call, files))

    def poll(self) -> int | None:
        """Exit status, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def kill(self) -> int:
        """SIGKILL to it alone; how it ended."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def printed(self) -> str:
        """What it has written to stdout so far."""
        return _content(self._written[0])

    def said(self) -> str:
        """What it has written so far, to stdout and then to stderr."""
        return "".join(map(_content, self._written))


def _content(file: IO[bytes]) -> str:
    """Of a file that another process writes, wherever that is."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


def start(*words: str, cwd: Path, environment: Mapping[str, str] | None = None) -> Script:
    """Begin a script: its path in this checkout, and its arguments."""
    return Script(words, cwd, environment or {})


def run(*words: str, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a script, which must end well; what it printed."""
    script = start(*words, cwd=cwd, environment=environment)
    try:
        status = script.wait(280)
    except subprocess.TimeoutExpired:
        script.kill()
        raise
    assert status == 0, script.said()[-3000:]
    return script.printed()
