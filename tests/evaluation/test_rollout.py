"""Lock-step rollouts: what is executed, when they end, and the expert on every split."""

from dataclasses import replace

import numpy as np
import pytest

from envs.base import TASKS, EnvConfig, load_task
from envs.splits import load_split, split_names, test_conditions
from para.cli import load_config
from para.errors import CheckpointError, ConfigError
from para.evaluation.config import EvalConfig
from para.evaluation.oracle import Oracle
from para.evaluation.rollout import WAIT_STEPS, rollout
from para.types import ActionChunk, Inference

SMALL = EnvConfig(image_size=32)
TASK = load_task("bowl_on_plate")
CONDITION = TASK.place([np.array((0.02, 0.03))], "together")


class Fixed:
    """Predicts the same waypoints, always."""

    def __init__(self, positions, gripper=1.0):
        self.chunk = ActionChunk(np.array(positions, float), np.full(len(positions), gripper))
        self.batches = []

    def predict(self, observations, dtype=None):
        self.batches.append(len(observations))
        return [self.chunk] * len(observations)


class Log:
    """Remembers what a recorder is told."""

    def __init__(self):
        self.events, self.steps = [], 0

    def start(self, env):
        self.events.append("start")

    def plan(self, observation, chunk):
        self.events.append("plan")

    def waypoint(self, k):
        self.events.append(k)

    def step(self, env):
        self.steps += 1
        assert env.steps == self.steps


@pytest.fixture(scope="module")
def envs():
    return [TASK.environment("hand", "together", SMALL) for _ in range(4)]


def _env(max_steps):
    config = EnvConfig(image_size=32, max_steps=max_steps)
    return TASK.environment("hand", "together", config)


def test_only_the_first_waypoints_are_executed_and_the_recorder_sees_every_step():
    env, log = _env(max_steps=60), Log()
    positions = [env.ee_position + np.array([0, 0.02 * (-1) ** k, 0]) for k in range(6)]
    (outcome,) = rollout(Fixed(positions), [env], [CONDITION], Inference(execute=2), {0: log})
    assert log.events[:7] == ["start", "plan", 0, 1, "plan", 0, 1]
    assert set(log.events) == {"start", "plan", 0, 1}
    assert log.events.count("plan") == outcome["plans"]
    assert log.steps == outcome["steps"] == 60
    assert (outcome["stage"], outcome["success"]) == ("MISS", False)
    assert outcome["place_error_m"] == pytest.approx(0.18, abs=0.005)
    assert outcome["objects"]["bowl"][:2] == pytest.approx([0.02, 0.12], abs=0.003)


def test_a_policy_that_wants_to_stay_uses_up_its_steps():
    env = _env(max_steps=4 * WAIT_STEPS)
    stay = Fixed([env.ee_position] * 4)
    (outcome,) = rollout(stay, [env], [CONDITION], Inference(execute=4))
    assert outcome["steps"] == 4 * WAIT_STEPS
    assert outcome["plans"] <= 5


def test_finished_episodes_leave_the_batch():
    envs = [_env(max_steps=n) for n in (20, 60, 60)]
    policy = Fixed([[0.1, 0.2, 0.2], [-0.1, -0.2, 0.3]])
    outcomes = rollout(policy, envs, [CONDITION] * 3, Inference(execute=1))
    assert [outcome["steps"] for outcome in outcomes] == [20, 60, 60]
    assert policy.batches[0] == 3
    assert policy.batches[-1] == 2


@pytest.mark.parametrize("where", ["positions", "gripper"])
def test_nan_is_an_error_and_not_a_failed_episode(where):
    policy = Fixed([[0.0, 0.0, 0.2]])
    getattr(policy.chunk, where)[0] = np.nan
    with pytest.raises(CheckpointError, match="NaN"):
        rollout(policy, [_env(max_steps=20)], [CONDITION], Inference(execute=1))


def _missing(positions, missed):
    """A policy some of whose pixels meet no table."""
    policy = Fixed(positions)
    policy.chunk.positions[missed] = np.nan
    policy.chunk = replace(policy.chunk, pixels=np.full((len(positions), 2), 5.0))
    return policy


def test_a_plan_with_a_miss_holds_still_and_is_counted():
    env, log = _env(max_steps=4 * WAIT_STEPS), Log()
    start = env.ee_position
    policy = _missing([start + np.array([0.0, 0.1, 0.0])] * 3, missed=[1])
    (outcome,) = rollout(policy, [env], [CONDITION], Inference(execute=2), {0: log})
    assert np.allclose(env.ee_position, start, atol=2e-3)
    assert (outcome["plans"], outcome["misses"], outcome["steps"]) == (4, 4, 4 * WAIT_STEPS)
    assert log.events == ["start", *["plan"] * 4]
    assert log.steps == outcome["steps"]


def test_a_miss_that_is_not_executed_harms_nobody():
    env = _env(max_steps=60)
    start = env.ee_position
    policy = _missing([start + np.array([0.0, 0.05, 0.0])] * 3, missed=[2])
    (outcome,) = rollout(policy, [env], [CONDITION], Inference(execute=2))
    assert outcome["misses"] == 0
    assert np.allclose(env.ee_position, start + np.array([0.0, 0.05, 0.0]), atol=5e-3)


def test_nan_beside_a_miss_is_still_a_broken_policy():
    policy = _missing([[0.0, 0.0, 0.2]] * 2, missed=[0])
    policy.chunk.pixels[0] = np.nan
    with pytest.raises(CheckpointError, match="NaN"):
        rollout(policy, [_env(max_steps=20)], [CONDITION], Inference(execute=1))


def test_the_same_chunk_gives_the_same_numbers_whatever_ran_before(envs):
    conditions = test_conditions(load_split("distractor"), "ood", TASK, episodes=3)

    def outcomes(chosen, robots):
        runs = rollout(Oracle(robots), robots, chosen, Inference(execute=4))
        return [{k: v for k, v in run.items() if k != "seconds"} for run in runs]

    first = outcomes(conditions, envs)
    rollout(Fixed([[0.1, 0.1, 0.02]]), envs, [CONDITION] * 2, Inference(execute=1))
    assert outcomes(conditions, list(reversed(envs))) == first
    assert outcomes(conditions[::-1], envs) == first[::-1]


@pytest.mark.long
@pytest.mark.parametrize("layout", ["together", "independent"])
def test_the_expert_solves_every_split(envs, layout):
    """What the servo and the budget allow: nearly every start of every test."""
    failed = []
    for name in split_names(TASK):
        split = load_split(name)
        conditions = test_conditions(split, "ood", TASK, layout, episodes=2)
        conditions += test_conditions(split, "sanity", TASK, layout, episodes=2)
        for condition, run in zip(
            conditions, rollout(Oracle(envs), envs, conditions, Inference(execute=4)), strict=True
        ):
            if not run["success"]:
                failed.append((name, condition, run["stage"]))
    assert not failed


def test_the_expert_succeeds_with_the_arm():
    envs = [TASK.environment("panda", "together", SMALL) for _ in range(8)]
    conditions = test_conditions(load_split("vp_default_to_all"), "ood", TASK, episodes=8)
    runs = rollout(Oracle(envs), envs, conditions, Inference(execute=4))
    assert [run["stage"] for run in runs] == ["PLACE"] * 8
    assert all(run["place_error_m"] < 0.045 and run["steps"] < 300 for run in runs)


@pytest.mark.parametrize("name", TASKS.options())
def test_plans_are_averaged_where_the_task_turns_the_hand(name):
    turns = load_task(name).turns
    said = [f"task={name}", *(["split=libero_id"] if name.startswith("libero") else [])]
    asked = load_config(EvalConfig, said).inference
    assert asked == (Inference(execute=1, ensemble=True) if turns else Inference())
    said += ["execute=4", "ensemble=false"]
    assert load_config(EvalConfig, said).inference == Inference()


@pytest.mark.parametrize("name", [name for name in TASKS.options() if load_task(name).turns])
def test_predicted_rotations_are_executed_where_the_task_turns_the_hand(name):
    task = load_task(name)
    env = task.environment("hand", task.layouts[0], EnvConfig(image_size=32))
    (outcome,) = rollout(Oracle([env]), [env], [task.grid(100)], Inference())
    assert outcome["success"]
    straight = Fixed([np.array([0.0, 0.0, 0.2])] * 4)
    with pytest.raises(ConfigError, match="predicts no rotation"):
        rollout(straight, [env], [task.grid(100)], Inference())
