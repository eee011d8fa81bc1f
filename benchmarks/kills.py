"""Random kills: the same files as without.

    python benchmarks/kills.py FOLDER [kills=200] [minutes=15] [seed=0] [results_dir=results]

Each trial does one thing of the smoke profile (generate, train, eval, website, reproduce), kills it
with SIGKILL, the process alone or with all its workers, and runs it to the end: several times, two
thirds of them at a random moment, the others as soon as a file is being written after one. Then all
files must be those of an undisturbed run: the same paths, so nothing is left over, and the same
bytes apart from times. FOLDER keeps every trial: the same command goes on with the next until there
are `kills` of this commit, or `minutes` are over. Writes <results_dir>/benchmarks/kills.json.

The undisturbed runs are started as one types them. Those that are killed begin with their imports
done (benchmarks/warm.py), so that kills hit what matters and a trial costs seconds, not a minute;
without a kill they end in the same files, too, which is checked before the first.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.warm import Call, Nursery, Process
from para.cli import load_config, plainly
from para.common import CommonConfig
from para.files import atomic_write_json
from para.places import ROOT
from para.system import git_hash, provenance
from para.video import read_video

log = logging.getLogger(__name__)

STEPS = {
    "generate": "generate_demos dataset=objpos limit=6",
    "train": "train limit=6 training.steps=40 training.checkpoint_every=4 workers=1",
    "eval": "eval model=para episodes=2 batch=1 video=1 env.max_steps=10",
    "website": "make_website only=[two_stage_diagram,lr_success_map]",
}
"""Script and arguments; each begins where the one before it ended."""
WHOLE = "reproduce splits=[lr] models=[para] episodes=1 website=false"
"""Begins with nothing."""
ORDER = ("generate", "train", "eval", "website", "train", "eval", "generate", "reproduce")
OPTIONS = {"kills", "minutes", "seed", "results_dir"}
MOST_KILLS = 6
"""Of one trial."""
MOMENTS = ("start", "work", "writing", "end")
"""What a kill hit, told by the files then: none was new or changed yet, some were, one was half
written, all were as they will be."""
ASIDE = re.compile(r"(^|/)\.[^/]*\.[0-9a-f]{16}(\.[^/]*)?(/|$)")
"""Paths of what is being written (para/asides.py)."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Of torch's: it is read when torch is loaded."""
TIMES = {"created", "seconds", "minutes", "samples_per_s", "checksum", "git"}
"""Keys of what differs between two runs of the same thing; a checksum is made of all the rest."""


@dataclass(frozen=True)
class Task:
    """One script call.

    Attributes:
        name: generate | train | ...
        words: Script and arguments.
        before: Folder with the files that it begins with; None: nothing.
        after: Folder with the files of an undisturbed run.
        seconds: What that takes a process that begins with its imports done.
    """

    name: str
    words: str
    before: Path | None
    after: Path
    seconds: float


def command(words: str) -> list[str]:
    """The call of a script."""
    script, *arguments = words.split()
    return [sys.executable, str(ROOT / "scripts" / f"{script}.py"), "profile=smoke", *arguments]


class Started(Protocol):
    """What is needed of a process."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Exit status; raises subprocess.TimeoutExpired."""


Start = Callable[[str, Path], Started]
"""Begins a script (words) in a folder; its temporary files go to folder/tmp."""


def variables(place: Path) -> dict[str, str]:
    """Environment of a script that runs in a folder, which gets its folder for temporary files."""
    (place / "tmp").mkdir(parents=True, exist_ok=True)
    return os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")}


def cold(words: str, place: Path) -> Started:
    """As one types it."""
    with open(place.with_suffix(".log"), "ab") as output:
        return subprocess.Popen(
            command(words), cwd=place, env=variables(place), stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip


def warm(nursery: Nursery) -> Start:
    """With its imports done."""

    def start(words: str, place: Path) -> Started:
        with open(os.devnull) as nothing, open(place.with_suffix(".log"), "ab") as output:
            call = Call(command(words)[1:], variables(place), str(place), [0, 1, 2], session=True)
            files = [nothing.fileno(), output.fileno(), output.fileno()]
            return Process(nursery.start(call, files))

    return start


def finish(words: str, place: Path, start: Start = cold) -> str:
    """Run a script to its end; what it said last if it failed."""
    status = start(words, place).wait()
    if status == 0:
        return ""
    said = place.with_suffix(".log").read_text(errors="replace").strip().splitlines()
    return f"exit status {status}: {said[-1] if said else ''}"


def undisturbed(folder: Path, start: Start) -> list[Task]:
    """All that is done without a kill: once as one types it, once by `start`, to the same end."""
    tasks, before = [], None
    for name, words in (*STEPS.items(), ("reproduce", WHOLE)):
        before = None if name == "reproduce" else before
        after, again, timed = folder / name, folder / "again", folder / f"{name}.json"
        if not timed.exists():
            log.info("undisturbed: %s", words)
            copy(before, after)
            copy(before, again)
            failure = finish(words, after)
            began = time.monotonic()
            failure = failure or finish(words, again, start)
            seconds = time.monotonic() - began
            if failure or digests(again) != digests(after):
                sys.exit(f"{words} without a kill: {failure or 'two runs, two ends'}")
            timed.write_text(json.dumps(seconds))
        tasks.append(Task(name, words, before, after, json.loads(timed.read_text())))
        before = after
    return tasks


def copy(source: Path | None, target: Path) -> None:
    """Make `target` a copy of `source`, or an empty folder."""
    shutil.rmtree(target, ignore_errors=True)
    target.with_suffix(".log").unlink(missing_ok=True)
    if source is None:
        target.mkdir(parents=True)
    else:
        shutil.copytree(source, target, symlinks=True)


def trial(task: Task, chance: random.Random, place: Path, start: Start = cold) -> dict[str, Any]:
    """Kill a task up to MOST_KILLS times, finish it, and compare."""
    copy(task.before, place)
    theirs = digests(task.after)
    kills: list[dict[str, Any]] = []
    wanted, seconds = chance.randint(1, MOST_KILLS), task.seconds
    while len(kills) < wanted:
        after, whom = chance.uniform(0.0, 1.0) * seconds, chance.choice(["all", "first"])
        aimed, found = chance.random() < 1 / 3, states(place)
        process, began = start(task.words, place), time.monotonic()
        ended = has_ended(process, after) or (aimed and not writes(process, place, found))
        if not ended:
            (os.killpg if whom == "all" else os.kill)(process.pid, signal.SIGKILL)
            ended = process.wait() != -signal.SIGKILL
        if not ended:
            row = {"after_s": round(time.monotonic() - began, 2), "whom": whom, "aimed": aimed}
            kills.append(row | {"moment": moment(place, found, theirs)})
        elif kills or process.wait():
            break
        else:
            seconds = time.monotonic() - began  # it was faster: once more
            copy(task.before, place)
    failure = finish(task.words, place, start)
    ours = digests(place)
    return {
        "task": task.name,
        "kills": kills,
        "failure": failure,
        "left_over": sorted(ours.keys() - theirs.keys()),
        "missing": sorted(theirs.keys() - ours.keys()),
        "different": sorted(k for k in ours.keys() & theirs.keys() if ours[k] != theirs[k]),
    }


def states(place: Path) -> dict[str, tuple[int, int]]:
    """Time of change [ns] and size of every file and folder, by path; not of temporary ones."""
    found = {}
    # not rglob, to which a folder that is gone in the meantime is an error
    walked = ((Path(folder), names + files) for folder, names, files in os.walk(place))
    for path in (folder / name for folder, names in walked for name in names):
        name = path.relative_to(place).as_posix()
        with suppress(FileNotFoundError):
            if name.split("/", 1)[0] != "tmp":
                state = path.stat()
                found[name] = (state.st_mtime_ns if path.is_file() else 0, state.st_size)
    return found


def has_ended(process: Started, seconds: float) -> bool:
    """Has it, after so many seconds at the latest?"""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def writes(process: Started, place: Path, before: Mapping[str, Any]) -> bool:
    """Wait until a file is being written that was not before: True; the process ended: False."""
    while not any(ASIDE.search(name) for name in states(place).keys() - before.keys()):
        if has_ended(process, 0.002):
            return False
    return True


def moment(place: Path, before: Mapping[str, Any], after: Mapping[str, str]) -> str:
    """Which of MOMENTS it is, from the files before and those that there will be."""
    now = states(place)
    if any(ASIDE.search(name) for name in now.keys() - before.keys()):
        return "writing"
    if now == before:
        return "start"
    return "end" if after.items() <= digests(place).items() else "work"


def digests(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, by path; times do not count.

    A file that was only half written is taken as it is, and one that is renamed meanwhile left out.
    """
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        suffix = path.name if path.name in UNTIMED else path.suffix
        read: Callable[[Path], bytes] = UNTIMED.get(suffix, Path.read_bytes)
        with suppress(FileNotFoundError):
            if path.is_file():
                whole = Path.read_bytes if ASIDE.search(name) else read
                found[name] = hashlib.sha256(whole(path)).hexdigest()
    return found


def untimed(value: Any) -> Any:
    """A JSON value without what TIMES names."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in TIMES}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def _json(path: Path) -> bytes:
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    return "\n".join(json.dumps(untimed(json.loads(line))) for line in lines).encode()


def _csv(path: Path) -> bytes:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if name not in TIMES] if rows else []
    return "\n".join(",".join(row[i] for i in kept if i < len(row)) for row in rows).encode()


def _pictures(path: Path) -> bytes:
    return read_video(path).tobytes()


def _nothing(path: Path) -> bytes:
    return b""


UNTIMED = {
    **{".json": _json, ".jsonl": _json, ".csv": _csv},
    ".mp4": _pictures,  # x264 does not always write the same pictures in the same bytes
    **{".log": _nothing, "seconds.json": _nothing},  # what a campaign's jobs said, and how long
}
"""How files are read in which something depends on the time or chance, by suffix or name."""


def main() -> None:
    """Run trials, write the summary."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    words = dict(word.split("=", 1) for word in sys.argv[2:])
    if len(sys.argv) < 2 or sys.argv[1][:1] == "-" or "=" in sys.argv[1] or words.keys() - OPTIONS:
        sys.exit(__doc__)
    folder, seed = Path(sys.argv[1]).absolute(), int(words.get("seed", 0))
    end = time.monotonic() + 60 * float(words.get("minutes", 15))
    commit, trials = git_hash(), folder / "trials.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    start = warm(Nursery.open(ONE_THREAD))
    tasks = {task.name: task for task in undisturbed(folder / "undisturbed" / commit, start)}
    rows = [json.loads(line) for line in trials.read_text().splitlines()] if trials.exists() else []
    rows = [row for row in rows if (row["git"], row["seed"]) == (commit, seed)]
    while sum(len(row["kills"]) for row in rows) < int(words.get("kills", 200)):
        if time.monotonic() > end:
            break
        task = tasks[ORDER[len(rows) % len(ORDER)]]
        chance = random.Random(f"{seed} {len(rows)}")
        row = trial(task, chance, folder / "trial", start) | {"git": commit, "seed": seed}
        rows.append(row)
        with open(trials, "a") as file:
            file.write(json.dumps(row) + "\n")
        log.info("%d trials; %s", len(rows), json.dumps({k: row[k] for k in row if row[k]}))
    results_dir = words.get("results_dir", load_config(CommonConfig).results_dir)
    atomic_write_json(
        Path(results_dir) / "benchmarks" / "kills.json",
        {**provenance("benchmarks/kills.py", sys.argv[2:]), **summary(rows, seed)},
    )


def summary(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Counts by task; of kills also by moment."""
    faults = ("failure", "left_over", "missing", "different")
    counts = {
        name: {
            "trials": sum(row["task"] == name for row in rows),
            "as_undisturbed": sum(
                row["task"] == name and not any(row[fault] for fault in faults) for row in rows
            ),
            "kills": sum(len(row["kills"]) for row in rows if row["task"] == name),
            **{
                moment: sum(
                    kill["moment"] == moment
                    for row in rows
                    for kill in row["kills"]
                    if row["task"] == name
                )
                for moment in MOMENTS
            },
        }
        for name in dict.fromkeys(ORDER)
    }
    total = {k: sum(count[k] for count in counts.values()) for k in next(iter(counts.values()))}
    bad = [row for row in rows if any(row[fault] for fault in faults)]
    return {"seed": seed, "total": total, "tasks": counts, "not_as_undisturbed": bad}


if __name__ == "__main__":
    plainly(main)
