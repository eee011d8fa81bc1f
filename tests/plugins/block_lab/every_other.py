"""A split: every other grid position trains, the workspace tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.base import Condition
from envs.splits import SPLITS, Split, SplitConfig
from para.fields import number


@dataclass
class EveryOtherConfig(SplitConfig):
    """configs/split/every_other.yaml"""

    kind: str = "every_other"
    step: int = number(2, least=1)
    """Of the grid indices that train."""
    episodes: int = number(4, least=1)


@SPLITS.register("every_other", EveryOtherConfig)
class EveryOther(Split):
    """Trains on each `step`-th position of the grid."""

    cfg: EveryOtherConfig

    def training_indices(self) -> list[int]:
        """See `Split`."""
        return list(range(0, 256, self.cfg.step))

    def test_conditions(self, test: str, episodes: int | None = None) -> list[Condition]:
        """See `Split`."""
        rngs = (np.random.default_rng([i, len(test)]) for i in range(episodes or self.cfg.episodes))
        return [self.task.random(rng, self.layout) for rng in rngs]
