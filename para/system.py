"""The machine: cores that are really available, threads, hardware and software versions."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from para.errors import ConfigError
from para.places import INSTALLED, ROOT

WORKERS_PER_CORE = 4
"""Most processes or threads that one may ask for; more only wait for each other, or crash."""

_PACKAGES = (
    "torch torchvision timm accelerate diffusers transformers peft safetensors mujoco mink "
    "gymnasium numpy scipy h5py av opencv-python hydra-core"
)


def available_cores() -> int:
    """CPU cores that this process may use: the smallest of affinity mask and cgroup quota.

    `os.cpu_count()` counts the machine's cores, also in a container that may use two of them.
    """
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(mask, math.ceil(quota) if quota else mask))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup"), membership: Path | None = None) -> float:
    """Cores allowed by CPU quotas of the cgroup and its parents (v2, then v1); 0 for no limit."""
    membership = membership or Path("/proc/self/cgroup")
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    own = next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), "")
    quotas = []
    for folder in (root / own, *(root / own).parents):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            if quota != "max":
                quotas.append(int(quota) / int(period))
        except (OSError, ValueError):
            pass
        if folder == root:
            break
    for name in ("cpu", "cpu,cpuacct"):
        try:
            quota = int((root / name / "cpu.cfs_quota_us").read_text())
            period = int((root / name / "cpu.cfs_period_us").read_text())
            if quota > 0:
                quotas.append(quota / period)
        except (OSError, ValueError):
            pass
    return min(quotas, default=0.0)


def free_cores(seconds: float = 0.5) -> int:
    """Available cores that other processes leave idle, measured over `seconds`; at least 1."""
    busy = psutil.cpu_percent(seconds, percpu=True)
    if hasattr(os, "sched_getaffinity"):
        busy = [busy[core] for core in os.sched_getaffinity(0) if core < len(busy)] or busy
    idle = sum(100 - percent for percent in busy) / 100
    return max(1, min(available_cores(), round(idle)))


def worker_count(workers: int | None = None, key: str = "workers") -> int:
    """Processes (or threads) to use: `workers`, or one per available core.

    Args:
        workers: What was asked for; None: nothing.
        key: The key that asked.

    Raises:
        ConfigError: More than WORKERS_PER_CORE for each core.
    """
    cores = available_cores()
    most = WORKERS_PER_CORE * cores
    if workers is not None and workers > most:
        raise ConfigError(
            f"{key}={workers} is too many for the {cores} cores that are available here: give "
            f"at most {most}, or leave it out."
        )
    return workers or cores


def set_threads(workers: int | None = None) -> int:
    """Let torch use `workers` threads, or as many as there are free cores; returns the number.

    A thread too many is worse than one too few: oneDNN's convolutions wait in spin locks for a
    thread that another process has pushed aside (a training step of 0.3 s of CPU took 1.6 to 2.9).

    Raises:
        ConfigError: Too many, see `worker_count`.
    """
    import torch

    threads = worker_count(workers) if workers else free_cores()
    torch.set_num_threads(threads)
    return threads


def hardware() -> dict[str, Any]:
    """What result files say about the machine; plain data, no names of hosts or users."""
    import torch

    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": available_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results; "missing" where not installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES.split():
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def provenance(script: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """What the file of a measurement begins with: when, by which code, where, by which command.

    Folders (`*_dir=`) are this machine's own and stay out of the command.
    """
    words = [word for word in arguments if not word.split("=")[0].endswith("_dir")]
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "git": git_hash(),
        "hardware": hardware(),
        "command": " ".join(["python", script, *words]),
    }


_CODE = ("para", "envs", "baselines", "configs", "scripts", "benchmarks")
"""Folders in which a new file is new code."""


def git_hash() -> str:
    """Commit of this code; "-dirty" after it if it was changed or added to; "unknown" without git.

    An installed wheel is "unknown" too, whatever repository it was installed into.

    Results do not count as code: measuring again does not make what comes next dirty.
    """
    if INSTALLED:
        return "unknown"
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!results")
        added = _git("ls-files", "--others", "--exclude-standard", "--", *_CODE)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit + ("-dirty" if changed or added else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
