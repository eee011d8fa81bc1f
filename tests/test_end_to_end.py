"""The whole pipeline by its scripts: generate, train, kill, resume, evaluate, website.

In a copy of the checkout and where the scripts write by themselves, as a user has it. After it git
finds nothing new or changed, and the README is still what the committed results say.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from para.evaluation.results import read_result
from para.places import ROOT
from para.video import probe_video

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _not_code(folder: str, names: list[str]) -> list[str]:
    """What of a checkout was made by using it."""
    if folder != str(ROOT):
        return [name for name in names if name in ("__pycache__", "node_modules")]
    made = {"data", "runs", "outputs", "build", "dist"}
    hidden = {n for n in names if n.startswith(".")} - {".gitignore", ".ci"}
    return [name for name in names if name in made | hidden or name.endswith(".egg-info")]


def _git(checkout: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", str(checkout), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_from_nothing_to_a_website_and_git_sees_nothing_of_it(tmp_path: Path):
    checkout = tmp_path / "para"
    shutil.copytree(ROOT, checkout, ignore=_not_code)
    for step in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        _git(checkout, *step)
    smoke = checkout / "outputs" / "smoke"
    environment = os.environ | {"PYTHONPATH": str(checkout)}

    def command(script: str, *arguments: str) -> list[str]:
        return [sys.executable, f"scripts/{script}.py", "profile=smoke", *arguments]

    def run(*words: str) -> str:
        done = subprocess.run(
            words, cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    run(*command("generate_demos", "dataset=objpos", "limit=6", "preview=false"))
    files = {path: path.read_bytes() for path in (smoke / "data").rglob("*.hdf5")}
    assert len(files) == 6

    train = ("model=para", "limit=6", "training.checkpoint_every=10", "training.steps=60")
    training = subprocess.Popen(
        command("train", *train), cwd=checkout, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not list((smoke / "runs").rglob("checkpoint/state.json")):
        assert training.poll() is None, "training ended before its first checkpoint"
        time.sleep(0.05)
    training.send_signal(signal.SIGKILL)
    training.wait()
    done = [json.loads(path.read_text()) for path in (smoke / "runs").rglob("policy.json")]
    assert not any(meta["finished"] for meta in done), "it had finished before it was killed"

    run(*command("train", *train))
    (meta,) = (smoke / "runs").rglob("policy.json")
    assert json.loads(meta.read_text())["training"]["steps"] == 60
    rows = (meta.parent / "log.csv").read_text().splitlines()[1:]
    steps = [int(row.split(",")[0]) for row in rows]
    assert steps == sorted(set(steps)), "no step was logged twice"
    assert "lready trained" in run(*command("train", *train))

    short = ("episodes=2", "batch=2", "env.max_steps=40", "workers=1")  # films of a second
    printed = run(*command("eval", "model=para", "video=1", *short))
    (path,) = (smoke / "results").rglob("seed0.json")
    result = read_result(path)
    assert [e["test"] for e in result["episodes"]] == ["ood"] * 2 + ["sanity"] * 2
    assert str(path.relative_to(checkout)) in printed
    videos = list(smoke.rglob("*.mp4"))
    assert len(videos) == 2
    assert {probe_video(video).codec for video in videos} == {"h264"}
    shown = [video for video in videos if str(video.relative_to(checkout)) in printed]
    assert ["_test_" in video.name for video in shown] == [True]
    assert len(printed.splitlines()) <= 20

    run(*command("make_website", "only=[lr_success_map]"))
    page = (smoke / "website" / "index.html").read_text()
    assert "seed0.json" in page
    assert {path: path.read_bytes() for path in files} == files, "nothing touched the demos"
    assert _git(checkout, "status", "--porcelain") == ""

    # Whatever lies where users' results, runs and demos go: the README is about the committed ones.
    place = path.relative_to(smoke / "results").as_posix()
    mine = f"outputs/results/{place.replace('smoke', 'laptop')}"
    for name in (mine, "outputs/results/x.json", "data/x.hdf5", "runs/x/policy.json"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text('{"schema": 2, "episodes": [')
    run(sys.executable, "-m", "pytest", "-q", "tests/test_readme.py", "-k", "pages")
    assert _git(checkout, "status", "--porcelain") == ""
