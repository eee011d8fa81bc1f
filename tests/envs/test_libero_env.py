"""Episodes in LIBERO: exact repetition, true cameras, official success, an untrained policy."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from libero_file import libero_set

from envs.base import EnvConfig, load_task
from envs.libero import TABLE_TOP
from envs.libero.camera import CAMERA
from envs.libero.scenes import read_scene
from envs.libero.simulator import Simulator
from envs.libero.starts import BOWL, PLATE
from envs.perturbations import MISSED_HEIGHT, first_grasp
from envs.splits import load_split, test_conditions
from envs.table.expert import run_expert
from para.cli import load_config
from para.data.dataset import DemoDataset
from para.data.format import OBJECTS, episode_path, read_episode
from para.data.frame import seen_in
from para.data.generate import ensure_dataset
from para.data.importing import ImportConfig, import_demos
from para.errors import DataError, RenderError
from para.evaluation.rollout import rollout
from para.policies.base import build_policy
from para.runs.config import TrainConfig
from para.types import Inference

pytestmark = pytest.mark.slow  # the first build compiles robosuite's functions

CONFIG = EnvConfig(image_size=96, max_steps=600)
TASK = load_task("libero_spatial_0")
UP = np.array([0.0, 0.0, TABLE_TOP])


@pytest.fixture(scope="module")
def env():
    return TASK.environment("panda", "official", CONFIG)


def _course(env, start):
    """Where bowl and hand are after a second of motion."""
    env.begin(start)
    for k in range(50):
        env.control_step(np.array([-0.1, 0.2, 0.2 - 0.003 * k]), float(k < 25))
    return np.concatenate([env.objects()[BOWL], env.ee_pose, [env.gripper]])


def test_an_episode_repeats_to_the_bit_whatever_came_between(env):
    first, other = TASK.official(3), TASK.grid(5, "varied")
    alone = _course(env, first)
    assert (_course(env, other) != alone).any()
    assert (_course(env, first) == alone).all()
    second = TASK.environment("panda", "official", CONFIG)
    env.begin(first)
    second.begin(other)
    for k in range(50):  # in turns, as rollouts do
        goal = np.array([-0.1, 0.2, 0.2 - 0.003 * k]), float(k < 25)
        env.control_step(*goal)
        second.control_step(*goal)
    assert (np.concatenate([env.objects()[BOWL], env.ee_pose, [env.gripper]]) == alone).all()


def test_official_starts_are_exact_and_others_stand_where_asked(env):
    start = TASK.official(4)
    state = env.sim.scene.states[4]
    env.sim.begin(env.data, 4, {})
    assert (env.data.qpos == state[1 : 1 + env.sim.model.nq]).all()
    assert TASK.check(start) is None
    env.begin(TASK.grid(9, "varied"))
    for name, (x, y, _) in TASK.grid(9, "varied").objects.items():
        assert env.objects()[name][:2] == pytest.approx((x, y), abs=0.012)
        assert env.objects()[name][2] < 0.03  # they have fallen onto the table


def test_the_bowl_is_bumped_once_and_nothing_else_moves(env):
    env.begin(replace(TASK.grid(9, "varied"), seed=5, perturbed={"bump_m_s": 0.5}))
    places = []
    for _ in range(150):
        env.control_step(env.target, 1.0)
        places.append({name: pose[:2] for name, pose in env.objects().items()})
    steps = np.linalg.norm(np.diff([place[BOWL] for place in places[20:]], axis=0), axis=1)
    assert 18 <= np.argmax(steps > 1e-3) < 122
    assert np.linalg.norm(places[-1][BOWL] - places[20][BOWL]) > 0.01
    assert np.linalg.norm(places[-1][PLATE] - places[20][PLATE]) < 1e-3


def test_after_a_missed_grasp_the_hand_is_closed_beside_the_bowl(env):
    start = TASK.grid(9, "varied")
    env.begin(start)
    before = env.objects()
    env.begin(replace(start, seed=5, perturbed={"missed_m": 0.06}))
    beside = env.ee_position - first_grasp(TASK, before, start.named).position
    assert np.hypot(*beside[:2]) == pytest.approx(0.06, abs=0.012)
    assert beside[2] == pytest.approx(MISSED_HEIGHT, abs=0.012)
    assert (env.steps, env.outcome.stage) == (0, "MISS")
    assert env.gripper < 0.1
    for name, pose in env.objects().items():
        assert pose == pytest.approx(before[name], abs=2e-3)


def test_the_camera_is_mujocos_own_and_a_marker_is_seen_where_it_projects(env, monkeypatch):
    env.begin(TASK.official(0))
    number = env.sim.model.camera(CAMERA).id
    T = env.camera.T_world_camera
    assert T[:3, 3] + UP == pytest.approx(env.data.cam_xpos[number], abs=1e-6)
    axes = env.data.cam_xmat[number].reshape(3, 3) * (1, -1, -1)
    assert T[:3, :3] == pytest.approx(axes, abs=1e-6)
    update = mujoco.mjv_updateScene
    places = np.array([[-0.1, 0.1, 0.25], [0.05, -0.02, 0.3], [-0.2, 0.25, 0.3]])

    def with_marker(model, data, option, perturb, camera, mask, scene):
        update(model, data, option, perturb, camera, mask, scene)
        for place in places:
            marker = scene.geoms[scene.ngeom]
            mujoco.mjv_initGeom(
                marker, mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, 0.012),
                place + UP, np.eye(3).ravel(), np.array([0, 1, 0, 1], np.float32),
            )  # fmt: skip
            marker.emission = 1.0
            scene.ngeom += 1

    (turned,) = test_conditions(load_split("libero_cameras"), "ood", TASK, episodes=3)[2:]
    for start in (TASK.official(0), turned, replace(turned, perturbed={"roll_deg": 10.0})):
        env.begin(start)
        camera = env.camera.resized(384, 384)
        monkeypatch.setattr(mujoco, "mjv_updateScene", with_marker)
        image = env.picture(camera, "fast").astype(int)
        monkeypatch.undo()
        green = (image[..., 1] > 180) & (image[..., 0] < 80) & (image[..., 2] < 80)
        rows, columns = np.nonzero(green)
        pixels, _ = camera.project(places)
        for u, v in pixels:
            near = np.hypot(columns + 0.5 - u, rows + 0.5 - v) < 12
            assert near.sum() > 20
            seen = columns[near].mean() + 0.5, rows[near].mean() + 0.5
            assert seen == pytest.approx((u, v), abs=0.5)


@pytest.mark.parametrize("name", ["libero_spatial_0", "libero_spatial_9"])
def test_the_expert_succeeds_and_an_untrained_policy_is_judged(name):
    task = load_task(name)
    env = task.environment("panda", "official", CONFIG)
    env.begin(task.official(0))
    assert run_expert(env)
    assert env.outcome.stage == "PLACE"
    assert env.outcome.metrics["place_error_m"] < 0.03
    cfg = load_config(TrainConfig, [f"task={name}", "split=libero_id", "profile=smoke"])
    policy = build_policy(cfg.model, cfg.backbone, CONFIG.image_size)
    env.config = replace(CONFIG, max_steps=40)
    (outcome,) = rollout(policy, [env], [task.official(46)], Inference(execute=2))
    assert (outcome["stage"], outcome["steps"]) == ("MISS", 40)
    assert set(outcome["objects"]) == {item.name for item in task.objects}


@pytest.mark.parametrize(("name", "index"), [("libero_spatial_7", 0), ("libero_spatial_2", 8)])
@pytest.mark.long
def test_the_expert_takes_a_bowl_again_that_slips_from_its_fingers(name, index):
    """When they close (task 7), or on the way to the plate (task 2)."""
    task = load_task(name)
    env = task.environment("panda", "official", CONFIG)
    env.begin(task.official(index))
    assert run_expert(env)


def test_a_waypoint_is_reached_and_the_hand_points_down(env):
    env.begin(TASK.official(0))
    goal = np.array([-0.05, 0.15, 0.15])
    env.servo_to(goal, 0.0)
    assert env.ee_position == pytest.approx(goal, abs=0.008)
    assert env.gripper < 0.2
    assert np.abs(env.ee_pose[3:]) == pytest.approx([0, 1, 0, 0], abs=0.03)


def test_states_of_another_scene_and_black_frames_are_refused(env, tmp_path, monkeypatch):
    scene = env.sim.scene
    states = tmp_path / "states.npz"
    np.savez(states, states=np.pad(scene.states, ((0, 0), (0, 2))))
    with pytest.raises(DataError, match="numbers, and the scene has 92"):
        Simulator(read_scene(scene.bddl, states))
    renderer = env.sim.renderer("fast", 96, 96)
    black = np.zeros((96, 96, 3), np.uint8)
    monkeypatch.setattr(renderer, "render", lambda *_: black)
    with pytest.raises(RenderError, match="drawn black"):
        env.frame()
    assert PLATE in env.objects()


@pytest.fixture(scope="module")
def recorded(env):
    """An expert's states, what was seen in them, and where the furniture stood."""
    states, rows, pictures = [], [], []

    def keep(env):
        states.append(np.concatenate([[env.data.time], env.data.qpos, env.data.qvel]))
        rows.append(seen_in(env))
        pictures.append(env.frame())

    env.config = replace(CONFIG, max_steps=30)
    env.begin(TASK.official(2))
    run_expert(env, keep)
    env.config = CONFIG
    model = env.sim.model
    stands = {
        name: np.concatenate([model.body_pos[body], model.body_quat[body]])
        for name, body in env.sim.furniture.items()
    }
    seen = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return np.array(states), seen, np.stack(pictures), stands


def _imported(tmp_path, path):
    words = ["source=libero", f"path={path}", f"data_dir={tmp_path}", "env.image_size=96"]
    return import_demos(load_config(ImportConfig, words)).folder


def test_a_published_file_is_shown_again_as_it_was(env, recorded, tmp_path):
    states, seen, pictures, stands = recorded
    assert set(stands) == {"wooden_cabinet_1_main", "flat_stove_1_main"}
    moved = stands | {"flat_stove_1_main": stands["flat_stove_1_main"] + [0, 0.05, 0, 0, 0, 0, 0]}
    # as LIBERO writes it, each place is that of one step later
    later = np.append(seen["obs/ee_pose"][1:, :3], seen["obs/ee_pose"][-1:, :3], axis=0) + UP
    path = libero_set(tmp_path / "f.hdf5", TASK.cfg.problem, states, later, stands, moved, rate=10)
    folder = _imported(tmp_path, path)
    assert folder == tmp_path / "libero_spatial_0-panda-human/libero-96px"
    shown, other = (read_episode(episode_path(folder, k)) for k in range(2))
    for name, array in seen.items():
        np.testing.assert_allclose(shown.arrays[name], array, atol=1e-3, err_msg=name)
    np.testing.assert_array_equal(shown.arrays["obs/intrinsics"], seen["obs/intrinsics"])
    np.testing.assert_array_equal(shown.arrays["obs/T_world_camera"], seen["obs/T_world_camera"])
    assert OBJECTS + BOWL in seen
    np.testing.assert_array_equal(
        shown.arrays["actions"][:, 3], np.arange(len(states)) < len(states) // 2
    )
    assert np.abs(shown.images().astype(int) - pictures).mean() < 0.5
    # the stove of the other demo stood 5 cm further right, where its model says, and nowhere else
    differs = np.abs(other.images().astype(int) - shown.images()).max(axis=(0, 3)) > 30
    ((u, v),), _ = env.camera.project(stands["flat_stove_1_main"][None, :3] - UP)
    rows, columns = np.nonzero(differs)
    assert np.hypot(columns - u, rows - v).min() < 12
    assert 20 < differs.sum() < 96 * 96 / 8
    for name, body in env.sim.furniture.items():
        assert (env.sim.model.body_pos[body] == stands[name][:3]).all()
    # and it trains what splits of the task test
    cfg = load_config(
        TrainConfig,
        [
            "task=libero_spatial_0",
            "layout=human",
            "split=libero_id",
            "env.image_size=96",
            f"data_dir={tmp_path}",
        ],
    )
    _, metas = ensure_dataset(cfg, "libero", only=[0, 1])
    assert len(DemoDataset(folder, [meta.index for meta in metas])) == 2 * len(states)
    with pytest.raises(DataError, match="holds no finished import of the 3 demos"):
        ensure_dataset(cfg, "libero", only=range(3))


def test_states_of_another_robot_or_of_a_scene_without_its_furniture_are_refused(
    recorded, tmp_path
):
    states, seen, _, stands = recorded
    told = seen["obs/ee_pose"][:, :3] + UP + [0, 0.015, 0]
    path = libero_set(tmp_path / "far.hdf5", TASK.cfg.problem, states, told, stands, rate=10)
    with pytest.raises(DataError, match="obs/ee_pos is 15 mm from where its states put the hand"):
        _imported(tmp_path, path)
    bare = {"flat_stove_1_main": stands["flat_stove_1_main"]}
    path = libero_set(tmp_path / "bare.hdf5", TASK.cfg.problem, states, told, bare, rate=10)
    with pytest.raises(DataError, match="does not say where wooden_cabinet_1_main stands"):
        _imported(tmp_path, path)
