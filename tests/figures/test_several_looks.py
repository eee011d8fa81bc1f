"""The picture of test-time augmentation."""

import numpy as np
import pytest
import torch

from para.cli import load_config
from para.errors import ConfigError
from para.figures.several_looks import COUNT, answers, draw
from para.policies.base import build_policy
from para.pretrained import policy_folder
from para.runs.config import TrainConfig
from para.runs.policy_file import save_policy
from para.training.stages import stage_configs
from tests.runs_fixture import policy_meta


def test_every_look_answers_and_the_median_is_among_the_answers(tmp_path):
    (cfg,) = stage_configs(load_config(TrainConfig, ["profile=smoke", "model=para"]))
    torch.manual_seed(0)
    policy = build_policy(cfg.model, cfg.backbone, cfg.env.image_size)
    save_policy(tmp_path, policy.state_dict(), policy_meta(cfg))
    found = answers(tmp_path)
    assert len(found.seen) == len(found.grasps) == COUNT
    low, high = found.grasps.min(0), found.grasps.max(0)
    assert (low <= found.median).all()
    assert (found.median <= high).all()
    assert np.ptp(found.grasps[:, :2], axis=0).max() > 0.001, "looks are not all of one mind"
    for view, grasp in zip(found.seen, found.grasps, strict=True):
        assert view.camera.in_view(*view.camera.project(grasp[None])).all()
    draw(tmp_path, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 50_000


def test_who_takes_one_look_has_no_picture(tmp_path):
    with pytest.raises(ConfigError, match="augment=colour, on images that do not move"):
        draw(policy_folder("para_lr"), tmp_path / "picture.png")
