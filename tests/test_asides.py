"""Files are whole or absent, and what killed processes leave is removed by the next of a kind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from unittest.mock import patch

import psutil
import pytest

from para.asides import CLOCKS_S, aside_of, is_aside_of, scratch_folder, sweep
from para.cli import para_main
from para.common import CommonConfig
from para.files import atomic_write, require_writable
from tests.killed import left_behind


def test_the_next_writer_of_a_file_removes_what_a_killed_one_left(tmp_path):
    path, other = tmp_path / "policy.json", tmp_path / "policy.safetensors"
    dead, alive, others = left_behind(path), aside_of(path), left_behind(other)
    for file in (dead, alive, others):
        file.write_text("half")
    assert all(is_aside_of(file.name, path) for file in (dead, alive))
    with atomic_write(path) as aside:
        aside.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, alive, others])


def test_sweeping_touches_nothing_else(tmp_path):
    mine = [".policy.json", "policy.json.bak", ".policy.notes.json", ".policy.123.json"]
    for name in mine:
        (tmp_path / name).touch()
    folder = left_behind(tmp_path / "site")
    (folder / "static").mkdir(parents=True)
    sweep(tmp_path, ["policy.json", "site"])
    sweep(tmp_path / "nowhere", ["policy.json"])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(mine)


def test_a_killed_writer_is_gone_before_its_parent_has_looked(tmp_path):
    path = tmp_path / "policy.json"
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    half = left_behind(path, process.pid)
    half.touch()
    sweep(tmp_path, [path.name])
    assert half.exists()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    sweep(tmp_path, [path.name])
    assert not half.exists()
    process.communicate()


def test_a_process_that_got_the_number_of_a_killed_one_wrote_nothing(tmp_path):
    path = tmp_path / "policy.json"
    half = left_behind(path, os.getpid())
    half.touch()
    with patch.object(psutil.Process, "create_time", lambda _: time.time() + 2 * CLOCKS_S):
        sweep(tmp_path, [path.name])
    assert not half.exists()


def test_scratch_folders_of_killed_processes_go_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = left_behind(tmp_path / "para")
    left.mkdir()
    with scratch_folder() as folder, scratch_folder() as second:
        assert folder.is_dir()
        assert second.is_dir()
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_scratch_folders_of_killed_processes_go_with_any_command(tmp_path, monkeypatch):
    """Also where the one that goes on finds nothing left to do."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = left_behind(tmp_path / "para")
    left.mkdir()
    seen = []
    para_main(CommonConfig, examples=[])(lambda cfg: seen.append(left.exists()))([])
    assert seen == [False]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    require_writable(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    monkeypatch.setattr("os.access", lambda *_: False)  # whatever this user may do
    with pytest.raises(PermissionError, match=r"denied.*/a/b"):
        require_writable(tmp_path / "a" / "b")
