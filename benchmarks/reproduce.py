"""A campaign, timed and compared: `python benchmarks/reproduce.py FOLDER [key=value]`.

Clones the last commit into FOLDER, which is kept, and runs scripts/reproduce.py there with this
environment; table=notes website=false is what a reader has half an hour for. Give it a
machine that does nothing else. What it finds stands beside what is committed of the same policy,
seed and starts, trained on another machine. Writes <results_dir>/benchmarks/reproduce.json.
"""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from para.campaign.config import ReproduceConfig  # noqa: E402
from para.cli import load_config, plainly  # noqa: E402
from para.evaluation.results import read_result, training_precision  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import git_hash, hardware  # noqa: E402


def main() -> None:
    """Time the campaign and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) < 2 or sys.argv[1][:1] == "-" or "=" in sys.argv[1]:
        sys.exit("Give a folder for the clone: python benchmarks/reproduce.py FOLDER [key=value]")
    clone, overrides = Path(sys.argv[1]).absolute(), sys.argv[2:]
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    commit = git_hash()
    cfg = load_config(ReproduceConfig, overrides)
    inside = [word for word in overrides if not word.startswith("results_dir=")]
    told = [word for word in inside if not word.startswith("data_dir=")]
    there = load_config(ReproduceConfig, inside)
    command = [sys.executable, "scripts/reproduce.py", *inside]
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(clone)}
    subprocess.run(command, cwd=clone, env=environment, check=True)
    minutes = (time.perf_counter() - start) / 60
    seconds = json.loads((clone / "outputs/campaign/seconds.json").read_text())
    kinds: dict[str, list[float]] = {}
    for name, value in seconds.items():
        kinds.setdefault(name.split()[0], []).append(value)
    row = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "git": commit,
        "hardware": hardware(),
        "command": " ".join(["python scripts/reproduce.py", *told, "(in a fresh clone)"]),
        "minutes": round(minutes, 1),
        "jobs": {
            kind: {"count": len(values), "seconds_in_all": round(sum(values))}
            for kind, values in kinds.items()
        },
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "again": compared(clone / there.results_dir, cfg.reference),
    }
    atomic_write_json(f"{cfg.results_dir}/benchmarks/reproduce.json", row)
    logging.info("%.1f minutes: %s", minutes, json.dumps(row["jobs"]))


def compared(here: Path, committed: Path) -> list[dict[str, Any]]:
    """Of every result that both folders hold: successes, and starts that ended otherwise."""
    rows = []
    for path in sorted(here.glob("*/*/*/*/*/seed*.json")):
        name = path.relative_to(here)
        if not (committed / name).exists():
            continue
        found, known = read_result(path), read_result(committed / name)
        for test in sorted({episode["test"] for episode in found["episodes"]}):
            ours, theirs = outcomes(found, test), outcomes(known, test)
            both = ours.keys() & theirs.keys()
            rows.append(
                {
                    "result": str(name.with_suffix("")),
                    "test": test,
                    "n": len(both),
                    "here": sum(ours[start] for start in both),
                    "committed": sum(theirs[start] for start in both),
                    "only_here": sum(ours[start] and not theirs[start] for start in both),
                    "only_committed": sum(theirs[start] and not ours[start] for start in both),
                    "precision_here": training_precision(found),
                    "precision_committed": training_precision(known),
                }
            )
    return rows


def outcomes(result: dict[str, Any], test: str) -> dict[str, bool]:
    """Success by start."""
    return {
        json.dumps(episode["condition"], sort_keys=True): episode["success"]
        for episode in result["episodes"]
        if episode["test"] == test
    }


if __name__ == "__main__":
    plainly(main)
