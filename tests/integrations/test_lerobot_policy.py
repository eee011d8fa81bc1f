"""The plug-in for LeRobot: its names, and its training and evaluation by LeRobot's own commands.

The latter need LeRobot 0.4.4 in an environment of its own (its README.md
says how) and are skipped without: `PARA_LEROBOT=ENV/bin/python make test-slow`.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from para.cli import load_config
from para.data.exporting import ExportDemosConfig, export_demos
from para.places import ROOT
from tests.data.synthetic_demos import make_dataset

PROJECT = ROOT / "integrations" / "lerobot_policy_para"
PACKAGE = PROJECT / PROJECT.name
MODULES = sorted(PACKAGE.glob("*.py"))

CHECKS = """
import sys
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.factory import get_policy_class, make_policy, make_pre_post_processors
from lerobot.utils.import_utils import register_third_party_plugins

register_third_party_plugins()
data, trained = sys.argv[1:]
data = LeRobotDataset("para/test", root=data, video_backend="pyav")
cfg = PreTrainedConfig.from_pretrained(trained)
cfg.pretrained_path = trained
assert cfg.type == "para"
assert len(cfg.intrinsics) == 9 and len(cfg.T_world_camera) == 16  # the camera never moved
policy = make_policy(cfg, ds_meta=data.meta)
assert type(policy) is get_policy_class("para")
before, after = make_pre_post_processors(cfg, trained)
item = data[0]
batch = before({k: v for k, v in item.items() if k.startswith("observation.")})
chunk = policy.predict_action_chunk(batch)
assert chunk.shape == (1, 12, 4), chunk.shape

# as PARA's own policy, with the averaged weights
import numpy as np
from para.camera import Camera
from para.types import Observation

image = (item["observation.images.front"].permute(1, 2, 0) * 255).round().byte().numpy()
camera = Camera(item["camera.front.intrinsics"].double().numpy().reshape(3, 3),
                item["camera.front.T_world_camera"].double().numpy().reshape(4, 4), 64, 64)
state = item["observation.state"].double().numpy()
assert policy.average.n_averaged == 3
(ours,) = policy.average.module.predict([Observation(image, camera, state[:3], state[7])])
found = chunk[0].numpy()
kept = np.isfinite(ours.positions).all(-1)
assert np.abs(found[kept, :3] - ours.positions[kept]).max() < 1e-3
assert (found[:, 3] == ours.gripper).all()
assert np.allclose(found[~kept, :3], state[:3])
policy.reset()
for k in range(cfg.n_action_steps):
    assert torch.equal(policy.select_action(batch), chunk[:, k])

# told per frame, it wins over what is remembered; without either there is a sentence
turned = torch.cat([item["camera.front.intrinsics"], item["camera.front.T_world_camera"]])
turned[:9] *= torch.tensor([2.0, 2, 1, 2, 2, 1, 1, 1, 1])
other = policy.predict_action_chunk(batch | {"observation.environment_state": turned[None].float()})
assert not torch.allclose(other, chunk)
cfg.intrinsics = None
try:
    policy.predict_action_chunk(batch)
except ValueError as error:
    assert "The camera is not known" in str(error)
else:
    raise AssertionError("no camera, and a prediction")
for changes, words in (({"image": "observation.images.wrist"}, "is not among the images"),
                       ({"grip": 8}, "point beyond it"),
                       ({"model": "act_camera", "overrides": []}, "another frame than the world")):
    wrong = PreTrainedConfig.from_pretrained(trained)
    for key, value in changes.items():
        setattr(wrong, key, value)
    try:
        make_policy(wrong, ds_meta=data.meta)
    except ValueError as error:
        assert words in str(error), error
    else:
        raise AssertionError(changes)
print("all well")
"""


def test_it_has_the_names_by_which_lerobot_looks_for_it():
    """Of LeRobot 0.4.4: policies/factory.py and utils/import_utils.py."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["name"] == PACKAGE.name == "lerobot_policy_para"
    assert "lerobot==0.4.4" in project["dependencies"]
    defined = {
        path.name: {
            node.name: ast.unparse(node)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ClassDef | ast.FunctionDef)
        }
        for path in MODULES
    }
    config = defined["configuration_para.py"]["ParaConfig"]
    assert config.startswith("@PreTrainedConfig.register_subclass('para')")
    policy = defined["modeling_para.py"]["ParaPolicy"]
    for method in ("forward", "select_action", "predict_action_chunk", "reset", "get_optim_params"):
        assert f"def {method}(" in policy
    assert "make_para_pre_post_processors" in defined["processor_para.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_what_it_imports_of_para_exists(path):
    imported = [
        (node.module, alias.name)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("para", "envs")
        for alias in node.names
    ]
    for module, name in imported:
        assert hasattr(importlib.import_module(module), name), (module, name)
    assert imported or path.name in ("__init__.py", "configuration_para.py", "processor_para.py")


@pytest.mark.slow
def test_lerobot_trains_resumes_and_evaluates_it(tmp_path: Path, lerobot_python: str):
    make_dataset(tmp_path / "demos", 3, frames=40)
    folder = tmp_path / "data"
    usual = load_config(ExportDemosConfig)
    export_demos(replace(usual, data=f"{tmp_path}/demos", out=str(folder)))
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}

    def call(*command: str) -> str:
        done = subprocess.run(
            [lerobot_python, *command],
            capture_output=True,
            text=True,
            timeout=400,
            env=env,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    run, train = tmp_path / "run", "lerobot.scripts.lerobot_train"
    call(
        *("-m", train, "--dataset.repo_id=para/test", f"--dataset.root={folder}"),
        *("--dataset.video_backend=pyav", "--policy.type=para", "--policy.device=cpu"),
        *("--policy.overrides=[model.heatmap_size=16]", "--policy.push_to_hub=false"),
        *(f"--output_dir={run}", "--batch_size=2", "--steps=2", "--save_freq=2"),
        *("--num_workers=0", "--log_freq=1"),
    )
    last = run / "checkpoints" / "last" / "pretrained_model"
    call(
        *("-m", train, f"--config_path={last}/train_config.json", "--resume=true"),
        *("--steps=3", "--save_freq=3"),
    )
    assert os.path.realpath(run / "checkpoints" / "last").endswith("000003")
    assert "all well" in call("-c", CHECKS, str(folder), str(last))
    call(
        *("-m", "lerobot.scripts.lerobot_eval", f"--policy.path={last}", "--policy.device=cpu"),
        *("--env.type=para_table", "--env.robot=hand", "--env.image_size=64"),
        *("--eval.n_episodes=2", "--eval.batch_size=2", f"--output_dir={tmp_path / 'eval'}"),
    )
    found = json.loads((tmp_path / "eval" / "eval_info.json").read_text())
    assert found["overall"]["n_episodes"] == 2
    assert 0 <= found["overall"]["pc_success"] <= 100
