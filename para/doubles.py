"""64-bit floats, which not every accelerator has (Apple's do not): made on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def double_on_cpu(tensor: Tensor) -> Tensor:
    """The tensor on the CPU in 64 bits; moved before it is widened."""
    return tensor.cpu().double()


def doubles_of(array: np.ndarray) -> Tensor:
    """An array as a tensor on the CPU in 64 bits."""
    return torch.from_numpy(array).double()


def double_array(tensor: Tensor) -> np.ndarray:
    """As `double_on_cpu`, as a NumPy array."""
    return double_on_cpu(tensor).numpy()
