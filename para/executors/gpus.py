"""The GPUs of this machine, and who sits at which.

A process sees the GPU that it was given, and no other (CUDA_VISIBLE_DEVICES). A training has one of
its own, unless several may sit at one; then evaluations may sit beside them, too. What shares
(evaluations) is the only one until one of its kind has told how much memory it took; then as many
share a GPU as fit into it.
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


_by_crews = 0


def taken_by_crew(taken: int) -> None:
    """The processes that this one has started take so much together [bytes]."""
    global _by_crews
    _by_crews = max(_by_crews, taken)


def memory_taken() -> int:
    """What this process and those it started have taken of their GPU at most [bytes]; or 0."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return _by_crews
    return int(torch.cuda.max_memory_reserved()) + CONTEXT_BYTES + _by_crews


class Seats:
    """Places at the GPUs of this machine; without any, there is always one.

    Args:
        gpus: Those that may be used.
        trainings: Most at one GPU. A single one has it to itself, several share with evaluations.
    """

    def __init__(self, gpus: Sequence[Gpu], trainings: int = 1):
        self._gpus = gpus
        self._trainings = trainings
        self._training = {gpu.name: 0 for gpu in gpus}
        self._sharing = {gpu.name: 0 for gpu in gpus}
        self._taken = 0

    def take(self, training: bool) -> str | None:
        """The name of a GPU with room, the emptiest ("": there are none); None: wait."""
        if not self._gpus:
            return ""
        free = [gpu.name for gpu in self._gpus if self._has_room(gpu, training)]
        if not free:
            return None
        chosen = min(free, key=lambda name: self._training[name] + self._sharing[name])
        self._seated(training)[chosen] += 1
        return chosen

    def leave(self, name: str, training: bool) -> None:
        """A process that had taken a place is gone."""
        if name:
            self._seated(training)[name] -= 1

    def measured(self, taken: int) -> None:
        """What a process that shares has taken at most [bytes]."""
        self._taken = max(self._taken, taken)

    def _seated(self, training: bool) -> dict[str, int]:
        return self._training if training else self._sharing

    def _has_room(self, gpu: Gpu, training: bool) -> bool:
        trainings, sharing = self._training[gpu.name], self._sharing[gpu.name]
        if self._trainings == 1 and (trainings or (training and sharing)):
            return False
        return trainings < self._trainings if training else sharing < self._room(gpu)

    def _room(self, gpu: Gpu) -> int:
        """How many may share it; one until the memory of one is known."""
        return max(1, int(USABLE * gpu.memory / self._taken)) if self._taken else 1
