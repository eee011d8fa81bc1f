"""Tensors in files that cannot execute anything: safetensors, with checksums."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from para.errors import CheckpointError
from para.files import not_a_file

Tensors = dict[str, Tensor]


def read_safetensors(path: Path | str) -> Tensors:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: It is no file, cut short, or of another kind (a pickle, say).
    """
    path = Path(path)
    if reason := not_a_file(path):
        raise CheckpointError(f"{path} {reason}.")
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        # safetensors begins with the length of its header, which may look like a pickle's magic
        # bytes (one in 32 ends in 0x80); then comes the header's brace
        if start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
            raise CheckpointError(
                f"{path} is a pickle (torch.save) file, not safetensors. Loading a pickle can run "
                "any code, so PARA never does. Convert it where you trust it: "
                "safetensors.torch.save_file(state_dict, path)."
            )
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file ({path.stat().st_size} bytes): {error}."
        ) from error


def read_finite(path: Path | str) -> Tensors:
    """`read_safetensors` of a file of ours: no number in it is NaN or infinite.

    Raises:
        CheckpointError: See there; or names the tensor that is not finite.
    """
    tensors = read_safetensors(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path} is damaged: {name} holds NaN or infinity. Train again with fresh=true."
            )
    return tensors


def save_tensors(tensors: Tensors, path: Path) -> None:
    """Write contiguous copies on the CPU that share no memory, as safetensors wants them."""
    plain = {k: t.detach().to("cpu", copy=True).contiguous() for k, t in tensors.items()}
    try:
        save_file(plain, path)
    except SafetensorError as error:  # it wraps what the operating system says
        number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise OSError(number, str(error), str(path)) from error
    path.chmod(0o644)  # safetensors makes files that only their owner can read


def checksum_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
