"""How jobs scale with workers: `python benchmarks/scaling.py [key=value]`.

Real: a Ray cluster of this machine's does jobs that sleep. Simulated: the same driver, with all of
Ray between it and an actor in which so many jobs sleep at a time; what is left out is what nodes do
side by side (starting processes, leases). Measured are jobs a minute, the efficiency (time slept,
of what all workers had) and the driver's own cost of a job: the time of its processor. It hands out
one job after the other, so that throughput stops growing at workers = length of a job / that cost.

Keys: workers=1,2 simulated=8,64,256,1000 seconds=2 (length of a job) rounds=4 (jobs of a worker),
results_dir=. Writes <results_dir>/benchmarks/scaling.json and .png.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from para.common import CommonConfig  # noqa: E402
from para.executors import Cargo, Crew, Done, Executor, stateless  # noqa: E402
from para.executors.agreement import this_build  # noqa: E402
from para.executors.base import Setup  # noqa: E402
from para.executors.ray import Flight, RayConfig, RayCrew, RayExecutor, connect  # noqa: E402
from para.executors.ray_nodes import Nodes  # noqa: E402
from para.executors.remote import Answer, Errand  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import provenance  # noqa: E402

LONG_S = {"a training of 160 s": 160.0, "an evaluation of 60 s": 60.0, "a chunk of 5 s": 5.0}
"""Jobs for which the end of linear scaling is told."""


@dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        workers: Jobs at a time.
        simulated: Did they sleep in one actor?
        jobs: How many.
        jobs_a_minute: All of them, by wall time.
        efficiency: Time slept, of wall time x workers.
        driver_ms: Processor time of the driver's process, for one job.
    """

    workers: int
    simulated: bool
    jobs: int
    jobs_a_minute: float
    efficiency: float
    driver_ms: float


class SleepingExecutor(Executor):
    """As many workers as one likes, which sleep in one actor of a cluster that is connected."""

    def __init__(self, workers: int):
        self.processes = workers

    def start(self, setup: Setup, whole_scripts: bool = False, cargo: Cargo | None = None) -> Crew:
        """See `Executor.start`; the tasks are lengths of sleep [s]."""
        errand = Errand("scaling", setup, whole_scripts, Path.cwd(), this_build())
        cfg = RayConfig(name="ray")
        return _SleepingCrew(cfg, Nodes(cfg), errand, cargo, False, ExitStack(), self.processes)


class _Sleeper:
    async def sleep(self, task: float) -> tuple[str, Answer]:
        """Do a task."""
        await asyncio.sleep(task)
        return "", Answer(Done(None), "")


class _SleepingCrew(RayCrew):
    def __init__(self, *args: Any):
        import ray

        super().__init__(*args[:-1])
        self._actor = ray.remote(_Sleeper).options(max_concurrency=args[-1]).remote()

    def send(self, flight: Flight) -> None:
        self.flying[self._actor.sleep.remote(flight.task)] = flight

    def close(self) -> None:
        """End the actor, and all that sleeps in it."""
        import ray

        ray.kill(self._actor)
        super().close()


def measure(executor: Executor, workers: int, seconds: float, rounds: int, sim: bool) -> Row:
    """Run jobs that sleep; the start of the processes is not timed."""
    jobs = workers * rounds
    with executor.start(stateless(time.sleep)) as crew:
        ready = 0
        for _ in range(workers):
            crew.submit(0.0)
        while ready < workers:
            ready += len(crew.wait())
        wall, cpu = time.perf_counter(), time.process_time()
        begun = workers
        for _ in range(workers):
            crew.submit(seconds)
        ended = 0
        while ended < jobs:
            for done in crew.wait():
                assert done.error is None, done.error
                ended += 1
                if begun < jobs:
                    begun += 1
                    crew.submit(seconds)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Row(
        *(workers, sim, jobs, 60 * jobs / wall),
        *(jobs * seconds / (wall * workers), 1000 * cpu / jobs),
    )


def plot(rows: Sequence[Row], path: Path) -> None:
    """Efficiency and the driver's cost over the number of workers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for simulated, label in ((False, "processes"), (True, "simulated")):
        some = [row for row in rows if row.simulated == simulated]
        workers = [row.workers for row in some]
        left.plot(workers, [100 * row.efficiency for row in some], "o-", label=label)
        right.plot(workers, [row.driver_ms for row in some], "o-", label=label)
    left.set(xscale="log", xlabel="workers", ylabel="efficiency [%]", ylim=(0, 105))
    right.set(xscale="log", xlabel="workers", ylabel="driver's cost of a job [ms]")
    right.set_ylim(bottom=0)
    left.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main(arguments: Sequence[str]) -> None:
    """Measure everything and write it down."""
    import ray

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    said = dict(word.split("=", 1) for word in arguments)
    counts = {
        key: [int(n) for n in said.pop(key, usual).split(",") if n]
        for key, usual in (("workers", "1,2"), ("simulated", "8,64,256,1000"))
    }
    seconds, rounds = float(said.pop("seconds", 2)), int(said.pop("rounds", 4))
    folder = Path(said.pop("results_dir", CommonConfig.results_dir)) / "benchmarks"
    if said:
        sys.exit(f"Unknown keys: {', '.join(said)}. {__doc__}")
    rows = []
    for workers in counts["workers"]:
        executor = RayExecutor(RayConfig(name="ray"), workers)
        rows.append(measure(executor, workers, seconds, rounds, sim=False))
        logging.info("%s", rows[-1])
    connect(RayConfig(name="ray"), 1)
    try:
        for workers in counts["simulated"]:
            rows.append(measure(SleepingExecutor(workers), workers, seconds, rounds, sim=True))
            logging.info("%s", rows[-1])
    finally:
        ray.shutdown()
    cost = max(row.driver_ms for row in rows) / 1000
    limits = {name: round(length / cost) for name, length in LONG_S.items()}
    atomic_write_json(
        folder / "scaling.json",
        provenance("benchmarks/scaling.py", arguments)
        | {"seconds": seconds, "rows": [asdict(row) for row in rows], "linear_up_to": limits},
    )
    plot(rows, folder / "scaling.png")
    for name, limit in limits.items():
        logging.info("%s: linear up to about %d workers", name, limit)


if __name__ == "__main__":
    main(sys.argv[1:])
