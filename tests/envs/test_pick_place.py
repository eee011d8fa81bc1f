"""The environment: Gymnasium's contract, determinism, outcomes, shared worlds."""

import hashlib
import json
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.base import EnvConfig
from envs.condition import Condition, grid_condition, place_pair, random_condition
from envs.table.expert import run_expert
from envs.pick_place import PickPlaceEnv
from envs.table.workspace import EE_HIGH, EE_LOW, GRASP_OFFSET, RELEASE_OFFSET
from para.errors import ConfigError, UnknownNameError

ROBOTS = ("panda", "hand")
IDS = {"panda": "envs:para/PickPlacePanda-v0", "hand": "envs:para/PickPlaceHand-v0"}


@pytest.fixture(scope="module", params=ROBOTS)
def env(request):
    return PickPlaceEnv(request.param, image_size=64)


def _state(env):
    return np.concatenate([env.data.qpos, env.data.qvel, env.data.ctrl, [env.data.time]])


def _episode(env, condition, steps=60):
    """A short scripted episode; returns a digest of every state and of the last picture."""
    env.begin(condition)
    digest = hashlib.sha256()
    for k in range(steps):
        goal = [condition.bowl[0], condition.bowl[1] - 0.047, 0.02 + 0.1 * (k < 20)]
        env.control_step(np.array(goal), float(k < 40))
        digest.update(_state(env).tobytes())
    digest.update(env.frame().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("robot", ROBOTS)
def test_passes_gymnasiums_own_checker(robot):
    env = gymnasium.make(IDS[robot], image_size=48)
    check_env(env.unwrapped, skip_render_check=False)


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
    condition = grid_condition(37, distractors=3, seed=5)
    fresh = _episode(PickPlaceEnv(env.robot, image_size=64), condition)
    _episode(env, grid_condition(200, "independent", distractors=5, seed=1), steps=31)
    env.reset(seed=3)
    run_expert(env)
    env.frame("beauty", 96)
    assert _episode(env, condition) == fresh
    assert _episode(env, grid_condition(38)) != fresh


@pytest.mark.slow
def test_an_episode_is_identical_in_another_process(env):
    condition = grid_condition(37, distractors=3, seed=5)
    code = (
        "import sys, json; sys.path[:0] = json.loads(sys.argv[1])\n"
        "from tests.envs.test_pick_place import Condition, PickPlaceEnv, _episode\n"
        f"print(_episode(PickPlaceEnv({env.robot!r}, image_size=64), "
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
        return lambda: gymnasium.make(IDS["hand"], image_size=32)

    actions = np.tile(np.array([0.0, 0.0, 0.2, 1.0], np.float32), (2, 1))
    single = PickPlaceEnv("hand", image_size=32)
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
    env.begin(grid_condition(0))
    env.frame()
    start = time.process_time()
    others = [PickPlaceEnv(env.robot, image_size=64) for _ in range(4)]
    assert (time.process_time() - start) / 4 < 0.05
    for other in others:
        assert other.world is env.world
        assert other.data is not env.data
    env.begin(grid_condition(0))
    others[0].begin(grid_condition(255))
    run_expert(others[0])
    assert env.steps == 0
    assert np.allclose(env.bowl_pose[:2], env.condition.bowl, atol=1e-3)


def test_stages_follow_an_episode(env):
    env.begin(grid_condition(119))
    seen = []
    assert run_expert(env, on_step=lambda e: seen.append(e.stage))
    stages = list(dict.fromkeys(seen))
    assert stages == ["MISS", "GRASP", "PLACE"]
    assert env.done
    assert env.place_error < 0.03
    assert env.bowl_pose[2] == pytest.approx(0.005, abs=0.002)  # on the plate's well


def test_a_bowl_that_is_dropped_beside_the_plate_was_grasped_not_placed(env):
    condition = grid_condition(119)
    env.begin(condition)
    grasp = np.array([condition.bowl[0], condition.bowl[1] - 0.047, 0.02])
    for height, gripper in ((0.1, 1), (0, 1), (0, 0), (0.1, 0), (0.02, 0), (0.02, 1), (0.1, 1)):
        env.servo_to(grasp + np.array([0, 0, height]), gripper)
    assert env.stage == "GRASP"
    assert not env.success


def test_a_bowl_that_is_pushed_is_a_miss(env):
    condition = grid_condition(119)
    env.begin(condition)
    env.servo_to([condition.bowl[0], condition.bowl[1] + 0.15, 0.02], 0)
    env.servo_to([condition.bowl[0], condition.bowl[1] + 0.03, 0.02], 0)
    assert np.hypot(*(env.bowl_pose[:2] - condition.bowl)) > 0.01
    assert env.stage == "MISS"


def test_a_held_bowl_over_the_plate_is_not_placed(env):
    condition = grid_condition(119)
    env.begin(condition)
    grasp, release = condition.bowl + GRASP_OFFSET, condition.plate + RELEASE_OFFSET
    for xy, z, gripper in (
        (grasp, 0.12, 1), (grasp, 0.02, 1), (grasp, 0.02, 0), (grasp, 0.12, 0),
        (release, 0.12, 0), (release, 0.03, 0),
    ):  # fmt: skip
        env.servo_to([*xy, z], gripper)
    for _ in range(20):
        env.control_step(np.array([*release, 0.03]), 0.0)
    assert env.place_error < 0.045
    assert env.stage == "GRASP"


def test_servo_reaches_waypoints_and_settles_the_gripper(env):
    env.begin(grid_condition(0))
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
    env.begin(grid_condition(0))
    used = env.servo_to([5.0, 5.0, -3.0], 1.0)
    assert used < 200
    assert (env.ee_position > EE_LOW - 0.02).all()
    assert (env.ee_position < EE_HIGH + 0.02).all()
    short = PickPlaceEnv(env.robot, config=EnvConfig(max_steps=30, image_size=64))
    short.begin(grid_condition(0))
    assert short.servo_to([0.2, 0.3, 0.1], 1.0) == 30
    assert short.done
    assert short.servo_to([0.2, 0.3, 0.1], 0.0) == 0


def test_step_reports_truncation_and_termination():
    env = PickPlaceEnv("hand", config=EnvConfig(max_steps=3, image_size=32))
    env.reset(seed=0)
    action = np.array([0, 0, 0.2, 1], np.float32)
    results = [env.step(action)[2:4] for _ in range(3)]
    assert results == [(False, False), (False, False), (False, True)]
    env = PickPlaceEnv("hand", image_size=32)
    env.begin(grid_condition(119))
    assert run_expert(env)
    _, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated, info["stage"]) == (1.0, True, False, "PLACE")


def test_observation_is_that_of_the_camera(env):
    """The bowl's red pixels end where its projected rim does."""
    big = PickPlaceEnv(env.robot, image_size=400)
    for theta, phi in ((0, 0), (25, 90), (18, 225)):
        big.begin(grid_condition(119, theta_deg=theta, phi_deg=phi))
        observation = big.observe()
        red = observation.image.astype(int)
        red = (red[..., 0] > 60) & (red[..., 0] > 2.5 * red[..., 1])
        v, u = np.nonzero(red)
        angle = np.linspace(0, 2 * np.pi, 200)
        rim = np.stack([0.056 * np.cos(angle), 0.056 * np.sin(angle), 0.046 + 0 * angle], -1)
        pixels, _ = observation.camera.project(rim + big.bowl_pose[:3])
        assert abs(u.min() - pixels[:, 0].min()) < 1.5
        assert abs(u.max() + 1 - pixels[:, 0].max()) < 1.5
        assert abs(v.min() - pixels[:, 1].min()) < 1.5
        assert np.array_equal(observation.ee_position, big.ee_position)


def test_unknown_names_and_bad_conditions_are_refused():
    with pytest.raises(UnknownNameError, match="panda"):
        PickPlaceEnv("pandda")
    with pytest.raises(UnknownNameError, match="together"):
        PickPlaceEnv("hand", layout="apart")
    env = PickPlaceEnv("hand", image_size=32)
    with pytest.raises(ConfigError, match="Condition"):
        env.reset(options={"condition": {"bowl": (0, 0)}})
    with pytest.raises(ConfigError, match="touch"):
        Condition((0.0, 0.0), (0.1, 0.0))


def test_conditions_survive_json():
    condition = random_condition(np.random.default_rng(1), "independent", distractors=2, seed=9)
    assert Condition.from_dict(json.loads(json.dumps(condition.to_dict()))) == condition
    pair = place_pair((0.1, -0.2), theta_deg=25.0)
    assert pair.position == pytest.approx((0.1, -0.2))
