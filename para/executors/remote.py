"""What happens where a task is done elsewhere: the same for every cluster.

A station is a process that some cluster started. It sees whether it may work for this driver,
brings what a task reads, has it done by a process of its own (as `executor=local` would here), and
hands back what became of it. Whatever happens to that process, the station lives to tell.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from para.asides import scratch_folder
from para.executors.agreement import Build, this_build
from para.executors.base import Crew, Done, Setup
from para.executors.cargo import Bundle, pack, remove, sees, settle, unpack
from para.executors.local import LocalExecutor
from para.registry import RegistryError, load_plugin

FULL_BYTES = 32 * 2**20
"""A disk with less room than that is called full when a task fails."""
POLL_S = 0.5
"""How often a station looks whether it should stop [s]."""


@dataclass(frozen=True)
class Errand:
    """What all tasks of a crew have in common; plain data that travels.

    Attributes:
        name: Unique.
        setup: Builds the worker.
        whole_scripts: See `Executor.start`.
        folder: Where the driver stands.
        build: What the driver runs.
        plugins: What it added to that.
        marks: What a station sees that sees the driver's files (`cargo.marked`).
        carry: Bring files even where the station sees them.
        must_see: Nothing can be brought: a station that sees no files is of no use.
    """

    name: str
    setup: Setup
    whole_scripts: bool
    folder: Path
    build: Build
    plugins: tuple[str, ...] = ()
    marks: Mapping[Path, str] = field(default_factory=dict)
    carry: bool = False
    must_see: bool = False

    def objection(self, where: str) -> str:
        """Why this machine must not work for the driver; "" where it may."""
        different = self.build.differences(this_build(self.plugins))
        if not different and self.must_see and not self.sees_files():
            folders = ", ".join(str(path.parent) for path in self.marks)
            return (
                f"{where} does not see {folders}: put them on a file system that all nodes share."
            )
        if not different:
            return ""
        listed = "; ".join(different[:6])
        more = f"; and {len(different) - 6} more" if len(different) > 6 else ""
        return (
            f"{where} runs something else than this machine: {listed}{more}. Results would not be "
            "comparable: install the same packages (.ci/constraints.txt) and the same commit there."
        )

    def sees_files(self) -> bool:
        """May tasks work where the driver's files lie?"""
        return not self.carry and sees(dict(self.marks))


@dataclass(frozen=True)
class Answer:
    """What comes back of a task.

    Attributes:
        done: What became of it; the task itself stays at the driver.
        files: What it left, where the driver does not see that already.
        where: Name of the machine.
        unfit: Why this machine should get no more tasks, nor have had this one; else "".
        wants_files: It was not done, since what it reads is not here.
    """

    done: Done
    where: str
    files: Sequence[Bundle] = ()
    unfit: str = ""
    wants_files: bool = False


class Station:
    """Does tasks of an errand, one after the other.

    Args:
        errand: What they have in common.
        where: What this machine is called in messages.
    """

    def __init__(self, errand: Errand, where: str | None = None):
        self.errand, self.where = errand, where or platform.node()
        self._cleanup = ExitStack()
        self._crew: Crew | None = None
        self._mirror: Path | None = None
        self._there: dict[Path, Any] = {}
        self.objection = errand.objection(self.where)
        if self.objection:
            return
        try:
            for name in errand.plugins:
                load_plugin(name)
            if not errand.sees_files():
                self._mirror = self._cleanup.enter_context(scratch_folder())
            setup = partial(settle, self._mirror, errand.folder, errand.setup)
            crew = LocalExecutor(workers=1).start(setup, errand.whole_scripts)
            self._crew = self._cleanup.enter_context(crew)
        except (OSError, RegistryError) as error:
            self.objection = f"{self.where}: {error}"

    @property
    def carries(self) -> bool:
        """Does it need the files that a task reads?"""
        return self._mirror is not None

    def lacks(self, path: Path, version: Any) -> bool:
        """Would a file of the driver's have to be brought?"""
        return self.carries and self._there.get(path) != version

    def bring(self, path: Path, version: Any, bundles: Sequence[Bundle]) -> None:
        """Put a file or folder of the driver's where tasks find it."""
        for bundle in bundles:
            unpack(bundle, self._mirror)
        self._there[path] = version

    def do(self, task: Any, writes: Sequence[Path] = ()) -> Answer:
        """Have a task done; an interrupt ends the station, as soon as its process has saved."""
        if self._crew is None:
            return Answer(Done(None), self.where, unfit=self.objection)
        try:
            (done,) = self._wait(self._crew, task)
            files = tuple(self._pack(writes)) if self.carries else ()
        except BaseException:
            self.close()
            raise
        unfit = self._full() if done.error else ""
        return Answer(Done(None, done.value, done.error), self.where, files, unfit)

    def _wait(self, crew: Crew, task: Any) -> list[Done]:
        crew.submit(task)
        while not (ended := crew.wait(POLL_S)):
            pass
        return ended

    def _pack(self, writes: Sequence[Path]) -> Iterator[Bundle]:
        """What a task left, which is nobody's here any more."""
        assert self._mirror is not None
        for path in writes:
            yield from pack(path, self._mirror)
            remove(path, self._mirror)
            self._there.pop(path, None)

    def _full(self) -> str:
        """Why tasks fail here, if that is for lack of room."""
        places = [self._mirror] if self._mirror else [path.parent for path in self.errand.marks]
        for place in places:
            free = shutil.disk_usage(place).free
            if free < FULL_BYTES:
                return f"{self.where}: {place} has {free / 1e6:.0f} MB free."
        return ""

    def close(self) -> None:
        """End the process, whatever it is doing, and leave nothing behind."""
        self._crew = None
        self._cleanup.close()
