"""docs/robot.md in a fresh clone, timed: `python benchmarks/own_robot.py [results_dir=results]`.

Clones the last commit, and there does what one does with an own robot: import, check, train, look
at held-out demos, serve, loop. The robot is simulated: DEMOS demonstrations become a folder of
images, poses.csv and cameras.json first, which is not timed. For each command the wall time, and
the CPU time of all its processes, which on a busy machine is the one to compare; the server's ends
with the loop. Writes <results_dir>/benchmarks/own_robot.json.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from para.camera import Camera
from para.cli import load_config, plainly
from para.common import CommonConfig
from para.data.cameras import write_cameras
from para.data.format import FRAME_SECONDS, read_episode
from para.files import atomic_write_json
from para.places import ROOT
from para.system import provenance

DEMOS, STEPS, EPISODES, PORT = 24, 200, 5, 8765
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")


def record(demos: Path, folder: Path) -> Path:
    """Demos as a camera and a robot would have recorded them: images, poses.csv, cameras.json."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for k, path in enumerate(sorted(demos.glob("demo_*.hdf5"))):
        episode = read_episode(path)
        arrays = episode.arrays
        for t, image in enumerate(episode.images()):
            name = f"images/{k:03d}_{t:03d}.png"
            cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            rows.append(
                {"episode": k, "time": t * FRAME_SECONDS, "image": name}
                | dict(zip(POSE, arrays["obs/ee_pose"][t].tolist(), strict=True))
                | {"gripper": float(arrays["obs/gripper"][t])}
                | {"gripper_command": float(arrays["actions"][t, 3])}
            )
    matrices = (arrays[f"obs/{name}"][0] for name in ("intrinsics", "T_world_camera"))
    write_cameras(folder / "cameras.json", {"front": Camera(*matrices, *image.shape[1::-1])})
    with open(folder / "poses.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@contextmanager
def timed(row: dict[str, float]) -> Iterator[None]:
    """Fills a row with the wall and CPU time of the processes that end in the block [s]."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    row["seconds"] = round(time.perf_counter() - begin, 1)
    row["cpu_seconds"] = round(
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
    )


def run(clone: Path, words: str) -> str:
    """What a command in the clone prints; `words` as in docs/robot.md, without "python"."""
    command = [sys.executable, *words.split()]
    done = subprocess.run(
        command, cwd=clone, env=_environment(clone), capture_output=True, text=True, check=False
    )
    logging.info("%s: exit status %d", words, done.returncode)
    if done.returncode:
        raise SystemExit(f"{words}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _environment(clone: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(clone)}


def _serve_and_loop(clone: Path, policy: Path) -> str:
    command = [sys.executable, "scripts/serve.py", f"policy={policy}", f"port={PORT}"]
    server = subprocess.Popen(command, cwd=clone, env=_environment(clone), stderr=subprocess.PIPE)
    try:
        address = server.stderr.readline().decode().split(" at ")[1].split()[0]
        said = run(clone, f"examples/robot_loop.py {address} {EPISODES}")
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    finally:
        server.kill()
        server.stderr.close()
    return said


def main() -> None:
    """Time every command and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results_dir = load_config(CommonConfig, sys.argv[1:]).results_dir
    row = provenance("benchmarks/own_robot.py", sys.argv[1:])
    row |= {"demos": DEMOS, "steps": STEPS, "commands": {}}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "para"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        run(clone, f"scripts/generate_demos.py limit={DEMOS} preview=false")
        (demos,) = {path.parent for path in (clone / "data").rglob("demo_*.hdf5")}
        record(demos, clone / "recordings" / "monday")
        own = "split=own data=data/own/monday"
        commands = {
            "import": "scripts/import_demos.py source=folder path=recordings/monday name=monday",
            "check": "scripts/check_data.py data=data/own/monday",
            "train": f"scripts/train.py {own} training.steps={STEPS}",
            "eval": f"scripts/eval.py {own}",
        }
        said = {}
        for name, words in commands.items():
            row["commands"][name] = times = {}
            with timed(times):
                said[name] = run(clone, words)
        (policy,) = (path.parent for path in (clone / "runs").rglob("policy.json"))
        row["commands"]["serve and loop"] = times = {}
        with timed(times):
            loop = _serve_and_loop(clone, policy)
    row["successes"], row["episodes"] = map(int, re.search(r"(\d+) of (\d+)", loop).groups())
    atomic_write_json(f"{results_dir}/benchmarks/own_robot.json", row)


if __name__ == "__main__":
    plainly(main)
