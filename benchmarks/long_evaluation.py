"""Memory and open files of a long evaluation: `python benchmarks/long_evaluation.py [key=value]`.

Keys are those of scripts/eval.py; usual here: a floor that learns nothing (model=colour) with
robot=hand, 5,000 episodes of each test, 48 px, 60 steps. While it runs, the processes of it are
looked at every few seconds. Growth is told from the second quarter of the episodes to the last.
Writes <results_dir>/benchmarks/long_evaluation.json; the same numbers for other workers= or
executor= are the evaluation's own test (tests/executors/test_equal_results.py).
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from para.cli import load_config, plainly  # noqa: E402
from para.evaluation.config import EvalConfig  # noqa: E402
from para.evaluation.runner import evaluate  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import provenance  # noqa: E402

USUAL = ["model=colour", "robot=hand", "profile=smoke", "episodes=5000", "env.image_size=48"]
USUAL += ["env.max_steps=60", "video=0", "fresh=true"]


@dataclass(frozen=True)
class Look:
    """What one look at the processes found.

    Attributes:
        episodes: That were finished.
        driver_mb: Memory of the process that was started [MB].
        workers_mb: Of the processes that work, on average [MB].
        files: Open files of all of them.
    """

    episodes: int
    driver_mb: float
    workers_mb: float
    files: int


def look(journals: Path, batch: int) -> Look | None:
    """Look at this process and those that it started; None while there are none."""
    me = psutil.Process()
    try:
        work = [p for p in me.children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
        memory = [p.memory_info().rss / 1e6 for p in work]
        files = sum(p.num_fds() for p in (me, *work))
    except psutil.Error:
        return None  # one left meanwhile
    if not work:
        return None
    lines = sum(len(path.read_bytes().splitlines()) for path in journals.glob("*.jsonl"))
    own = me.memory_info().rss / 1e6
    return Look(lines * batch, round(own, 1), round(sum(memory) / len(memory), 1), files)


def growth(looks: Sequence[Look]) -> dict[str, float]:
    """How much more there was in the last quarter of the episodes than in the second."""
    most = max(one.episodes for one in looks)
    second = [one for one in looks if most / 4 <= one.episodes < most / 2]
    last = [one for one in looks if one.episodes >= 3 * most / 4]
    found = {}
    for name in ("driver_mb", "workers_mb", "files"):
        before, after = (median(getattr(one, name) for one in some) for some in (second, last))
        found[name] = round(after - before, 1)
    return found


def main(arguments: Sequence[str], every_s: float = 2.0) -> dict[str, float]:
    """Evaluate, look, write down; returns the growth."""
    cfg = load_config(EvalConfig, [*USUAL, *arguments])
    looks: list[Look] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every_s):
            if (found := look(Path(cfg.outputs_dir) / "unfinished", cfg.batch)) is not None:
                looks.append(found)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        done = evaluate(cfg)
    finally:
        ended.set()
        watcher.join()
    grown = growth(looks)
    row = {"episodes": done.new_episodes, "growth": grown, "looks": [asdict(one) for one in looks]}
    path = Path(cfg.results_dir) / "benchmarks" / "long_evaluation.json"
    atomic_write_json(path, provenance("benchmarks/long_evaluation.py", arguments) | row)
    logging.info("%d episodes; growth: %s", done.new_episodes, grown)
    return grown


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plainly(partial(main, sys.argv[1:]))
