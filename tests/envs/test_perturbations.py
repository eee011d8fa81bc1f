"""What a level of a sweep does to image and told camera, and that no level does nothing."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from envs.base import EnvConfig, load_task
from envs.episodes import Condition
from envs.perturbations import KINDS, MISSED_HEIGHT, SWEEPS, first_grasp, latency_steps
from envs.table.expert import run_expert
from envs.table.task import table_tasks
from para.cli import load_config
from para.errors import ConfigError, UnknownNameError
from para.evaluation.config import EvalConfig
from para.evaluation.rollout import rollout
from para.fields import check
from para.types import ActionChunk, Inference

SIZE = 64
TASK = load_task("bowl_on_plate")
START = replace(TASK.grid(100, "together"), seed=5)


@pytest.fixture(scope="module")
def env():
    return TASK.environment("hand", "together", EnvConfig(image_size=SIZE))


def seen(env, steps=0, **perturbed):
    env.begin(replace(START, perturbed=perturbed))
    for _ in range(steps):
        env.control_step(env.target, 1.0)
    return env.observe()


def turned_by(a, b):
    relative = a.T_world_camera[:3, :3].T @ b.T_world_camera[:3, :3]
    return np.degrees(Rotation.from_matrix(relative).magnitude())


def shifted_by(a, b):
    return 1000 * np.linalg.norm(a.T_world_camera[:3, 3] - b.T_world_camera[:3, 3])


@pytest.mark.parametrize("name", KINDS)
def test_level_zero_is_the_undisturbed_episode_to_the_bit(env, name):
    config = EnvConfig()
    usual = {"fovy_deg": config.camera_fovy_deg, "distance_m": config.camera_distance, "light": 1.0}
    plain, zero = seen(env, steps=120), seen(env, steps=120, **{name: usual.get(name, 0.0)})
    np.testing.assert_array_equal(plain.image, zero.image)
    np.testing.assert_array_equal(plain.camera.intrinsics, zero.camera.intrinsics)
    np.testing.assert_array_equal(plain.camera.T_world_camera, zero.camera.T_world_camera)


def test_calibration_moves_what_is_told_and_not_what_is_seen(env):
    plain = seen(env)
    for level in (1.0, 4.0):
        wrong = seen(env, told_rotation_deg=level)
        np.testing.assert_array_equal(plain.image, wrong.image)
        assert turned_by(plain.camera, wrong.camera) == pytest.approx(level)
        assert shifted_by(plain.camera, wrong.camera) == pytest.approx(0)
    wrong = seen(env, told_shift_mm=20.0)
    assert shifted_by(plain.camera, wrong.camera) == pytest.approx(20)
    env.begin(replace(START, seed=6, perturbed={"told_shift_mm": 20.0}))
    assert shifted_by(wrong.camera, env.observe().camera) > 1  # each episode has its direction


def test_drift_moves_what_is_seen_later_and_not_what_is_told(env):
    early, late = (seen(env, steps, drift_rotation_deg=4.0) for steps in (0, 120))
    np.testing.assert_array_equal(seen(env).image, early.image)
    assert np.abs(seen(env, 120).image.astype(int) - late.image).max() > 20
    assert turned_by(seen(env).camera, late.camera) == 0


@pytest.mark.parametrize(
    "wrong", [{"fovy_deg": 55.0}, {"distance_m": 1.9}, {"roll_deg": 20.0}], ids=str
)
def test_lenses_are_told_truly(env, wrong):
    """A red bowl is seen where the told camera says; the picture is another one."""
    plain, other = seen(env), seen(env, **wrong)
    assert np.abs(plain.image.astype(int) - other.image).max() > 50
    red = (other.image[..., 0] > 90) & (other.image[..., 1:].max(-1) < 70)
    rows, columns = np.nonzero(red)
    middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    told, _ = other.camera.project(np.array([*START.at("bowl"), 0.025]))
    assert np.linalg.norm(middle - told) < 3
    value = {
        "fovy_deg": lambda c: 2 * np.degrees(np.arctan(SIZE / 2 / c.intrinsics[1, 1])),
        "distance_m": lambda c: np.linalg.norm(c.T_world_camera[:3, 3] - [0, 0, 0.03]),
        "roll_deg": lambda c: turned_by(plain.camera, c),
    }
    ((name, level),) = wrong.items()
    assert value[name](other.camera) == pytest.approx(level)


def test_light_and_noise(env):
    plain = seen(env).image.astype(float)
    assert seen(env, light=0.5).image.mean() == pytest.approx(plain.mean() / 2, rel=0.1)
    noise = seen(env, noise=10.0).image - plain
    inner = (plain > 40) & (plain < 215)
    assert noise[inner].std() == pytest.approx(10, rel=0.05)
    np.testing.assert_array_equal(seen(env, noise=10.0).image, seen(env, noise=10.0).image)
    assert latency_steps(replace(START, perturbed={"latency_s": 0.3})) == 15


class _Ahead:
    """Plans two waypoints; the second is what it would do next."""

    def predict(self, observations, inference=None):
        near, far = np.array([-0.18, -0.047, 0.28]), np.array([0.1, 0.1, 0.25])
        return [ActionChunk(np.stack([near, far]), np.ones(2)) for _ in observations]


def test_latency_lets_the_plan_before_go_on():
    env = TASK.environment("hand", "together", EnvConfig(image_size=16, max_steps=30))
    places = {}
    for level in (0.0, 0.2):
        start = replace(START, perturbed={"latency_s": level})
        (run,) = rollout(_Ahead(), [env], [start], Inference(execute=1))
        places[level] = env.ee_position
        assert run["steps"] == 30
    assert np.linalg.norm(places[0.0] - [-0.18, -0.047, 0.28]) < 0.01
    assert np.linalg.norm(places[0.2] - places[0.0]) > 0.01


class _Closes(_Ahead):
    """Its second waypoint is below the first, where the fingers close; a third leads away."""

    def predict(self, observations, inference=None):
        places = np.array([[-0.18, -0.047, 0.28], [-0.18, -0.047, 0.20], [0.1, 0.1, 0.25]])
        return [ActionChunk(places, np.array([1.0, 0.0, 0.0])) for _ in observations]


def test_fingers_wait_for_the_hand_also_while_time_passes():
    env = TASK.environment("hand", "together", EnvConfig(image_size=16, max_steps=60))
    commands = []

    class Watch:
        start = plan = waypoint = staticmethod(lambda *_: None)

        def step(self, env):
            commands.append((env.gripper_command, env.ee_position[2]))

    start = replace(START, perturbed={"latency_s": 0.6})
    rollout(_Closes(), [env], [start], Inference(execute=1), {0: Watch()})
    closed = [height for command, height in commands if command == 0.0]
    assert closed
    assert max(closed) < 0.21


@pytest.mark.parametrize("name", ["bowl_on_plate", "pick_named", "push_to_target"])
def test_a_bump_moves_what_is_to_be_moved_once_as_far_as_friction_lets_it(name):
    """It slides v^2 / (2 mu g), mu 0.8: what sits on more than one point may turn a little."""
    task = load_task(name)
    env = task.environment("panda", None, EnvConfig(image_size=16), render_mode=None)
    start = replace(task.grid(120), seed=5, perturbed={"bump_m_s": 0.8})
    moved = (start.named or [o.name for o in task.objects if o.name != "target"])[0]
    env.begin(start)
    places = []
    for _ in range(200):
        env.control_step(env.target, 1.0)
        places.append({name: pose[:2] for name, pose in env.objects().items()})
    steps = np.linalg.norm(np.diff([place[moved] for place in places], axis=0), axis=1)
    (moving,) = np.nonzero(steps > 1e-4)
    assert 38 <= moving[0] < moving[-1] < 150
    assert moving[-1] - moving[0] < 15
    assert 0.8 * 0.0408 < np.linalg.norm(places[-1][moved] - places[0][moved]) < 1.25 * 0.0408
    for other in places[0].keys() - {moved}:
        np.testing.assert_allclose(places[-1][other], places[0][other], atol=1e-4)


@pytest.mark.parametrize("name", sorted({*table_tasks()} - {"push_to_target"}))
def test_after_a_missed_grasp_the_hand_is_closed_beside_it_and_nothing_was_touched(name):
    task = load_task(name)
    there = task.environment("panda", task.layouts[0], EnvConfig(image_size=SIZE))
    start = replace(task.grid(120, task.layouts[0]), seed=5)
    there.begin(start)
    before = there.objects()
    place = first_grasp(task, before, start.named).position
    there.begin(replace(start, perturbed={"missed_m": 0.06}))
    beside = there.ee_position - place
    assert np.hypot(*beside[:2]) == pytest.approx(0.06, abs=0.012)
    assert beside[2] == pytest.approx(MISSED_HEIGHT, abs=0.012)
    assert there.gripper < 0.1
    assert (there.steps, there.outcome.stage) == (0, task.stages[0].name)
    for item, pose in there.objects().items():
        np.testing.assert_allclose(pose, before[item], atol=2e-3)
    assert run_expert(there)


def test_starts_of_a_sweep_survive_json_and_are_told_apart():
    config = SWEEPS.load("calibration")
    starts = SWEEPS[config.kind](config).starts([START])
    assert starts[0] == START
    assert "perturbed" not in START.to_dict()
    assert len({*starts}) == len(starts) == 9
    assert [Condition.from_dict(start.to_dict()) for start in starts] == starts


@pytest.mark.parametrize("name", SWEEPS.options())
def test_every_sweep_can_be_asked_for(name):
    cfg = load_config(EvalConfig, [f"sweep={name}"])
    assert (cfg.sweep.name, cfg.tests, cfg.video) == (name, ["ood"], 0)
    check(cfg)


def test_a_sweep_can_be_the_first_thing_that_is_asked_for():
    """Other tests have imported what the sweeps are made of; a command has not."""
    program = (
        "from para.cli import load_config\n"
        "from para.evaluation.config import EvalConfig\n"
        "print(load_config(EvalConfig, ['sweep=bump']).sweep.name)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ("bump\n", 0), run.stderr


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (["sweep=calibratoin"], "Did you mean 'calibration'"),
        (["sweep=noise", "sweep.levels.noise=[-1]"], "noise has -1, which must be from 0 to 255"),
        (["sweep=latency", "sweep.levels.latency_s=[12]"], r"12 s, but an episode takes 12 s"),
        (["sweep=light", "sweep.levels.light=bright"], "must be a list of numbers"),
        (["sweep=light", "+sweep.levels.lihgt=[1]"], "Did you mean 'light'"),
        (["sweep=light", "video=1"], "use video=0 with sweep="),
        (["sweep=missed", "task=push_to_target"], "No grasp of task=push_to_target can be missed"),
    ],
)
def test_what_cannot_be_swept_is_refused(said, error):
    with pytest.raises((ConfigError, UnknownNameError), match=error):
        check(load_config(EvalConfig, said))
