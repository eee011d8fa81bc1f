"""Python processes that begin with their imports done: forks of one that has imported everything.

A process that evaluates spends five seconds of a core on importing torch, timm and MuJoCo, and so
does each of its workers. Here all of them are forked instead, before there is a thread or an OpenGL
context: real processes with their own sessions, files and deaths.

A *nursery* is a process that only forks. The first one imports; each process that it starts begins
with a nursery of its own, which starts what multiprocessing would spawn. POSIX only (Linux: a
process adopts what its nursery starts, so that it can wait for it as for any child).
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import util
from pathlib import Path
from types import ModuleType

from para.places import ROOT

IMPORTED = (
    "envs.table.env",
    "para.campaign.run",
    "para.data.generate",
    "para.data.preview",
    "para.evaluation.report",
    "para.evaluation.runner",
    "para.figures.recorder",
    "para.figures.registry",
    "para.figures.success_map",
    "para.training.loop",
    "para.training.stages",
    "para.website.make",
    "para.website.serve",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.pyplot",
    "peft",
    "torch._dynamo",
)
LARGEST = 2**17
"""A call, written out [bytes]."""
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): orphans below a process become its children."""


@dataclass(frozen=True)
class Call:
    """What a process is to do.

    Attributes:
        arguments: As after `python`: a script or "-c" and code, then its arguments.
        environment: Its environment variables.
        folder: Where it starts.
        numbers: Of its open files, in the order in which they are handed over.
        session: It leads a session of its own.
    """

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    numbers: list[int]
    session: bool


class Nursery:
    """Our end of a nursery."""

    def __init__(self, connection: socket.socket):
        self._connection = connection

    @classmethod
    def open(cls, environment: Mapping[str, str], imported: Sequence[str] = IMPORTED) -> Nursery:
        """Start one, which imports first; it ends with this process.

        Args:
            environment: What its libraries are to find when they are loaded, beside ours.
            imported: Names of modules.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = str(theirs.fileno())
        variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.warm", number, *imported],
            env=variables, cwd=ROOT, pass_fds=[theirs.fileno()],
        )  # fmt: skip
        theirs.close()
        return cls(ours)

    def start(self, call: Call, files: Sequence[int]) -> int:
        """Start a process with these open files; its number. It is a child of this process."""
        with _adopting_orphans():
            socket.send_fds(self._connection, [json.dumps(asdict(call)).encode()], files)
            answer = self._connection.recv(32)
        if not answer:
            raise ChildProcessError("The process that forks is gone; see what it said.")
        return int(answer)


class Process:
    """A started process, as far as subprocess.Popen's interface is needed here."""

    def __init__(self, pid: int):
        self.pid, self.returncode = pid, None
        self._handle = os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> int:
        """Exit status; negative: the signal that ended it.

        Raises:
            subprocess.TimeoutExpired: It still runs after `timeout` seconds.
        """
        if self.returncode is None:
            if not select.select([self._handle], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._handle)
        return self.returncode


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """This process becomes the parent of what children of its children leave behind meanwhile."""
    system = ctypes.CDLL(None, use_errno=True)
    if system.prctl(SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    try:
        yield
    finally:
        system.prctl(SUBREAPER, 0, 0, 0, 0)


def main() -> None:
    """Import everything, then fork for every call; in a fork: do what was called for."""
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.freeze()  # else the first collection in a fork copies every page
    call = _fork_for(socket.socket(fileno=int(sys.argv[1])))
    while True:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork():
            break
        ours.close()
        call = _fork_for(theirs)
    theirs.close()
    spawn_by(lambda: Nursery(ours))
    _leave(_run(call.arguments))


def _fork_for(connection: socket.socket) -> Call:
    """Fork for every call that comes in; returns in the forks, each with its call."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        said, files, *_ = socket.recv_fds(connection, LARGEST, 64)
        if not said:
            os._exit(0)
        call = Call(**json.loads(said))
        reading, writing = os.pipe()
        if not (between := os.fork()):
            if pid := os.fork():
                os.write(writing, str(pid).encode())
                os._exit(0)  # an orphan, which whoever asked adopts
            connection.close()
            os.close(reading)
            os.close(writing)
            _begin(call, files)
            return call
        os.waitpid(between, 0)
        pid = os.read(reading, 32)
        for number in (*files, reading, writing):
            os.close(number)
        connection.send(pid)


def _begin(call: Call, files: Sequence[int]) -> None:
    """Give a fresh fork its files, environment, folder and session."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    above = max(*call.numbers, *files) + 1
    moved = [fcntl.fcntl(number, fcntl.F_DUPFD, above) for number in files]
    for number in files:
        os.close(number)
    for number, wanted in zip(moved, call.numbers, strict=True):
        os.dup2(number, wanted)
        os.close(number)
    os.environ.clear()
    os.environ.update(call.environment)
    tempfile.tempdir = None  # it was looked up in the environment before
    os.chdir(call.folder)
    asked = call.environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [folder for folder in asked if folder and folder not in sys.path]
    if call.session:
        os.setsid()


def spawn_by(nursery: Callable[[], Nursery]) -> None:
    """Let multiprocessing's "spawn" fork from a nursery, which is asked for when it is needed."""
    spawn = util.spawnv_passfds

    def start(path: bytes, arguments: list[str], files: Sequence[int]) -> int:
        if "--multiprocessing-fork" not in arguments:  # its resource tracker, which imports nothing
            return spawn(path, arguments, files)
        inherited = [*range(3), *sorted(map(int, files))]
        words = arguments[arguments.index("-c") :]
        call = Call(words, dict(os.environ), str(Path.cwd()), inherited, session=False)
        return nursery().start(call, inherited)

    util.spawnv_passfds = start


def _run(arguments: Sequence[str]) -> int:
    """What `python` does with these arguments; its exit status."""
    try:
        if arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(arguments[1], "<string>", "exec"), vars(sys.modules["__main__"]))
        else:
            sys.argv = list(arguments)
            sys.path[0] = str(Path(arguments[0]).parent)
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _leave(status: int) -> None:
    """End the interpreter but for what it gives back: the memory of all those imports."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
