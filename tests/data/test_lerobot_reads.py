"""The lerobot package itself reads what scripts/export_demos.py writes.

Its pins fight ours, so it has an environment of its own: `python3.11 -m venv ENV && ENV/bin/pip
install lerobot==0.4.4`, then `PARA_LEROBOT=ENV/bin/python make test-slow`.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_demos import make_dataset, make_episode

from para.cli import load_config
from para.data.exporting import ExportDemosConfig, export_demos
from para.data.format import read_episode, write_episode

PROGRAM = """
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.utils import dataset_to_policy_features

for folder in sys.argv[1:]:
    data = LeRobotDataset("para/test", root=folder, video_backend="pyav",
                          delta_timestamps={"action": [0.0, 0.1, 0.2]})
    assert (data.num_episodes, data.num_frames, data.fps) == (3, 24, 10)
    item = data[9]  # the second frame of the second episode
    assert item["action"].shape == (3, 4) and item["task"] == "bowl on plate", item["task"]
    assert tuple(item["observation.images.front"].shape) == (3, 64, 64)
    saved = np.load(folder + ".npz")
    for key in ("observation.state", "camera.front.intrinsics", "camera.front.T_world_camera"):
        stored = np.array(data.hf_dataset.with_format(None)[9][key])
        assert (stored == saved[key]).all(), key
        assert (item[key].numpy() == saved[key].astype(np.float32)).all(), key  # as torch has it
    seen = item["observation.images.front"].permute(1, 2, 0).numpy()
    print(np.abs(seen - saved["image"] / 255).max())
    inputs = dataset_to_policy_features(data.meta.features)
    assert set(inputs) == {"observation.images.front", "observation.state", "action"}, inputs
    assert set(data.meta.stats["observation.state"]) >= {"mean", "std", "min", "max"}
"""


@pytest.mark.slow
def test_lerobot_reads_what_we_export(tmp_path: Path, lerobot_python: str):
    make_dataset(tmp_path / "demos", 3, frames=8)
    for path in (tmp_path / "demos").glob("*.hdf5"):
        _say(path, "bowl on plate")
    usual, folders = load_config(ExportDemosConfig), []
    made = make_episode(1, 8)
    arrays = made.arrays
    for images in ("png", "video"):
        folders.append(str(tmp_path / images))
        export_demos(replace(usual, data=f"{tmp_path}/demos", out=folders[-1], images=images))
        state = np.append(arrays["obs/ee_pose"][1], arrays["obs/gripper"][1]).astype(np.float32)
        np.savez(
            folders[-1] + ".npz",
            **{
                "observation.state": state,
                "camera.front.intrinsics": arrays["obs/intrinsics"][1].ravel(),
                "camera.front.T_world_camera": arrays["obs/T_world_camera"][1].ravel(),
                "image": made.images([1])[0],
            },
        )
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    clean |= {"HF_HOME": str(tmp_path / "hub")}
    command = [lerobot_python, "-c", PROGRAM, *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=clean)
    assert done.returncode == 0, done.stderr[-3000:]
    exact, film = map(float, done.stdout.split())
    assert exact < 1e-6
    assert film < 0.2


def _say(path: Path, instruction: str) -> None:
    episode = read_episode(path)
    write_episode(path, replace(episode, meta=replace(episode.meta, instruction=instruction)))
