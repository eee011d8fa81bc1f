"""Weights, gradients, moments and averages split over all processes, for large video models.

Fully sharded data parallelism (Zhao et al., 2023, "PyTorch FSDP: Experiences on Scaling Fully
Sharded Data Parallel") with torch's `fully_shard`: each process keeps its part of every tensor, and
a block's weights are whole only while that block computes. Checkpoints hold whole tensors, so a run
can go on with another number of processes, or with none of this.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import cache

import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from para.errors import ConfigError
from para.places import CONFIGS
from para.policies.base import Policy


def asked_by_launcher() -> bool:
    """Did `accelerate launch` ask for FSDP (--use_fsdp, or a file with distributed_type: FSDP)?

    Such a run is sharded as with training.shard=true.

    Raises:
        ConfigError: It asked for DeepSpeed instead.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise ConfigError(
            "accelerate launch asks for DeepSpeed, which this trainer does not use. FSDP splits "
            "weights, gradients and moments as its ZeRO stage 3 does: accelerate launch "
            f"--config_file {CONFIGS / 'accelerate' / 'fsdp.yaml'} -m para.commands.train ..."
        )
    return _fsdp_flag()


@cache
def _fsdp_flag() -> bool:
    """The launcher's flag; read once and then hidden from Accelerate.

    Accelerate's own FSDP starts only on GPUs, and would split the trained policy alone, not its
    average.
    """
    return os.environ.pop("ACCELERATE_USE_FSDP", "false").lower() == "true"


def shard(losses: nn.Module, policy: Policy, average: Policy, device_type: str) -> None:
    """Split the tensors of a policy, and those of its average, over all processes, in place.

    Args:
        losses: The module whose forward pass is trained, around `policy`.
        policy: What is trained.
        average: Its moving average, which is asked for `loss` and `predict` only.
        device_type: "cuda" or "cpu"; the tensors move there block by block.
    """
    from torch.distributed.device_mesh import init_device_mesh  # these take a second: see _is_split
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    # blocks of the UNet return views, which is a trap only where they are written to in place
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device_type, (dist.get_world_size(),))
    for root, blocks in ((losses, _blocks(policy)), (average, _blocks(average))):
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(root, mesh=mesh)
    for method in ("loss", "predict"):
        register_fsdp_forward_method(average, method)


def _blocks(policy: Policy) -> Iterator[nn.Module]:
    """Parts that are gathered on their own; the rest of the policy is gathered as one."""
    if policy.backbone.learns_video:
        video = policy.backbone.video
        yield from video.unet.down_blocks
        yield video.unet.mid_block
        yield from video.unet.up_blocks
        if video.image_encoder is not None:
            yield video.image_encoder


def _is_split(tensor: Tensor) -> bool:
    """Is it a DTensor? None exists before their module does, which few runs need."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be split; all processes must call this."""
    return tensor.full_tensor() if _is_split(tensor) else tensor


def gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Whole tensors on the CPU, one at a time; all processes must call this.

    Args:
        tensors: Some of them split.
        keep: This process wants them; the others get nothing.
    """
    found = {}
    for name, tensor in tensors.items():
        complete = whole(tensor)
        if keep:
            found[name] = complete.to("cpu")
    return found


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor; the tensor itself if it is not split."""
    return tensor.to_local() if _is_split(tensor) else tensor


def split_moments(moments: Mapping[str, Tensor], optimizer: Optimizer) -> dict[str, Tensor]:
    """Moments named <parameter index>.<name>, split as their parameters are."""
    from torch.distributed.tensor import distribute_tensor

    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    split = {}
    for name, moment in moments.items():
        parameter = parameters[int(name.split(".")[0])]
        if moment.shape == parameter.shape:  # not the number of steps
            mesh, placements = parameter.device_mesh, parameter.placements
            moment = distribute_tensor(moment.to(parameter.device), mesh, placements)
        split[name] = moment
    return split
