"""Seeds of everything that is random in training.

What happens in batch number n of a run with seed s depends on (s, n) alone, whoever computes it and
whatever ran before: that is why a resumed run, or one with more processes, sees the same batches.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a seed is for; seeds of two purposes have nothing to do with each other."""

    ORDER = 0
    """Order of the samples; numbered by epoch."""
    AUGMENTATION = 1
    """Augmentation; numbered by batch."""
    FORWARD = 2
    """What is drawn in the forward pass (dropout, noise); numbered by batch."""


def generator(seed: int, purpose: Purpose, number: int) -> np.random.Generator:
    """A generator for one purpose and one epoch or batch of a run with `seed`."""
    return np.random.default_rng(_sequence(seed, purpose, number))


def torch_seed(seed: int, purpose: Purpose, number: int) -> int:
    """The same as a seed for torch: an integer below 2**63."""
    return int(_sequence(seed, purpose, number).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _sequence(seed: int, purpose: Purpose, number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, int(purpose), number])
