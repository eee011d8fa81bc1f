"""The whole campaign, timed: `python benchmarks/reproduce.py FOLDER [key=value]`.

Clones the last commit into FOLDER, which is kept, and runs scripts/reproduce.py there with this
environment: demos, trainings, evaluations, website. Give it a machine that does nothing else. More
than an hour on two cores. Writes <results_dir>/benchmarks/reproduce.json.
"""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from para.campaign.config import ReproduceConfig  # noqa: E402
from para.cli import load_config  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import git_hash, hardware  # noqa: E402


def main() -> None:
    """Time the campaign and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) < 2 or "=" in sys.argv[1]:
        sys.exit("Give a folder for the clone: python benchmarks/reproduce.py FOLDER [key=value]")
    clone, overrides = Path(sys.argv[1]).absolute(), sys.argv[2:]
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    commit = git_hash()
    cfg = load_config(ReproduceConfig, overrides)
    inside = [word for word in overrides if not word.startswith("results_dir=")]
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
        "command": " ".join(["python scripts/reproduce.py", *inside, "(in a fresh clone)"]),
        "minutes": round(minutes, 1),
        "jobs": {
            kind: {"count": len(values), "seconds_in_all": round(sum(values))}
            for kind, values in kinds.items()
        },
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }
    atomic_write_json(f"{cfg.results_dir}/benchmarks/reproduce.json", row)
    logging.info("%.1f minutes: %s", minutes, json.dumps(row["jobs"]))


if __name__ == "__main__":
    main()
