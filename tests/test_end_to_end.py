"""The whole pipeline by its scripts: generate, train, kill, resume, evaluate, website."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from para.evaluation.results import read_result
from para.places import ROOT
from para.video import probe_video

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_from_nothing_to_a_website(tmp_path: Path):
    folders = [f"{name}_dir={tmp_path / name}" for name in ("data", "runs", "results", "outputs")]

    def command(script: str, *arguments: str) -> list[str]:
        return [sys.executable, f"scripts/{script}.py", "profile=smoke", *folders, *arguments]

    def run(script: str, *arguments: str) -> str:
        done = subprocess.run(
            command(script, *arguments), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    demos = ("dataset=objpos", "limit=6", "preview=false")
    run("generate_demos", *demos)
    files = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.hdf5")}
    assert len(files) == 6

    train = ("model=para", "limit=6", "training.checkpoint_every=10", "training.steps=300")
    training = subprocess.Popen(
        command("train", *train), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list((tmp_path / "runs").rglob("checkpoint/state.json")):
        assert training.poll() is None, "training ended before its first checkpoint"
        time.sleep(0.05)
    training.send_signal(signal.SIGKILL)
    training.wait()
    done = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("policy.json")]
    assert not any(meta["finished"] for meta in done), "it had finished before it was killed"

    run("train", *train)
    (meta,) = (tmp_path / "runs").rglob("policy.json")
    assert json.loads(meta.read_text())["training"]["steps"] == 300
    rows = (meta.parent / "log.csv").read_text().splitlines()[1:]
    steps = [int(row.split(",")[0]) for row in rows]
    assert steps == sorted(set(steps)), "no step was logged twice"
    assert "lready trained" in run("train", *train)

    printed = run("eval", "model=para", "episodes=2", "batch=2", "video=1")
    (path,) = (tmp_path / "results").rglob("seed0.json")
    result = read_result(path)
    assert [e["test"] for e in result["episodes"]] == ["ood"] * 2 + ["sanity"] * 2
    assert str(path) in printed
    for video in (tmp_path / "outputs").rglob("*.mp4"):
        assert probe_video(video).codec == "h264"
        assert str(video) in printed

    run("make_website", "robot=hand", "only=[lr_success_map]")
    page = (tmp_path / "outputs" / "website" / "index.html").read_text()
    assert "seed0.json" in page
    assert {path: path.read_bytes() for path in files} == files, "nothing touched the demos"
