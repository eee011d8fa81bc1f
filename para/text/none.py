"""No instruction: policies see the image and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from para.text.base import TEXTS, Text, TextConfig


@dataclass
class NoTextConfig(TextConfig):
    """configs/text/none.yaml"""

    hears: ClassVar[bool] = False

    kind: str = "none"


@TEXTS.register("none", NoTextConfig)
class NoText(Text):
    """All instructions are the same to it."""

    channels = 0

    def features(self, instructions: Sequence[str]) -> Tensor:
        """See `Text`."""
        return torch.zeros(len(instructions), 0)
