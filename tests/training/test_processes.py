"""Several processes train what one does; sharded or not, they write the same files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from synthetic_demos import make_dataset
from test_resume import FILES, assert_same

from para.errors import ConfigError
from para.places import ROOT
from para.training.log import read_log
from para.training.loop import train

HERE = Path(__file__).parent
SHARD = ["training.shard=true"]


class Lab:
    """A folder in which processes train, and what they left there.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._demos = make_dataset(folder / "demos", episodes=4, frames=8, size=32)

    def start(self, kind, processes, *runs, launcher=None):
        """start("image", 2, (runs, stop_at, overrides), ...): train with two processes.

        `launcher`: module and arguments that start them; None is torchrun.
        """
        listed = [dict(zip(("runs", "stop_at", "overrides"), run, strict=True)) for run in runs]
        torchrun = ("torch.distributed.run", "--standalone", f"--nproc_per_node={processes}")
        demos, folder = str(self._demos), str(self._folder)
        command = [
            *(sys.executable, *(("-m", *(launcher or torchrun)) if processes > 1 else ())),
            *(str(HERE / "one_of_several.py"), kind, demos, folder, json.dumps(listed)),
        ]
        paths = [ROOT, HERE, HERE.parent / "data", HERE.parent / "models"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
        environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        environment["PYTHONFAULTHANDLER"] = "1"  # a crash inside PyTorch says where
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-12_000:]

    def of(self, runs):
        """The run in a folder of runs."""
        (found,) = (self._folder / runs).glob("*/*/*/*/seed0")
        return found


def sharded_and_not(lab: Lab, kind: str) -> None:
    """All that two processes do with one policy, in one start."""
    lab.start(
        *(kind, 2),
        ("plain", None, []),
        ("whole", None, SHARD),
        *(("killed", 4, SHARD), ("killed", None, SHARD)),
        *(("mixed", 4, SHARD), ("mixed", None, [])),
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Lab:
    """Where `sharded_and_not` trained on images."""
    lab = Lab(tmp_path_factory.mktemp("images"))
    sharded_and_not(lab, "image")
    return lab


def assert_close(a: Path, b: Path) -> None:
    """The same losses and weights but for rounding, which Adam's first steps enlarge."""
    for left, right in zip(read_log(a), read_log(b), strict=True):
        assert left["step"] == right["step"]
        for name in {"loss", "grad_norm", "val_loss"} & left.keys():
            assert left[name] == pytest.approx(right[name], rel=2e-3), (name, left, right)
    for name in FILES:
        left, right = (load_file(folder / f"{name}.safetensors") for folder in (a, b))
        assert {k: v.shape for k, v in left.items()} == {k: v.shape for k, v in right.items()}
    left, right = (load_file(folder / "policy.safetensors") for folder in (a, b))
    apart = torch.cat([(left[k] - right[k]).abs().flatten().float() for k in left])
    assert apart.mean() < 1e-5
    assert apart.max() < 5e-3


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_sharded_training_is_training(kind, request, tmp_path):
    """It agrees with unsharded training, resumes to the bit, and its checkpoints are like any."""
    if kind == "image":
        lab = request.getfixturevalue("images")
    else:
        sharded_and_not(lab := Lab(tmp_path), kind)
    assert_close(lab.of("plain"), lab.of("whole"))
    assert_same(lab.of("whole"), lab.of("killed"))
    assert_close(lab.of("whole"), lab.of("mixed"))


@pytest.mark.long
def test_accelerates_fsdp_file_shards(images):
    file = str(ROOT / "configs" / "accelerate" / "fsdp.yaml")
    words = ("accelerate.commands.launch", "--config_file", file, "--num_processes", "2")
    images.start("image", 2, ("asked", None, []), launcher=words)
    assert_same(images.of("asked"), images.of("whole"))


def test_deepspeed_is_refused(config, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match=r"DeepSpeed.*accelerate/fsdp\.yaml"):
        train(config(), progress=False)


@pytest.mark.long
def test_two_processes_are_one_that_accumulates(images):
    """The batches of one step are the same, whoever computes them."""
    images.start("image", 1, ("one", None, ["training.accumulate=2"]))
    assert_close(images.of("one"), images.of("plain"))


def test_sharding_needs_processes_to_share_between(config, datasets):
    with pytest.raises(ConfigError, match="num_processes"):
        train(config("training.shard=true"), progress=False, datasets=datasets)
    with pytest.raises(ConfigError, match="does not work with"):
        train(config("training.shard=true", "training.precision=fp16"), datasets=datasets)
