"""The hand turns where a task needs it: the servo, and which half turn it takes."""

import numpy as np
import pytest

from envs.base import EnvConfig, load_task
from envs.table.turning import TURN_TOLERANCE, YAW_LIMIT, same_grasp
from para.errors import ConfigError

TASK = load_task("stack_blocks")


@pytest.fixture(scope="module", params=TASK.robots)
def env(request):
    return TASK.environment(request.param, TASK.layouts[0], EnvConfig(image_size=32))


def test_the_servo_reaches_position_and_rotation(env):
    env.begin(TASK.grid(120))
    for goal, rotation in (
        ([0.0, 0.0, 0.20], [0.0, 0.0, 0.7]),
        ([0.1, -0.1, 0.15], [0.0, 0.0, -0.6]),
        ([0.1, -0.1, 0.15], [0.15, -0.2, 0.3]),
    ):
        env.servo_to(goal, 1.0, rotation=rotation)
        assert np.linalg.norm(env.ee_position - goal) < 0.006
        assert np.abs(env.ee_rotation - rotation).max() < TURN_TOLERANCE


def test_a_rotation_that_is_not_given_stays(env):
    env.begin(TASK.grid(120))
    assert env.target_rotation.tolist() == [0.0, 0.0, 0.0]
    env.servo_to([0.0, 0.0, 0.2], 1.0, rotation=[0.0, 0.0, 0.5])
    env.servo_to([0.0, 0.1, 0.2], 1.0)
    assert env.ee_rotation[2] == pytest.approx(0.5, abs=0.05)
    env.begin(TASK.grid(120))
    assert env.ee_rotation == pytest.approx([0.0, 0.0, 0.0], abs=0.02)


def test_tasks_that_do_not_turn_ignore_rotations():
    task = load_task("bowl_on_plate")
    env = task.environment("panda", "together", EnvConfig(image_size=32))
    states = []
    for rotation in (None, np.array([0.0, 0.0, 1.0])):
        env.begin(task.grid(100))
        for _ in range(20):
            env.control_step(np.array([0.0, 0.0, 0.2]), 1.0, rotation)
        states.append(env.data.qpos.copy())
    assert np.array_equal(*states)
    assert env.action_space.shape == (4,)


def test_half_a_turn_more_is_the_same_grasp():
    for yaw in np.linspace(-6, 6, 25):
        for current in np.linspace(-YAW_LIMIT, YAW_LIMIT, 9):
            roll, pitch, chosen = same_grasp(np.array([0.1, 0.2, yaw]), np.array([0, 0, current]))
            halves = (chosen - yaw) / np.pi
            assert halves == pytest.approx(round(halves))
            sign = -1 if round(halves) % 2 else 1
            assert (roll, pitch) == pytest.approx((0.1 * sign, 0.2 * sign))
            assert abs(chosen) <= YAW_LIMIT
            others = [chosen - np.pi, chosen + np.pi]
            assert all(
                abs(other) > YAW_LIMIT or abs(other - current) >= abs(chosen - current) - 1e-9
                for other in others
            )


def test_a_yaw_near_a_quarter_turn_may_change_a_little_without_a_turn_back():
    assert same_grasp(np.array([0, 0, -1.5]), np.array([0, 0, 1.5]))[2] == pytest.approx(
        np.pi - 1.5
    )


def test_what_is_no_rotation_is_refused(env):
    env.begin(TASK.grid(120))
    for bad in ([0.0, 0.0, np.nan], [0.5]):
        with pytest.raises(ConfigError, match="cannot turn to"):
            env.control_step(np.array([0.0, 0.0, 0.2]), 1.0, np.array(bad))
