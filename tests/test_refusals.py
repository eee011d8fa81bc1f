"""What the system refuses is one sentence, wherever it happens."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys

import pytest

from para.cli import para_main
from para.errors import ParaError
from para.executors import LocalExecutor, WorkerError, stateless
from para.places import ROOT
from para.refusals import refusal
from para.runs.config import TrainConfig


def refused(number: int, path: str | None = "outputs/x.json") -> OSError:
    """What Python raises for an error number."""
    return OSError(number, os.strerror(number), *([path] if path else []))


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (refused(errno.EROFS), ("outputs/x.json: Read-only file system.", "runs_dir=")),
        (refused(errno.EACCES), ("outputs/x.json: Permission denied.", "may write")),
        (refused(errno.ENOSPC), ("outputs/x.json: No space left", "same command")),
        (refused(errno.EFBIG), ("File too large", "ulimit -f")),
        (refused(errno.EMFILE), ("Too many open files", "ulimit -n")),
        (refused(errno.ENOTDIR), ("Not a directory", "Check that path")),
        (refused(errno.EIO, None), ("Input/output error",)),
        (OSError(errno.EFBIG, "write failed in HDF5"), ("File too large (write failed in HDF5)",)),
        (RuntimeError("Can't close (errno = 27, ...)"), ("File too large (Can't close", "ulimit")),
        (
            shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
            ("b: No space left on device. Free some space", "same command"),
        ),
        (shutil.Error([("a", "b", "it is a pipe")]), ("b: it is a pipe.",)),
        (MemoryError(), ("Not enough memory (MemoryError)", "workers=1", "batch_size")),
        (RuntimeError("can't start new thread"), ("Not enough memory (can't start",)),
        (ImportError("libtorch.so: failed to map segment from shared object"), ("Not enough",)),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else type(value).__name__,
)
def test_the_sentence_names_what_and_the_way_out(error, parts):
    sentence = refusal(error)
    assert [part for part in parts if part not in sentence] == [], sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_more_memory_than_there_is(library):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        pytest.importorskip(library).empty(2**52)
    assert refusal(caught.value).startswith("Not enough memory")


@pytest.mark.parametrize(
    "bug", [KeyError("steps"), ZeroDivisionError(), RuntimeError("shape"), OSError("not an image")]
)
def test_bugs_are_no_refusals(bug):
    assert refusal(bug) is None


def _write(path: str) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def test_where_it_happened_can_be_seen(caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def main(cfg: TrainConfig) -> None:
        """Fails."""
        _write("runs/x")

    levels = {name: logging.getLogger(name).level for name in ("", "para", "envs", "baselines")}
    try:
        with pytest.raises(SystemExit):
            para_main(TrainConfig, examples=[])(main)(["hydra.verbose=true"])
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert "in _write" in caplog.text


def test_scripts_and_their_workers_say_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def main(cfg: TrainConfig) -> None:
        """Fails."""
        _write("runs/x")

    with pytest.raises(SystemExit) as caught:
        para_main(TrainConfig, examples=[])(main)([])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: runs/x: Permission denied.")
    with pytest.raises(WorkerError, match=r"^runs/x: Permission denied") as failed:
        list(LocalExecutor(workers=1).run(stateless(_write), ["runs/x"]))
    assert isinstance(failed.value, ParaError)
    assert "Traceback" not in str(failed.value)


def test_an_evaluation_without_memory_says_so(tmp_path):
    """A limit of 1 GiB of addresses, as a batch system sets it, is hit while torch is loaded."""
    resource = pytest.importorskip("resource")
    script = ROOT / "scripts" / "eval.py"
    done = subprocess.run(
        [sys.executable, script, "policy=para_lr", "episodes=1", "video=0", "workers=1"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Not enough memory ("), line
    assert "workers=1" in line
    assert (done.returncode, done.stdout) == (2, "")
