"""A new user's first command, timed: `python benchmarks/make_train.py [results_dir=results]`.

Clones the last commit into a temporary folder and runs `make setup` and `make train` there, as a
new user would. Takes about ten minutes. Writes <results_dir>/benchmarks/make_train.json.
"""

import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from para.cli import load_config, plainly  # noqa: E402
from para.common import CommonConfig  # noqa: E402
from para.evaluation.config import EvalConfig  # noqa: E402
from para.evaluation.results import read_result, success_rate  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import git_hash, hardware  # noqa: E402


def main() -> None:
    """Time both targets and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    written_to = load_config(CommonConfig, sys.argv[1:]).results_dir
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "para"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        seconds = {target: timed(clone, target) for target in ("setup", "train")}
        cfg = load_config(EvalConfig)
        (path,) = (clone / cfg.results_dir).glob("*/laptop/dev/lr/para-*/seed0.json")
        result = read_result(path)
    row = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "git": git_hash(),
        "hardware": hardware(),
        "command": "make setup && make train, in a fresh clone",
        "setup_seconds": round(seconds["setup"]),
        "train_and_evaluate_seconds": round(seconds["train"]),
        "training_minutes": result["training"]["minutes"],
        "seed": result["seed"],
    }
    for test in ("ood", "sanity"):
        rate = success_rate(result, test)
        row[test] = {"successes": rate.successes, "n": rate.n, "wilson95": list(rate.interval)}
    atomic_write_json(f"{written_to}/benchmarks/make_train.json", row)
    logging.info("%s", json.dumps(row, indent=1))


def timed(clone: Path, target: str) -> float:
    """Seconds of `make TARGET`."""
    start = time.perf_counter()
    subprocess.run(["make", target], cwd=clone, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    plainly(main)
