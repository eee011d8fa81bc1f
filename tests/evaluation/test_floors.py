"""Policies that learn nothing: what they plan, and that they are evaluated like any other."""

import json
from dataclasses import replace

import numpy as np
import pytest

from baselines.colour_boxes import fit_colour_boxes, masks
from baselines.floors import FLOORS, Colour, Demo, Expert, Given, Mean, Replay
from envs.base import EnvConfig, load_task
from envs.table.task import table_tasks
from para.cli import load_config
from para.data.format import write_episode
from para.errors import ConfigError, DataError
from para.evaluation.config import EvalConfig
from para.evaluation.results import read_result
from para.evaluation.rollout import rollout
from para.evaluation.runner import evaluate
from para.evaluation.unlearned import WHOLE, floor_run, read_demo
from para.types import Inference, Observation
from tests.data.synthetic_demos import make_episode

SMALL = EnvConfig(image_size=96)


@pytest.mark.parametrize("name", table_tasks())
def test_colour_boxes_find_the_objects_of_every_task(name):
    task = load_task(name)
    env = task.environment("hand", task.layouts[-1], SMALL)
    boxes = fit_colour_boxes(task, env, SMALL)
    errors, turns = [], []
    for seed in range(6):
        env.begin(task.random(np.random.default_rng([7, seed]), env.layout))
        observation = env.observe()
        for item, pose in boxes.poses(observation.image, observation.camera).items():
            x, y, yaw = env.condition.objects[item]
            errors.append(np.hypot(pose[0] - x, pose[1] - y))
            if period := boxes.constants[item].period:
                off = 2 * np.arctan2(pose[6], pose[3]) - yaw
                turns.append(abs((off + period / 2) % period - period / 2))
    assert np.median(errors) < 0.008
    assert max(errors) < 0.03
    assert bool(turns) == task.turns or name == "push_to_target"
    assert not turns or np.median(turns) < np.radians(12)


def test_colours_that_are_nowhere_are_no_obstacle():
    """As where the appearance varies: it goes somewhere, and does badly."""
    task = load_task("pick_named")
    env = task.environment("hand", "independent", SMALL)
    floor = Colour(Given(lambda: task.environment("hand", "independent", SMALL), [env]))
    env.begin(task.random(np.random.default_rng(0), "independent"))
    seen = env.observe()
    blank = replace(seen, image=np.full_like(seen.image, 140))
    assert all(m is None for m in masks(blank.image, blank.camera, {"a": (1.0, 0, 0)}).values())
    (chunk,) = floor.predict([blank])
    assert np.isfinite(chunk.positions).all()
    named = env.condition.named
    (chunk,) = floor.predict([seen])
    wanted = task.waypoints(env.objects(), named)
    assert np.abs(chunk.positions - [w.position for w in wanted]).max() < 0.02
    other = next(n for n in task.namings if n[0] != named[0] and n[1] != named[1])
    told = task.instruct(replace(env.condition, named=other))
    (elsewhere,) = floor.predict([replace(seen, instruction=told)])
    assert np.abs(elsewhere.positions - chunk.positions).max() > 0.05


def _demo(level, x, length):
    positions = np.column_stack([np.full(length, x), np.zeros(length), np.linspace(0.2, 0, length)])
    turns = np.zeros((length, 3))
    turns[:, 2] = np.pi / 2 if x > 0 else -np.pi / 2  # the same hand
    image = np.full((8, 8, 3), level, np.uint8)
    return Demo(image, positions, np.ones(length), turns)


def test_replay_takes_the_nearest_demo_and_mean_the_mean():
    demos = [_demo(10, -0.1, 3), _demo(200, 0.1, 5)]
    given = Given(lambda: None, [], demos)
    seen = Observation(np.full((8, 8, 3), 180, np.uint8), None, np.zeros(3), 1.0)
    (nearest,) = Replay(given).predict([seen])
    np.testing.assert_array_equal(nearest.positions, demos[1].positions)
    (mean,) = Mean(given).predict([seen])
    assert mean.positions.shape == (5, 3)
    np.testing.assert_allclose(mean.positions[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(mean.positions[-1], [0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(np.abs(mean.rotations[:, 2]), np.pi / 2)


@pytest.mark.parametrize("name", ["bowl_on_plate", "push_to_target"])
def test_the_expert_is_the_ceiling(name):
    task = load_task(name)
    envs = [task.environment("hand", task.layouts[-1], EnvConfig(image_size=16)) for _ in range(2)]
    starts = [task.grid(index) for index in (30, 200)]
    runs = rollout(Expert(Given(lambda: None, envs)), envs, starts, Inference(execute=WHOLE))
    assert all(run["success"] for run in runs)
    assert all(run["plans"] > 5 for run in runs)  # it looks where things are again and again


def _config(root, *overrides):
    folders = [f"{name}_dir={root / name}" for name in ("data", "runs", "results", "outputs")]
    small = ["profile=smoke", "episodes=2", "batch=2", "video=0", "workers=1", "env.max_steps=40"]
    return load_config(EvalConfig, [*small, *folders, *overrides])


@pytest.mark.slow
def test_floors_are_evaluated_like_any_other(tmp_path):
    cfg = _config(tmp_path, "model=mean", "split=corner_n4", "tests=[ood]")
    with pytest.raises(DataError, match=r"lacks 4 of 4 demos.*generate_demos\.py dataset=objpos"):
        evaluate(cfg)
    folder = tmp_path / "data/bowl_on_plate-hand-together/objpos-64px"
    for index in (0, 15, 240, 255):
        episode = make_episode(index)
        meta = replace(episode.meta, robot="hand", env={**vars(cfg.env)})
        write_episode(folder / f"demo_{index:05d}.hdf5", replace(episode, meta=meta))
    done = evaluate(cfg)
    result = read_result(done.paths["mean"])
    assert done.paths["mean"].parent.name == "mean-none-none"
    assert result["training"] | {"sha256": ""} == {
        "steps": 0, "minutes": 0.0, "demos": 4, "sha256": "", "finished": True,
    }  # fmt: skip
    assert str(tmp_path) not in json.dumps(result)
    assert evaluate(cfg).new_episodes == 0
    demo = read_demo(folder, 15)
    np.testing.assert_allclose(demo.positions[-1], make_episode(15).arrays["obs/ee_pose"][-1, :3])
    # another set of demos is another policy
    before = floor_run(cfg).meta["sha256"]
    assert floor_run(replace(cfg, model="colour")).meta["training"]["demos"] == 0
    meta = replace(make_episode(15).meta, robot="hand", env={**vars(cfg.env)})
    write_episode(folder / "demo_00015.hdf5", replace(make_episode(3), meta=meta))
    assert floor_run(cfg).meta["sha256"] != before


def test_a_floor_has_no_backbone(tmp_path):
    with pytest.raises(ConfigError, match="model=colour learns nothing and has no backbone"):
        floor_run(_config(tmp_path, "model=colour", "backbone=resnet18"))
    with pytest.raises(ConfigError, match="model=colour learned nothing"):
        floor_run(_config(tmp_path, "model=colour", "align_view=true"))
    assert [name for name, floor in FLOORS.items() if floor.ceiling] == ["expert"]
