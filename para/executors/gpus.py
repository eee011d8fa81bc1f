"""The GPUs of this machine, and who sits at which.

A process sees the GPU that it was given, and no other (CUDA_VISIBLE_DEVICES). A training has one of
its own. What shares (evaluations) sits alone until one of its kind has told how much memory it
took; then as many share a GPU as fit into it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

VARIABLE = "CUDA_VISIBLE_DEVICES"
USABLE = 0.9
"""Share of a GPU's memory that is given away."""
CONTEXT_BYTES = 600 * 2**20
"""What a process takes of a GPU beside its tensors: its context, and that of its renderer."""


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: As CUDA_VISIBLE_DEVICES has it.
        memory: All it has [bytes].
    """

    name: str
    memory: int


def visible_gpus() -> list[Gpu]:
    """The GPUs that nvidia-smi knows, but for those that CUDA_VISIBLE_DEVICES leaves out."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    found = {}
    for line in done.stdout.splitlines():
        index, uuid, mebibytes = (word.strip() for word in line.split(","))
        found[index] = found[uuid] = Gpu(index, int(float(mebibytes)) * 2**20)
    if VARIABLE not in os.environ:
        return list(dict.fromkeys(found.values()))
    names = (name.strip() for name in os.environ[VARIABLE].split(","))
    return [Gpu(name, found[name].memory) for name in names if name in found]


def memory_taken() -> int:
    """What this process has taken of its GPU at most [bytes]; 0 where it used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.max_memory_reserved()) + CONTEXT_BYTES


class Seats:
    """Places at the GPUs of this machine; without any, there is always one.

    Args:
        gpus: Those that may be used.
    """

    def __init__(self, gpus: Sequence[Gpu]):
        self._gpus = gpus
        self._sharing = {gpu.name: 0 for gpu in gpus}
        self._alone: set[str] = set()
        self._taken = 0

    def take(self, alone: bool) -> str | None:
        """The name of a GPU with room, the emptiest ("": there are none); None: wait."""
        if not self._gpus:
            return ""
        free = [gpu for gpu in self._gpus if gpu.name not in self._alone]
        free = [gpu for gpu in free if self._sharing[gpu.name] < (1 if alone else self._room(gpu))]
        if not free:
            return None
        chosen = min(free, key=lambda gpu: self._sharing[gpu.name]).name
        if alone:
            self._alone.add(chosen)
        else:
            self._sharing[chosen] += 1
        return chosen

    def leave(self, name: str) -> None:
        """A process that had taken a place is gone."""
        if name in self._alone:
            self._alone.remove(name)
        elif name:
            self._sharing[name] -= 1

    def measured(self, taken: int) -> None:
        """What a process that shares has taken at most [bytes]."""
        self._taken = max(self._taken, taken)

    def _room(self, gpu: Gpu) -> int:
        """How many may share it; one until the memory of one is known."""
        return max(1, int(USABLE * gpu.memory / self._taken)) if self._taken else 1
