"""Training throughput of two commits, side by side: `python benchmarks/before_after.py COMMIT`.

Clones COMMIT and the last commit, makes a few demos in each, and lets their scripts/train.py take
turns (before, after, before, ...), so that a machine whose pace changes meets both. Samples/s are
those that the runs log, without the first window. Further words go to both commands, such as
workers=1 or training.precision=fp32. The dependencies are those of this environment.
Writes <results_dir>/benchmarks/before_after.json.
"""

from __future__ import annotations

import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from para.cli import load_config, plainly  # noqa: E402
from para.common import CommonConfig  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import provenance  # noqa: E402

ROUNDS, WINDOW, WINDOWS, DEMOS = 3, 20, 4, 32
_RATE = re.compile(r"samples_per_s\s+([\d.]+)")


def main() -> None:
    """Take turns, and write rates and their ratio."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) < 2 or sys.argv[1][:1] == "-" or "=" in sys.argv[1]:
        sys.exit("Give the commit before: python benchmarks/before_after.py COMMIT [key=value]")
    commit, *words = sys.argv[1:]
    asked = [word for word in words if not word.startswith("results_dir=")]
    cfg = load_config(CommonConfig, [word for word in words if word not in asked])
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        for name, which in (("before", commit), ("after", "HEAD")):
            clone = cloned(Path(place) / name, which)
            rows[name] = {"commit": which_commit(clone), "samples_per_s": []}
            measured(clone, asked)  # makes the demos
        for _ in range(ROUNDS):
            for name, row in rows.items():
                row["samples_per_s"] += measured(Path(place) / name, asked)
    for name, row in rows.items():
        row["median"] = round(statistics.median(row["samples_per_s"]), 1)
        logging.info("%s: %s", name, row)
    pairs = zip(rows["after"]["samples_per_s"], rows["before"]["samples_per_s"], strict=True)
    ratios = sorted(after / before for after, before in pairs)
    result = {
        **provenance("benchmarks/before_after.py", sys.argv[1:]),
        **rows,
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "lowest": round(ratios[0], 2),
            "highest": round(ratios[-1], 2),
            "n": len(ratios),
        },
    }
    logging.info("after / before: %s", result["ratio"])
    atomic_write_json(f"{cfg.results_dir}/benchmarks/before_after.json", result)


def cloned(folder: Path, commit: str) -> Path:
    """A clone of this repository at a commit."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", commit], cwd=folder, check=True)
    return folder


def which_commit(clone: Path) -> str:
    """The commit that a clone shows."""
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=clone, text=True).strip()


def measured(clone: Path, asked: list[str]) -> list[float]:
    """Samples/s of each window but the first of one short training in a clone."""
    fixed = (
        f"model=para limit={DEMOS} data_dir=data runs_dir=runs fresh=true "
        f"training.steps={WINDOW * WINDOWS} training.log_every={WINDOW} "
        "training.checkpoint_every=1000000 training.validation_demos=0"
    )
    command = [sys.executable, "scripts/train.py", *fixed.split(), *asked]
    environment = os.environ | {"PYTHONPATH": str(clone)}
    done = subprocess.run(
        command, cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    rates = [float(rate) for rate in _RATE.findall(done.stdout + done.stderr)][1:]
    if done.returncode or len(rates) != WINDOWS - 1:
        sys.exit(f"{' '.join(command)} in {clone} did not work:\n{done.stdout}{done.stderr}")
    return rates


if __name__ == "__main__":
    plainly(main)
