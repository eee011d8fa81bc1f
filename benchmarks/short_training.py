"""What few seconds of training buy: `python benchmarks/short_training.py [key=value]`.

PARA on `lr` with fewer steps than usual, three training seeds each, tested on dev starts. Needs the
demos, which it makes first, and a machine that does nothing else: seconds are wall time of the
optimiser steps, without start-up and validation. About ten minutes on two cores. Writes
<results_dir>/benchmarks/short_training.json.
"""

import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from para.cli import load_config, plainly  # noqa: E402
from para.common import CommonConfig  # noqa: E402
from para.evaluation.results import read_result  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.statistics import Rate  # noqa: E402
from para.system import provenance  # noqa: E402

STEPS, SEEDS = (100, 200, 400), (0, 1, 2)
TESTS = ("ood", "sanity")


def main() -> None:
    """Train, test, and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(CommonConfig, sys.argv[1:])
    call("generate_demos", "dataset=objpos", f"data_dir={cfg.data_dir}")
    rows = [measured(steps, cfg.data_dir) for steps in STEPS]
    result = {**provenance("benchmarks/short_training.py", sys.argv[1:]), "split": "lr"}
    atomic_write_json(f"{cfg.results_dir}/benchmarks/short_training.json", result | {"rows": rows})


def measured(steps: int, data_dir: str) -> dict[str, Any]:
    """Seconds and success of every seed, and the mean of all with its interval."""
    results = []
    with tempfile.TemporaryDirectory() as name:
        tested = Path(name, "tested")
        folders = [f"runs_dir={name}", f"outputs_dir={name}", f"results_dir={tested}"]
        for seed in SEEDS:
            of = ("model=para", "split=lr", f"seed={seed}", *folders)
            call("train", *of, f"training.steps={steps}", f"data_dir={data_dir}")
            call("eval", *of, "video=0")
            (path,) = tested.glob(f"*/*/dev/lr/para-*/seed{seed}.json")
            results.append(read_result(path))
    trained = [result["training"] for result in results]
    row: dict[str, Any] = {
        "steps": steps,
        "seconds": [round(60 * one["minutes"], 1) for one in trained],
        "samples_per_s": [one["samples_per_s"] for one in trained],
    }
    for test in TESTS:
        outcomes = [[e["success"] for e in r["episodes"] if e["test"] == test] for r in results]
        rate = Rate.over_seeds(outcomes)
        row[test] = {
            "successes": [sum(seed) for seed in outcomes],
            "n": len(outcomes[0]),
            "mean": rate.value,
            "interval": list(rate.interval),
        }
    logging.info("%s", row)
    return row


def call(script: str, *words: str) -> None:
    """Run one of the scripts."""
    subprocess.run([sys.executable, f"scripts/{script}.py", *words], cwd=ROOT, check=True)


if __name__ == "__main__":
    plainly(main)
