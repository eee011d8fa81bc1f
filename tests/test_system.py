"""What the machine really offers."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import psutil
import pytest
import torch

from para import system


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_quota_is_the_tightest_of_a_cgroup_and_its_parents(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("0::/outer/inner\n")
    root = tmp_path / "fs"
    assert system._cgroup_quota(root, membership) == 0
    write(root / "outer" / "cpu.max", "150000 100000\n")
    write(root / "outer" / "inner" / "cpu.max", "max 100000\n")
    assert system._cgroup_quota(root, membership) == 1.5
    write(root / "outer" / "inner" / "cpu.max", "50000 100000\n")
    assert system._cgroup_quota(root, membership) == 0.5


def test_quota_of_cgroup_v1(tmp_path):
    write(tmp_path / "cpu" / "cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "cpu" / "cpu.cfs_period_us", "100000\n")
    assert system._cgroup_quota(tmp_path, tmp_path / "none") == 0
    write(tmp_path / "cpu" / "cpu.cfs_quota_us", "300000\n")
    assert system._cgroup_quota(tmp_path, tmp_path / "none") == 3


def test_available_cores_follow_affinity_and_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(system, "_cgroup_quota", lambda: 0.0)
    assert system.available_cores() == 6
    monkeypatch.setattr(system, "_cgroup_quota", lambda: 2.5)
    assert system.available_cores() == 3
    monkeypatch.setattr(system, "_cgroup_quota", lambda: 64.0)
    assert system.available_cores() == 6


@pytest.mark.parametrize(
    ("busy", "expected"), [([2, 5, 90, 99], 2), ([99, 99, 99, 99], 1), ([0, 3, 1, 2], 4)]
)
def test_free_cores_leave_out_the_busy_ones(busy, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(system, "_cgroup_quota", lambda: 0.0)
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_, **__: busy)
    assert system.free_cores() == expected


def test_set_threads():
    before = torch.get_num_threads()
    try:
        assert system.set_threads(3) == 3
        assert torch.get_num_threads() == 3
        assert 1 <= system.set_threads() <= system.available_cores()
    finally:
        torch.set_num_threads(before)


def test_descriptions_are_plain_and_name_no_host():
    described = system.hardware()
    assert described["cores"] == system.available_cores()
    assert described["memory_gb"] > 0.5
    assert os.uname().nodename not in str(described)
    assert system.versions()["torch"] == torch.__version__.split("+")[0]


def test_git_hash():
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", system.git_hash())


def test_results_do_not_make_the_code_dirty(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "ROOT", tmp_path)
    code, result = tmp_path / "code.py", tmp_path / "results" / "lr.json"
    result.parent.mkdir()
    for path in (code, result):
        path.write_text("1")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    result.write_text("2")
    assert re.fullmatch(r"[0-9a-f]{40}", system.git_hash())
    code.write_text("2")
    assert system.git_hash().endswith("-dirty")
    code.write_text("1")
    (tmp_path / "notes.txt").write_text("no code")
    assert not system.git_hash().endswith("-dirty")
    new = tmp_path / "configs" / "model" / "mine.yaml"
    new.parent.mkdir(parents=True)
    new.write_text("new code")
    assert system.git_hash().endswith("-dirty")


def test_idle_threads_wait_passively_before_torch_is_imported():
    code = "import para.cli, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    clean = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean)
    assert done.stdout.split() == ["PASSIVE", "False"]


def test_provenance_tells_the_command_without_this_machine_s_folders():
    words = ["split=lr", "data_dir=/home/me/data", "results_dir=there", "workers=1", "svd"]
    made = system.provenance("benchmarks/some.py", words)
    assert made["command"] == "python benchmarks/some.py split=lr workers=1 svd"
    assert {"created", "git", "hardware"} < made.keys()
    assert "/home/me" not in str(made)
