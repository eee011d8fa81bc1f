"""A head: the factorised one, decoded to whole cells and bins only."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from para.heads import HEADS, Decoded
from para.heads.pixel import FactorisedConfig, FactorisedHead


@dataclass
class BluntConfig(FactorisedConfig):
    """configs/model/head/blunt.yaml"""

    kind: str = "blunt"


@HEADS.register("blunt", BluntConfig)
class BluntHead(FactorisedHead):
    """Never refines."""

    def decode(self, features: Tensor, *, subcell: bool) -> Decoded:
        """See `Head.decode`."""
        return super().decode(features, subcell=False)
