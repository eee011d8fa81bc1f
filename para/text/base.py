"""What every way to read instructions is: sentences in, one fixed row of numbers each out.

The numbers are a function of the words and the configuration alone. What is learned about them (an
embedding per word, a projection) belongs to the policy that is told them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from omegaconf import MISSING
from torch import Tensor

from para.fields import word
from para.registry import Registry


@dataclass
class TextConfig:
    """What every way to read instructions is told (configs/text)."""

    hears: ClassVar[bool] = True
    """Its policies are told the instruction."""

    name: str = word(MISSING)
    """Becomes part of the policy's name where it is not the usual one: para + clip is para_clip."""
    kind: str = MISSING
    """The registered component that reads the rest."""
    instructions: list[str] = field(default_factory=list)
    """Those of the demos; training sets it, not the user."""


class Text(ABC):
    """Turns instructions into features.

    Args:
        cfg: Its configuration, with the instructions of the demos.

    Attributes:
        channels: F, numbers per instruction.
    """

    channels: int

    def __init__(self, cfg: Any):
        self.cfg = cfg

    @abstractmethod
    def features(self, instructions: Sequence[str]) -> Tensor:
        """Features (N, F) float32 on the CPU, without gradients.

        Raises:
            UnknownNameError: It cannot read one of them; names those that it knows.
        """


TEXTS: Registry[type[Text]] = Registry("text", "text", packages=("para.text",))
"""Ways to read instructions by kind, with argument (cfg,)."""
USUAL = "table"
"""What policies are told instructions by where nothing else is said; their names do not tell it."""


def build_text(cfg: TextConfig | None) -> Text | None:
    """What `cfg` describes; None where nobody is told anything."""
    return TEXTS[cfg.kind](cfg) if cfg is not None and cfg.hears else None
