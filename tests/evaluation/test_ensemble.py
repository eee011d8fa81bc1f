"""Temporal ensembling: which predictions meet, with which weights."""

import numpy as np
import pytest

from envs.base import EnvConfig, load_task
from para.cli import load_config
from para.evaluation.config import EvalConfig
from para.evaluation.ensemble import DECAY, Ensemble
from para.evaluation.rollout import rollout
from para.types import ActionChunk, Inference


def chunk(values, gripper=1.0, pixels=None):
    """A plan along x."""
    positions = np.zeros((len(values), 3))
    positions[:, 0] = values
    return ActionChunk(positions, np.full(len(values), float(gripper)), pixels=pixels)


def test_predictions_of_the_same_waypoint_are_averaged_the_oldest_weighs_most():
    ensemble = Ensemble()
    np.testing.assert_array_equal(ensemble.mix(chunk([1, 2, 3, 4])).positions[:, 0], [1, 2, 3, 4])
    ensemble.advance(2)
    mixed = ensemble.mix(chunk([30, 40, 50, 60])).positions[:, 0]
    w = np.exp(-DECAY)
    np.testing.assert_allclose(mixed, [(3 + w * 30) / (1 + w), (4 + w * 40) / (1 + w), 50, 60])
    ensemble.advance(1)
    mixed = ensemble.mix(chunk([400, 500, 600, 700])).positions[:, 0]
    first = (4 + w * 40 + w**2 * 400) / (1 + w + w**2)
    np.testing.assert_allclose(
        mixed[:3], [first, (50 + w * 500) / (1 + w), (60 + w * 600) / (1 + w)]
    )
    ensemble.advance(4)
    np.testing.assert_array_equal(ensemble.mix(chunk([7, 8, 9, 9])).positions[:, 0], [7, 8, 9, 9])


def test_the_gripper_is_told_one_of_two_commands():
    ensemble = Ensemble()
    ensemble.mix(chunk([0, 0], gripper=1.0))
    mixed = ensemble.mix(chunk([0, 0], gripper=0.0))
    assert mixed.gripper.tolist() == [1.0, 1.0]  # one each, and the older weighs more
    mixed = ensemble.mix(chunk([0, 0], gripper=0.0))
    assert mixed.gripper.tolist() == [0.0, 0.0]


def test_a_waypoint_without_a_place_does_not_count():
    ensemble, pixels = Ensemble(), np.ones((3, 2))
    ensemble.mix(chunk([1, 2, np.nan], pixels=pixels))
    ensemble.advance(1)
    mixed = ensemble.mix(chunk([np.nan, np.nan, 5], pixels=pixels))
    assert mixed.missed.tolist() == [False, True, False]
    np.testing.assert_array_equal(mixed.positions[[0, 2], 0], [2, 5])


class Jumping:
    """Says "here" and "there" in turns, and remembers how it was asked."""

    def __init__(self, here, there):
        self.places, self.count = (here, there), 0

    def predict(self, observations, inference):
        positions = np.tile(self.places[self.count % 2], (4, 1))
        self.count += 1
        return [ActionChunk(positions, np.ones(4))] * len(observations)


class Plans:
    """A recorder that remembers where each plan begins, along y."""

    def __init__(self):
        self.begin = []

    def start(self, env):
        pass

    def plan(self, observation, chunk):
        self.begin.append(chunk.positions[0, 1])

    def waypoint(self, k):
        pass

    def step(self, env):
        pass


@pytest.mark.parametrize("ensemble", [False, True])
def test_an_evaluation_asks_for_it(ensemble):
    task = load_task("bowl_on_plate")
    condition = task.place([np.array((0.02, 0.03))], "together")
    env = task.environment("hand", "together", EnvConfig(image_size=32, max_steps=250))
    here = env.ee_position.copy()
    inference = load_config(EvalConfig, [f"ensemble={ensemble}", "execute=1"]).inference
    assert inference == Inference(execute=1, ensemble=ensemble)
    plans = Plans()
    rollout(Jumping(here, np.add(here, [0, 0.1, 0])), [env], [condition], inference, {0: plans})
    moved = np.array(plans.begin[:8]) - here[1]
    if not ensemble:
        np.testing.assert_allclose(moved, [0, 0.1] * 4, atol=1e-9)
    else:  # from the fourth on there are four, two of each
        np.testing.assert_allclose(moved[:3], [0, 0.05, 0.033], atol=1e-3)
        np.testing.assert_allclose(moved[3:], 0.05, atol=1e-3)
