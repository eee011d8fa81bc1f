"""A job of a campaign, which is one call of a script, and how a process does it.

What the campaign does can be done by hand, one line at a time.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from para.errors import ParaError
from para.executors.cargo import here
from para.places import ROOT, typed

_COMMANDS = ROOT / "para" / "commands"


class JobError(ParaError):
    """A script ended with another exit status than 0."""


@dataclass(frozen=True)
class Work:
    """What a job makes, and how much of it.

    Attributes:
        of: The policy's label, or the name of the demo set.
        output: A file or folder that is there when the job was done before.
        amount: Optimiser steps, or episodes.
        split: Of an evaluation.
    """

    of: str
    output: Path
    amount: int = 0
    split: str = ""


@dataclass(frozen=True)
class Job:
    """One call of a script.

    Attributes:
        name: Unique, e.g. "train left para seed0"; also names its log file.
        kind: demos | train | eval | website.
        script: Name of a command (a module of para.commands), or path of a program, without .py.
        arguments: Its overrides.
        needs: Names of jobs that must have succeeded before.
        exclusive: Runs alone, with all cores.
        work: What it makes; None where nobody asks.
        reads: Files and folders that it needs, where they are not there already.
        writes: Files and folders that it leaves, but for its log.
    """

    name: str
    kind: str
    script: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    exclusive: bool = False
    work: Work | None = None
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()

    @property
    def command(self) -> str:
        """The call as a user would type it."""
        return " ".join((typed(self.script), *self.arguments))


def run_script(log_dir: Path, job: Job) -> None:
    """What the process of a job does: run its script as if typed, output to its log file.

    Raises:
        JobError: It ended with another exit status than 0.
    """
    log_dir = here(log_dir)
    log_dir.mkdir(parents=True, exist_ok=True)
    with log_file(log_dir, job).open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    program = str(_COMMANDS / f"{job.script}.py")
    sys.argv = [program, *map(_argument_here, job.arguments)]
    status: object = None
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as leaving:
        status = leaving.code
        if isinstance(status, str):
            sys.stderr.write(f"{status}\n")
    except Exception:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if status:
        raise JobError(f"exit status {status if isinstance(status, int) else 1}")


def _argument_here(argument: str) -> str:
    """An argument that names a folder names it as it lies on this machine."""
    key, _, value = argument.partition("=")
    return f"{key}={here(value)}" if key.endswith("_dir") else argument


def log_file(log_dir: Path, job: Job) -> Path:
    """Where the output of a job goes."""
    return log_dir / f"{job.name.replace(' ', '-')}.log"
