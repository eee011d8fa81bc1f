"""Every registered task: its starts, its splits, what it refuses, what it calls success."""

import dataclasses
import json

import mujoco
import numpy as np
import pytest

from envs.base import Condition, EnvConfig, load_task
from envs.splits import (
    load_split,
    split_names,
    test_conditions,
    training_indices,
)
from envs.table.expert import run_expert
from envs.table.scene import build_model
from envs.table.task import table_tasks
from para.cli import load_config
from para.data.generate import GenerateConfig, generate
from para.data.plan import plan
from para.errors import ConfigError, UnknownNameError
from para.evaluation.config import EvalConfig
from para.evaluation.runner import planned

NAMES = table_tasks()
TURNING = [name for name in NAMES if load_task(name).turns]
SMALL = EnvConfig(image_size=32)


def _env(name):
    task = load_task(name)
    return task, task.environment("hand", task.layouts[0], SMALL)


@pytest.mark.parametrize("name", NAMES)
def test_all_256_starts_of_the_grid_and_random_ones_can_be_done(name):
    task = load_task(name)
    layout = task.layouts[0]
    starts = [task.grid(index, layout) for index in range(256)]
    starts += [task.random(np.random.default_rng(seed), layout) for seed in range(64)]
    for start in starts:
        task.check(start)
    assert starts[5] == task.grid(5, layout)
    assert len({start.position for start in starts}) == len(starts)
    plain = json.loads(json.dumps(starts[7].to_dict()))
    assert Condition.from_dict(plain) == starts[7]
    for item, most in task.yaws.items():
        yaws = np.array([start.objects[item][2] for start in starts])
        assert -most <= yaws.min() < -0.9 * most < 0.9 * most < yaws.max() <= most


@pytest.mark.parametrize("name", NAMES)
def test_every_split_composes(name):
    """Held-out starts of positions and views can be done too, whatever the task."""
    task = load_task(name)
    for split in map(load_split, split_names(task)):
        assert training_indices(split, task)
        for test in ("ood", "sanity"):
            conditions = test_conditions(split, test, task, episodes=3)
            assert conditions == test_conditions(split, test, task, episodes=3)
            for condition in conditions:
                task.check(condition)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_done_is_refused(name):
    task = load_task(name)
    start = task.grid(120)
    far = {item: (x + 1.0, y, yaw) for item, (x, y, yaw) in start.objects.items()}
    with pytest.raises(ConfigError, match="out of reach"):
        task.check(dataclasses.replace(start, objects=far))
    if len(task.objects) > 1:
        first, second, *_ = start.objects
        x, y, _ = start.objects[first]
        touching = start.objects | {second: (x + 0.01, y, 0.0)}
        with pytest.raises(ConfigError, match="would touch"):
            task.check(dataclasses.replace(start, objects=touching))
    if "together" not in task.layouts:
        with pytest.raises(UnknownNameError, match="Available: independent"):
            task.grid(0, "together")


@pytest.mark.parametrize("robot", ["panda", "hand"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_welded(name, robot):
    """Friction and contact hold what is held: equalities only couple the fingers."""
    model = build_model(load_task(name), robot)
    assert set(map(mujoco.mjtEq, model.eq_type)) <= {mujoco.mjtEq.mjEQ_JOINT}


def test_without_an_expert_there_are_neither_demos_nor_a_ceiling(tmp_path, monkeypatch):
    words = ("task=open_drawer", f"data_dir={tmp_path}")
    monkeypatch.delattr(type(load_task("open_drawer")), "waypoints")
    with pytest.raises(ConfigError, match="open_drawer has no scripted expert, which making demos"):
        generate(load_config(GenerateConfig, words))
    for floor in ("expert", "colour"):
        with pytest.raises(ConfigError, match=f"has no scripted expert, which model={floor} uses"):
            planned(load_config(EvalConfig, [*words, "split=lr", f"model={floor}"]))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", NAMES)
def test_a_start_names_what_the_instruction_can_name(name):
    task = load_task(name)
    start = task.grid(120)
    assert start.named in (task.namings or ((),))
    with pytest.raises(ConfigError, match=r"names .*; this start names kettle"):
        task.check(dataclasses.replace(start, named=("kettle",)))
    said = {task.instruct(task.grid(index)) for index in range(64)}
    assert len(said) == max(1, len(task.namings))


@pytest.mark.parametrize("name", NAMES)
def test_a_cluttered_episode_is_done_too(name):
    task, env = _env(name)
    env.begin(task.grid(77, distractors=5, seed=3))
    assert run_expert(env)


@pytest.mark.parametrize("name", TURNING)
def test_the_expert_rests_where_it_changes_something(name):
    """Before the hand moves its fingers, or leaves what it pushed, a waypoint of a policy lies
    inside: one that is a tenth of a second early or late is at the same place.
    """
    task, env = _env(name)
    env.begin(task.grid(100))
    places, fingers = [], []

    def watch(env):
        places.append(env.ee_position)
        fingers.append(env.gripper_command)

    assert run_expert(env, on_step=watch)
    pushes = name == "push_to_target"
    low = np.flatnonzero(np.array(places)[:, 2] < 0.03)
    changes = [low[-1] - 10] if pushes else np.flatnonzero(np.diff(fingers)) + 1
    for change in changes:
        before = np.array(places[change - 20 : change])
        assert np.ptp(before, axis=0).max() < 0.004, (name, change)


@pytest.mark.parametrize("name", TURNING)
def test_the_action_space_turns_the_hand(name):
    _, env = _env(name)
    env.reset(seed=0)
    for _ in range(10):
        env.step(np.array([0.0, 0.0, 0.2, 1.0, 0.0, 0.0, 0.6], np.float32))
    assert env.target_rotation[2] > 0.05


def _follow(env, waypoints):
    for waypoint in waypoints:
        env.servo_to(waypoint.position, waypoint.gripper, rotation=waypoint.rotation)


def test_only_the_named_bowl_on_the_named_plate_counts():
    task, env = _env("pick_named")
    start = task.grid(120)
    bowl, plate = start.named
    other_bowl = next(b for b, _ in task.namings if b != bowl)
    other_plate = next(p for _, p in task.namings if p != plate)
    for wrong, stage in (((other_bowl, plate), "MISS"), ((bowl, other_plate), "GRASP")):
        env.begin(start)
        assert env.observe().instruction == task.instruct(start)
        _follow(env, task.waypoints(env.objects(), wrong))
        assert env.outcome.stage == stage
    _follow(env, task.waypoints(env.objects(), start.named))  # and it can be put right
    assert env.outcome.success


def test_a_block_held_over_the_stack_or_set_beside_it_is_not_stacked():
    task, env = _env("stack_blocks")
    env.begin(task.grid(120))
    path = task.waypoints(env.objects())
    _follow(env, path[:6])
    for _ in range(20):
        env.control_step(path[5].position, 0.0)
    assert env.outcome.metrics["place_error_m"] < 0.01
    assert env.outcome.stage == "GRASP"
    beside = np.array([0.06, 0.0, -0.045])
    down = [waypoint._replace(position=waypoint.position + beside) for waypoint in path[5:7]]
    _follow(env, [path[4], *down, path[7]])
    assert env.outcome.stage == "GRASP"


def test_a_block_that_lies_across_the_slot_is_not_inside():
    task, env = _env("block_in_tray")
    env.begin(task.grid(120))
    path = task.waypoints(env.objects())
    across = [waypoint._replace(yaw=waypoint.yaw + np.pi / 2) for waypoint in path[4:]]
    _follow(env, [*path[:4], *across])
    assert env.outcome.metrics["angle_error_rad"] > 1
    assert env.outcome.stage == "GRASP"


def test_a_puck_is_pushed_and_not_shot_off():
    task, env = _env("push_to_target")
    env.begin(task.grid(162))
    puck, hand = [], []

    def watch(env):
        puck.append(env.objects()["puck"][:3])
        hand.append(env.ee_position)

    above, down, *_, last, _, _ = task.waypoints(env.objects())
    for waypoint in (above, down, last):  # as fast as the servo goes
        env.servo_to(waypoint.position, 0.0, watch, rotation=waypoint.rotation)
    fastest = [np.linalg.norm(np.diff(path, axis=0), axis=1).max() for path in (puck, hand)]
    assert fastest[0] < 1.25 * fastest[1]
    assert np.array(puck)[:, 2].max() < 0.004


def test_demos_come_back_for_a_puck_that_is_bumped_away():
    task, env = _env("push_to_target")
    demos = plan("objpos_lr", task, "independent")[:24]
    bumped = [demo.condition for demo in demos if demo.condition.perturbed]
    assert len(bumped) == 12
    assert len({start.seed for start in bumped}) == 12
    came_back = 0
    for start in bumped:
        env.begin(start)
        low = []
        assert run_expert(env, on_step=lambda env, low=low: low.append(env.ee_position[2] < 0.05))
        came_back += np.count_nonzero(np.diff(np.array(low, int)) == 1) > 1
    assert came_back >= 8
    others = plan("objpos_lr", load_task("stack_blocks"), "independent")
    assert not any(demo.condition.perturbed for demo in others)


def test_a_puck_that_only_passes_or_is_still_touched_is_not_there():
    task, env = _env("push_to_target")
    env.begin(task.grid(120))
    path = task.waypoints(env.objects())
    stages = []
    way = path[-3].position - path[2].position
    beyond = path[-3]._replace(position=path[-3].position + 0.06 * way / np.linalg.norm(way))
    for waypoint in [*path[:-2], beyond]:
        position, rotation = waypoint.position, waypoint.rotation
        env.servo_to(position, 0.0, lambda e: stages.append(e.outcome.stage), rotation=rotation)
    assert list(dict.fromkeys(stages)) == ["MISS", "PUSH"]
    assert env.outcome.metrics["place_error_m"] > 0.03


def test_a_drawer_is_open_by_eight_centimetres_in_the_hand_or_not():
    task, env = _env("open_drawer")
    env.begin(task.grid(120))
    above, down, close, drawn, let_go, up = task.waypoints(env.objects())
    half = drawn._replace(position=(close.position + drawn.position) / 2)
    _follow(env, [above, down, close, half])
    for _ in range(20):
        env.control_step(half.position, 0.0)
    assert env.outcome.stage == "AJAR"
    assert env.outcome.metrics == {
        "place_error_m": pytest.approx(0.0275, abs=0.004),
        "opening_m": pytest.approx(0.0525, abs=0.004),
    }
    _follow(env, [drawn])
    for _ in range(20):
        env.control_step(drawn.position, 0.0)
    assert env.outcome.success
    assert env.gripper < 0.2
    for waypoint in (let_go, up):
        for _ in range(40):
            env.control_step(waypoint.position, 1.0)
    assert env.outcome.success
    assert env.outcome.metrics["place_error_m"] == 0.0


def test_a_cabinet_that_is_pushed_about_stays_shut():
    task, env = _env("open_drawer")
    env.begin(task.grid(120))
    start = env.objects()["cabinet"]
    _, down, *_ = task.waypoints(env.objects())
    for shift in ((0, 0.22, 0.055), (0, 0.22, -0.045), (0, 0.10, -0.045)):
        env.servo_to(down.position + shift, 0.0, rotation=down.rotation)
    assert np.hypot(*(env.objects()["cabinet"] - start)[:2]) > 0.02
    assert env.outcome.stage == "SHUT"
