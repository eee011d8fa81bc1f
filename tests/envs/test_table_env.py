"""The environment: Gymnasium's contract, determinism, outcomes, shared worlds."""

import dataclasses
import hashlib
import json
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs import gymnasium_id
from envs.base import Condition, EnvConfig, load_task
from envs.table.env import TableEnv
from envs.table.expert import run_expert
from envs.table.legacy import convert_condition
from envs.table.task import table_tasks
from envs.table.tasks.bowl_on_plate import GRASP_OFFSET, RELEASE_OFFSET
from envs.table.workspace import EE_HIGH, EE_LOW
from para.errors import ConfigError, UnknownNameError

TASK = load_task("bowl_on_plate")
EVERY = [(name, robot) for name in table_tasks() for robot in load_task(name).robots]
"""All tasks with all of their robots."""


@pytest.fixture(scope="module", params=TASK.robots)
def env(request):
    return TableEnv(TASK, request.param, image_size=64)


def _state(env):
    return np.concatenate([env.data.qpos, env.data.qvel, env.data.ctrl, [env.data.time]])


def _bowl(env):
    return env.objects()["bowl"]


def _episode(env, condition, steps=60):
    """A short scripted episode; returns a digest of every state and of the last picture."""
    env.begin(condition)
    digest = hashlib.sha256()
    for k in range(steps):
        goal = [*(condition.at("bowl") + GRASP_OFFSET), 0.02 + 0.1 * (k < 20)]
        env.control_step(np.array(goal), float(k < 40))
        digest.update(_state(env).tobytes())
    digest.update(env.frame().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize(("task", "robot"), EVERY)
def test_passes_gymnasiums_own_checker(task, robot):
    env = gymnasium.make(gymnasium_id(task, robot), image_size=48)
    assert (env.unwrapped.task.cfg.name, env.unwrapped.robot) == (task, robot)
    check_env(env.unwrapped, skip_render_check=False)


@pytest.mark.parametrize("name", table_tasks())
def test_every_task_is_complete_and_its_expert_does_it(name):
    task = load_task(name)
    assert task.title
    assert task.description.endswith(".")
    assert len({stage.name for stage in task.stages}) == len(task.stages) >= 2
    for layout in task.layouts:
        env = task.environment("hand", layout, EnvConfig(image_size=32))
        condition = task.grid(100, layout)
        env.begin(condition)
        assert env.outcome.stage == task.stages[0].name
        assert set(env.outcome.metrics) == {metric.name for metric in task.metrics}
        assert env.observe().instruction == task.instruct(condition)
        poses = env.objects()
        assert list(poses) == [item.name for item in task.objects] == list(condition.objects)
        for object_name, pose in poses.items():
            assert np.allclose(pose, condition.poses()[object_name], atol=2e-3)
        assert run_expert(env)
        assert env.outcome.stage == task.stages[-1].name


@pytest.mark.parametrize("name", table_tasks())
def test_a_yaw_turns_the_object(name):
    task = load_task(name)
    start = task.grid(100)
    turned = {key: (x, y, 0.7) for key, (x, y, _) in start.objects.items()}
    env = task.environment("hand", task.layouts[0], EnvConfig(image_size=32))
    env.begin(dataclasses.replace(start, objects=turned))
    for pose in env.objects().values():
        assert 2 * np.arctan2(pose[6], pose[3]) == pytest.approx(0.7, abs=0.01)


def test_any_task_has_one_id():
    env = gymnasium.make("para/Table-v0", task="bowl_on_plate", robot="hand", image_size=32)
    assert env.unwrapped.task.cfg.name == "bowl_on_plate"
    with pytest.raises(UnknownNameError, match="bowl_on_plate"):
        gymnasium.make("para/Table-v0", task="bowl_on_plat")


def test_the_same_seed_gives_the_same_reset(env):
    first, info = env.reset(seed=7)
    condition = env.condition
    assert info == {
        "stage": "MISS",
        "is_success": False,
        "place_error_m": pytest.approx(0.18, abs=1e-3),
        "steps": 0,
    }
    env.reset(seed=8)
    assert env.condition != condition
    again, _ = env.reset(seed=7)
    assert env.condition == condition
    assert all(np.array_equal(first[key], again[key]) for key in first)


def test_an_episode_is_identical_whatever_ran_before(env):
    condition = TASK.grid(37, distractors=3, seed=5)
    fresh = _episode(TableEnv(TASK, env.robot, image_size=64), condition)
    _episode(env, TASK.grid(200, "independent", distractors=5, seed=1), steps=31)
    env.reset(seed=3)
    run_expert(env)
    env.frame("beauty", 96)
    assert _episode(env, condition) == fresh
    assert _episode(env, TASK.grid(38)) != fresh


@pytest.mark.slow
def test_an_episode_is_identical_in_another_process(env):
    condition = TASK.grid(37, distractors=3, seed=5)
    code = (
        "import sys, json; sys.path[:0] = json.loads(sys.argv[1])\n"
        "from tests.envs.test_table_env import TASK, Condition, TableEnv, _episode\n"
        f"print(_episode(TableEnv(TASK, {env.robot!r}, image_size=64), "
        f"Condition.from_dict({condition.to_dict()!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([p for p in sys.path if p] + ["."])],
        capture_output=True, text=True, timeout=250, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == _episode(env, condition)
    assert done.stderr.strip() == ""  # nor does OpenGL complain when the interpreter exits


@pytest.mark.slow
def test_vector_environments_agree_with_a_single_one():
    def make(index):
        return lambda: gymnasium.make(f"envs:{gymnasium_id(TASK.cfg.name, 'hand')}", image_size=32)

    actions = np.tile(np.array([0.0, 0.0, 0.2, 1.0], np.float32), (2, 1))
    single = TableEnv(TASK, "hand", image_size=32)
    single.reset(seed=11)
    for _ in range(3):
        expected = single.step(actions[0])[0]
    for vector in (
        gymnasium.vector.SyncVectorEnv([make(0), make(1)]),
        gymnasium.vector.AsyncVectorEnv([make(0), make(1)], context="spawn"),
    ):
        vector.reset(seed=[11, 12])
        for _ in range(3):
            observations = vector.step(actions)[0]
        vector.close()
        assert observations["image"].shape == (2, 32, 32, 3)
        for key, value in expected.items():
            assert np.array_equal(observations[key][0], value), key
        assert not np.array_equal(observations["image"][0], observations["image"][1])


def test_environments_share_the_model_and_the_renderer(env):
    env.begin(TASK.grid(0))
    env.frame()
    start = time.process_time()
    others = [TableEnv(TASK, env.robot, image_size=64) for _ in range(4)]
    assert (time.process_time() - start) / 4 < 0.05
    for other in others:
        assert other.world is env.world
        assert other.data is not env.data
    env.begin(TASK.grid(0))
    others[0].begin(TASK.grid(255))
    run_expert(others[0])
    assert env.steps == 0
    assert np.allclose(_bowl(env)[:2], env.condition.at("bowl"), atol=1e-3)


def test_stages_follow_an_episode(env):
    env.begin(TASK.grid(119))
    seen = []
    assert run_expert(env, on_step=lambda e: seen.append(e.outcome.stage))
    stages = list(dict.fromkeys(seen))
    assert stages == ["MISS", "GRASP", "PLACE"]
    assert env.done
    assert env.outcome.metrics["place_error_m"] < 0.03
    assert _bowl(env)[2] == pytest.approx(0.005, abs=0.002)  # on the plate's well


def test_a_bowl_that_is_dropped_beside_the_plate_was_grasped_not_placed(env):
    condition = TASK.grid(119)
    env.begin(condition)
    grasp = np.array([*(condition.at("bowl") + GRASP_OFFSET), 0.02])
    for height, gripper in ((0.1, 1), (0, 1), (0, 0), (0.1, 0), (0.02, 0), (0.02, 1), (0.1, 1)):
        env.servo_to(grasp + np.array([0, 0, height]), gripper)
    assert env.outcome.stage == "GRASP"
    assert not env.outcome.success


def test_a_bowl_that_is_pushed_is_a_miss(env):
    condition = TASK.grid(119)
    env.begin(condition)
    env.servo_to([*(condition.at("bowl") + np.array([0, 0.15])), 0.02], 0)
    env.servo_to([*(condition.at("bowl") + np.array([0, 0.03])), 0.02], 0)
    assert np.hypot(*(_bowl(env)[:2] - condition.at("bowl"))) > 0.01
    assert env.outcome.stage == "MISS"


def test_a_held_bowl_over_the_plate_is_not_placed(env):
    condition = TASK.grid(119)
    env.begin(condition)
    grasp = condition.at("bowl") + GRASP_OFFSET
    release = condition.at("plate") + RELEASE_OFFSET
    for xy, z, gripper in (
        (grasp, 0.12, 1), (grasp, 0.02, 1), (grasp, 0.02, 0), (grasp, 0.12, 0),
        (release, 0.12, 0), (release, 0.03, 0),
    ):  # fmt: skip
        env.servo_to([*xy, z], gripper)
    for _ in range(20):
        env.control_step(np.array([*release, 0.03]), 0.0)
    assert env.outcome.metrics["place_error_m"] < 0.045
    assert env.outcome.stage == "GRASP"


def test_servo_reaches_waypoints_and_settles_the_gripper(env):
    env.begin(TASK.grid(0))
    goal = np.array([0.1, 0.1, 0.2])
    seen = []
    used = env.servo_to(goal, 0.0, on_step=lambda e: seen.append(e.steps))
    assert seen == list(range(1, used + 1))
    assert np.linalg.norm(env.ee_position - goal) < 0.006
    assert env.gripper < 0.05
    assert np.abs(env.data.qvel[env.world.finger_qvel]).max() < 0.005
    assert env.servo_to(goal, 0.2) == 0  # already there, and 0.2 is still closed
    assert env.servo_to(goal, 0.9) > 5
    assert env.gripper > 0.95


def test_servo_gives_up_on_what_it_cannot_reach_and_respects_the_budget(env):
    env.begin(TASK.grid(0))
    used = env.servo_to([5.0, 5.0, -3.0], 1.0)
    assert used < 200
    assert (env.ee_position > EE_LOW - 0.02).all()
    assert (env.ee_position < EE_HIGH + 0.02).all()
    short = TableEnv(TASK, env.robot, config=EnvConfig(max_steps=30, image_size=64))
    short.begin(TASK.grid(0))
    assert short.servo_to([0.2, 0.3, 0.1], 1.0) == 30
    assert short.done
    assert short.servo_to([0.2, 0.3, 0.1], 0.0) == 0


def test_what_is_no_place_is_refused_and_moves_nothing(env):
    env.begin(TASK.grid(0))
    before = _state(env)
    for nowhere in ([np.nan] * 3, [0.0, np.inf, 0.2]):
        for go in (env.servo_to, env.control_step):
            with pytest.raises(ConfigError, match="that is no place"):
                go(nowhere, 1.0)
    assert np.array_equal(_state(env), before)


def test_step_reports_truncation_and_termination():
    env = TableEnv(TASK, "hand", config=EnvConfig(max_steps=3, image_size=32))
    env.reset(seed=0)
    action = np.array([0, 0, 0.2, 1], np.float32)
    results = [env.step(action)[2:4] for _ in range(3)]
    assert results == [(False, False), (False, False), (False, True)]
    env = TableEnv(TASK, "hand", image_size=32)
    env.begin(TASK.grid(119))
    assert run_expert(env)
    _, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated, info["stage"]) == (1.0, True, False, "PLACE")


def test_observation_is_that_of_the_camera(env):
    """The bowl's red pixels end where its projected rim does."""
    big = TableEnv(TASK, env.robot, image_size=400)
    for theta, phi in ((0, 0), (25, 90), (18, 225)):
        big.begin(TASK.grid(119, theta_deg=theta, phi_deg=phi))
        observation = big.observe()
        red = observation.image.astype(int)
        red = (red[..., 0] > 60) & (red[..., 0] > 2.5 * red[..., 1])
        v, u = np.nonzero(red)
        angle = np.linspace(0, 2 * np.pi, 200)
        rim = np.stack([0.056 * np.cos(angle), 0.056 * np.sin(angle), 0.046 + 0 * angle], -1)
        pixels, _ = observation.camera.project(rim + _bowl(big)[:3])
        assert abs(u.min() - pixels[:, 0].min()) < 1.5
        assert abs(u.max() + 1 - pixels[:, 0].max()) < 1.5
        assert abs(v.min() - pixels[:, 1].min()) < 1.5
        assert np.array_equal(observation.ee_position, big.ee_position)


def test_unknown_names_and_bad_conditions_are_refused():
    with pytest.raises(UnknownNameError, match="panda"):
        TableEnv(TASK, "pandda")
    with pytest.raises(UnknownNameError, match="together"):
        TableEnv(TASK, "hand", layout="apart")
    env = TableEnv(TASK, "hand", image_size=32)
    with pytest.raises(ConfigError, match="Condition"):
        env.reset(options={"condition": {"bowl": (0, 0)}})
    touching = {"bowl": (0.0, 0.0, 0.0), "plate": (0.1, 0.0, 0.0)}
    with pytest.raises(ConfigError, match="touch"):
        env.begin(Condition("bowl_on_plate", touching))
    with pytest.raises(ConfigError, match="places bowl, plate; this one is of pour"):
        env.begin(Condition("pour", touching))
    with pytest.raises(ConfigError, match="has the keys"):
        Condition.from_dict({"bowl": [0, 0], "plate": [0.2, 0]})


def test_conditions_survive_json():
    condition = TASK.random(np.random.default_rng(1), "independent", distractors=2, seed=9)
    plain = json.loads(json.dumps(condition.to_dict()))
    assert plain == condition.to_dict()
    assert Condition.from_dict(plain) == condition
    assert Condition.from_dict(plain | {"position": condition.position}) == condition
    assert hash(Condition.from_dict(plain)) == hash(condition)
    pair = TASK.place([np.array((0.1, -0.2))], "together", theta_deg=25.0)
    assert pair.position == pytest.approx((0.1, -0.2))


def test_conditions_of_old_files_are_converted():
    old = {"bowl": [0.1, 0.09], "plate": [0.1, -0.09], "theta_deg": 25.0, "phi_deg": 45.0}
    old |= {"distractors": 2, "seed": 7, "position": [0.1, 0.0]}
    condition = Condition.from_dict(convert_condition(old))
    view = {"theta_deg": 25.0, "phi_deg": 45.0, "distractors": 2, "seed": 7}
    assert condition == TASK.place([np.array((0.1, 0.0))], "together", **view)
    assert convert_condition(condition.to_dict()) == condition.to_dict()
