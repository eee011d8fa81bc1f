"""Seeds of a run: published policies depend on them, so they never change."""

from __future__ import annotations

import numpy as np

from para.seeds import Purpose, generator, torch_seed


def test_seeds_are_what_they_always_were():
    order = generator(3, Purpose.ORDER, 5).permutation(20)
    np.testing.assert_array_equal(order, np.random.default_rng([3, 0, 5]).permutation(20))
    for purpose, number in ((Purpose.AUGMENTATION, 1), (Purpose.FORWARD, 2)):
        (state,) = np.random.SeedSequence([7, number, 11]).generate_state(1, np.uint64)
        assert torch_seed(7, purpose, 11) == int(state) >> 1


def test_every_purpose_and_moment_has_a_seed_of_its_own():
    seeds = {
        torch_seed(seed, purpose, number)
        for seed in range(5)
        for purpose in Purpose
        for number in range(50)
    }
    assert len(seeds) == 5 * len(Purpose) * 50
