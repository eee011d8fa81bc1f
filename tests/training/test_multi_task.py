"""One policy for all tasks: its demos, its instructions, its place, and its results by task."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_demos import make_episode
from test_resume import assert_same, kill_at
from tiny import TINY

from envs.base import build_task
from envs.multi_task import suite
from para.cli import load_config
from para.data.format import dataset_dir, episode_path, write_episode
from para.errors import ConfigError, UnknownNameError
from para.evaluation.config import EvalConfig
from para.evaluation.runner import evaluate
from para.fields import check
from para.runs.config import TrainConfig
from para.runs.folders import run_dir, setting_of
from para.runs.suite import with_each_task
from para.training.data import open_datasets
from para.training.loop import train
from para.training.stages import stage_configs

TASKS = [task.name for task in suite("hand")]
FEW = [0, 128, 255]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three made-up demos of every task."""
    folder = tmp_path_factory.mktemp("data")
    cfg = load_config(TrainConfig, [*TINY.split(), "split=multi_task"])
    for each in with_each_task(cfg):
        task, place = (
            build_task(each.task),
            dataset_dir(folder, setting_of(each).name, "objpos", 32),
        )
        for index in FEW:
            episode = make_episode(index, frames=8 + len(each.task.name), size=32)
            start = task.shown(task.grid(index, each.layout), episode.meta.seed)
            meta = dataclasses.replace(
                episode.meta,
                task=dataclasses.asdict(each.task),
                robot=each.robot,
                layout=each.layout,
                condition=start.to_dict(),
                env=dataclasses.asdict(each.env),
                environment_version=task.version,
                instruction=task.instruct(start),
            )
            write_episode(episode_path(place, index), dataclasses.replace(episode, meta=meta))
    return folder


def _config(data: Path, runs: Path, *overrides: str) -> TrainConfig:
    few = [f"data_dir={data}", f"runs_dir={runs}", "split=multi_task", f"limit={len(FEW)}"]
    return load_config(TrainConfig, [*TINY.split(), *few, *overrides])


def test_a_run_of_all_tasks_is_the_same_whichever_task_is_named(tmp_path):
    runs = [
        stage_configs(_config(tmp_path, tmp_path, *words))[0]
        for words in ([], ["task=stack_blocks"], ["task=pick_named"])
    ]
    assert runs[0] == runs[1] == runs[2]
    (cfg, *_) = runs
    assert "all_tasks-hand-independent" in run_dir(cfg).parts
    assert cfg.model.predicts_rotation
    said = {build_task(task).instruct(build_task(task).grid(0)) for task in suite("hand")}
    assert said <= set(cfg.text.instructions)
    assert len(TASKS) >= 6
    with pytest.raises(ConfigError, match="leave layout=together away"):
        check(_config(tmp_path, tmp_path, "layout=together"))
    with pytest.raises(UnknownNameError, match="pick_named"):
        _config(tmp_path, tmp_path, "task=pick_name")


def test_batches_are_balanced_and_say_what_is_to_be_done(data, tmp_path):
    cfg, *_ = stage_configs(_config(data, tmp_path))
    demos, held_out = open_datasets(cfg)
    assert held_out is None
    size = 2 * len(TASKS)
    samples = demos.order(size, seed=0, step=3)
    told = demos.instructions(samples)
    for task in map(build_task, suite("hand")):
        own = {task.instruct(task.grid(index)) for index in range(256)}
        assert sum(instruction in own for instruction in told) == 2
    assert len(demos.batch(samples)["instruction"]) == size


@pytest.mark.long
def test_one_policy_resumes_exactly_and_has_a_result_of_each_task(data, tmp_path, monkeypatch):
    whole = train(_config(data, tmp_path / "a"), progress=False)
    with monkeypatch.context() as patch:
        kill_at(5, patch)
        with pytest.raises(SystemError):
            train(_config(data, tmp_path / "b"), progress=False)
    torch.manual_seed(12345)
    assert_same(whole.folder, train(_config(data, tmp_path / "b"), progress=False).folder)

    monkeypatch.chdir(tmp_path)
    words = ["profile=smoke", "env.image_size=32", "env.max_steps=4", f"runs_dir={tmp_path / 'a'}"]
    words += [
        "results_dir=results",
        "outputs_dir=outputs",
        "episodes=1",
        "workers=1",
        "tests=[ood]",
    ]
    for name in ("bowl_on_plate", "pick_named"):
        cfg = load_config(EvalConfig, [*words, "split=multi_task", f"task={name}"])
        (path,) = evaluate(cfg).paths.values()
        assert {f"{name}-hand-independent", "smoke", "multi_task"} <= {*path.parts}
    assert np.isfinite(whole.losses["loss"])
