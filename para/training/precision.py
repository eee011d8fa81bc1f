"""How a training computes, where it is asked to choose (`training.precision=auto`).

bf16 where the GPU, or the processor, has instructions for it, else fp32: emulated, bf16 costs more
than it saves (benchmarks/train_step.py). The answer stands in the run's configuration: a run that
goes on elsewhere computes as it began.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from para.runs.config import AUTO, TrainConfig
from para.training.claims import config_before

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Names of `torch.cpu.get_capabilities`: of x86, and of ARM."""

_logger = logging.getLogger(__name__)


def precise(cfg: TrainConfig) -> TrainConfig:
    """`cfg` with what `training.precision=auto` comes to; as it is where nothing is to be decided.

    Raises:
        CheckpointError: The configuration of the run that goes on is damaged.
    """
    if cfg.training.precision != AUTO:
        return cfg
    if precision := config_before(cfg).get("training", {}).get("precision"):
        why = "this run began"
    elif has_bf16():
        precision, why = "bf16", "this machine has instructions for bf16"
    else:
        precision, why = "fp32", "this machine has no instructions for bf16"
    _logger.info("training.precision=auto: %s, as %s.", precision, why)
    return replace(cfg, training=replace(cfg.training, precision=precision))


def has_bf16() -> bool:
    """Does the device that trains compute in bf16, rather than emulate it?

    PyTorch before 2.12 does not tell of processors: they count as without.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in _INSTRUCTIONS)
