"""The devices and processes that train together, through Accelerate."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object

from para.data.dataset import Batch
from para.errors import ConfigError
from para.places import CONFIGS
from para.runs.config import TrainingConfig


def start_accelerator(training: TrainingConfig) -> Accelerator:
    """Accelerate's view of the devices, also under `accelerate launch` and `torchrun`.

    Raises:
        ConfigError: The precision or the sharding needs devices that are not there.
    """
    if training.precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError(
            "training.precision=fp16 needs a GPU: its gradients must be scaled, which only works "
            "there. Use bf16 or fp32."
        )
    # Accelerate keeps one precision per process; several runs in one (-m, tests) may differ.
    AcceleratorState._reset_state()
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    accelerator = Accelerator(
        cpu=not has_gpu,  # else it overlooks torchrun's processes on a machine without a GPU
        mixed_precision="no" if training.precision == "fp32" else training.precision,
        gradient_accumulation_steps=training.accumulate,
    )
    if training.shard and accelerator.num_processes == 1:
        raise ConfigError(
            "training.shard=true splits a model over several processes, but there is one. Start "
            f"them with: accelerate launch --config_file {CONFIGS / 'accelerate' / 'fsdp.yaml'} "
            "--num_processes N -m para.commands.train ..."
        )
    return accelerator


def agree(accelerator: Accelerator, seconds: float, stopped: bool) -> tuple[float, bool]:
    """The main process's clock and anyone's wish to stop, known to all processes."""
    if accelerator.num_processes == 1:
        return seconds, stopped
    seconds = broadcast_object_list([seconds])[0]
    return seconds, any(gather_object([stopped]))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch where the policy computes, its images in the memory format of convolutions."""
    batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    return batch | {"image": batch["image"].contiguous(memory_format=torch.channels_last)}
