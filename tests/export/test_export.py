"""An exported policy answers what the policy answers, for any batch size; others are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from para.cli import load_config
from para.errors import CheckpointError, ConfigError, UnknownNameError
from para.export.config import ExportConfig
from para.export.model import (
    OUTPUTS,
    Exportable,
    OnnxPolicy,
    _inverse,
    _told,
    arrays,
    export,
    exportable,
)
from para.fields import check
from para.policies.base import Policy
from para.pretrained.ship import halved
from para.runs.policy_file import load_policy
from para.types import ActionChunk, Inference
from tests.models.model_fixtures import make_batch, observations
from tests.runs_fixture import save_untrained
from tests.serving.served import SMALL


@pytest.fixture(
    scope="module", params=["factorised", pytest.param("sharp", marks=pytest.mark.long)]
)
def folder(request, tmp_path_factory) -> Path:
    """A policy that turns the hand and has learned nothing."""
    folder = tmp_path_factory.mktemp("exported") / "small"
    kind = f"model.head.kind={request.param}"
    save_untrained(folder, [*SMALL, "model.head.rotation_bins=8", kind])
    return folder


def config(*overrides: str) -> ExportConfig:
    cfg = load_config(ExportConfig, list(overrides))
    check(cfg)
    return cfg


def require_same(ours: ActionChunk, theirs: ActionChunk) -> None:
    """Within 0.1 mm and 1e-4 rad; the same rays miss."""
    assert np.array_equal(ours.missed, theirs.missed)
    np.testing.assert_allclose(theirs.positions, ours.positions, atol=1e-4)
    np.testing.assert_allclose(theirs.rotations, ours.rotations, atol=1e-4)
    np.testing.assert_allclose(theirs.pixels, ours.pixels, atol=1e-3)
    np.testing.assert_allclose(theirs.heatmaps, ours.heatmaps, atol=1e-5)
    assert np.array_equal(ours.gripper, theirs.gripper)


def require_program(run: Callable[..., Sequence[torch.Tensor]], policy: Policy) -> None:
    """`run` answers as the policy does, for two sizes of batches."""
    for batch in (1, 3):
        seen = observations(make_batch(batch, 12, 32, seed=batch))
        with torch.no_grad():
            found = run(*(torch.from_numpy(array) for array in arrays(seen)))
        found = {name: tensor.numpy() for name, tensor in zip(OUTPUTS, found, strict=True)}
        for i, ours in enumerate(policy.predict(seen, Inference())):
            positions, gripper, pixels, heatmaps, rotations = (v[i] for v in found.values())
            require_same(ours, ActionChunk(positions, gripper, rotations, heatmaps, pixels))


def test_what_is_exported_answers_as_the_policy(folder):
    policy, _ = load_policy(folder)
    require_program(Exportable(policy, True, None), policy)


@pytest.mark.long
def test_the_exported_program_answers_as_the_policy(folder, tmp_path):
    inv = torch.linalg.inv
    path = export(config(f"policy={folder}", "format=torch_export", f"out={tmp_path / 'a.pt2'}"))
    assert torch.linalg.inv is inv
    require_program(torch.export.load(path).module(), load_policy(folder)[0])


@pytest.mark.slow
def test_onnx_answers_as_the_policy(folder, tmp_path):
    import onnx

    overrides = [f"policy={folder}", "subcell=false", f"outputs_dir={tmp_path}"]
    path = export(config(*overrides))
    assert path == tmp_path / "small.onnx"
    about = {p.key: json.loads(p.value) for p in onnx.load(path).metadata_props}
    assert (about["image_size"], about["policy"]) == (32, "para")
    policy, _ = load_policy(folder)
    theirs = OnnxPolicy(path)
    for batch in (1, 3):
        seen = observations(make_batch(batch, 12, 32, seed=batch))
        inference = Inference(subcell=False)
        for pair in zip(policy.predict(seen, inference), theirs.predict(seen), strict=True):
            require_same(*pair)


REGRESSORS = ("regression", "pixel_regression", "act_camera", "act")


@pytest.mark.parametrize("model", REGRESSORS)
def test_those_that_regress_answer_as_the_policy(model, tmp_path):
    turned = "model.rotations=true"
    save_untrained(
        tmp_path / model, ["profile=smoke", "env.image_size=32", f"model={model}", turned]
    )
    policy, _ = load_policy(tmp_path / model)
    module = exportable(policy)
    assert ("pixels" in module.outputs) == (model == "pixel_regression")
    seen = observations(make_batch(3, 12, 32, seed=3))
    with torch.no_grad():
        found = module(*(torch.from_numpy(array) for array in arrays(seen)))
    found = {name: tensor.numpy() for name, tensor in zip(module.outputs, found, strict=True)}
    for i, ours in enumerate(policy.predict(seen, Inference())):
        np.testing.assert_allclose(found["positions"][i], ours.positions, atol=1e-5)
        np.testing.assert_allclose(found["rotations"][i], ours.rotations, atol=1e-4)
        assert np.array_equal(found["gripper_command"][i], ours.gripper)
        if ours.pixels is not None:
            np.testing.assert_allclose(found["pixels"][i], ours.pixels, atol=1e-3)


@pytest.mark.long
def test_onnx_of_half_the_size_answers_as_the_policy_with_such_weights(tmp_path):
    turning = ["model=regression", "model.rotations=true"]
    save_untrained(tmp_path / "whole", ["profile=smoke", "env.image_size=32", *turning])
    overrides = [f"policy={tmp_path / 'whole'}", f"outputs_dir={tmp_path}"]
    whole = export(config(*overrides))
    half = export(config(*overrides, "half=true", f"out={tmp_path / 'half.onnx'}"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    assert b"site-packages" not in half.read_bytes()
    policy, _ = load_policy(tmp_path / "whole")
    for path in (whole, half):
        if path is half:
            small = {k: v.float() for k, v in halved(policy.state_dict()).items()}
            policy.load_state_dict(small)
        for batch in (1, 3):
            seen = observations(make_batch(batch, 12, 32, seed=batch))
            ours, theirs = policy.predict(seen), OnnxPolicy(path).predict(seen)
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(b.positions, a.positions, atol=1e-5)
                np.testing.assert_allclose(b.rotations, a.rotations, atol=1e-4)
                assert np.array_equal(a.gripper, b.gripper)


def test_the_inverse_that_is_written_out():
    matrices = torch.randn(
        20, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(_inverse(matrices), torch.linalg.inv(matrices))


def test_what_cannot_be_exported_is_said(tmp_path):
    save_untrained(
        tmp_path / "diffusion", ["profile=smoke", "env.image_size=32", "model=diffusion"]
    )
    with pytest.raises(ConfigError, match="model=diffusion: what is exported answers without"):
        export(config(f"policy={tmp_path / 'diffusion'}", "format=torch_export"))
    with pytest.raises(ConfigError, match="half=true makes a smaller ONNX file"):
        config("half=true", "format=torch_export")
    with pytest.raises(CheckpointError, match="no folder"):
        export(config("policy=nothing"))
    with pytest.raises(ConfigError, match=r"must end in \.onnx"):
        config("out=policy.pt2")
    assert list(tmp_path.glob("*.onnx")) == []


def test_a_policy_that_is_told_what_to_do_is_always_told_the_same(tmp_path):
    folder = tmp_path / "told"
    save_untrained(folder, [*SMALL, "text=table", "text.instructions=[take red,take blue]"])
    overrides = f"policy={folder}", "format=torch_export", f"out={tmp_path / 'a.pt2'}"
    with pytest.raises(ConfigError, match="add instruction="):
        export(config(*overrides))
    with pytest.raises(UnknownNameError, match="take blue, take red"):
        export(config(*overrides, "instruction=take green"))
    policy, _ = load_policy(folder)
    told = _told(policy, config(*overrides, "instruction=take blue"))
    program = Exportable(policy, True, told).requires_grad_(False)
    (seen,) = observations(make_batch(1, 12, 32))
    (ours,) = policy.predict([replace(seen, instruction="take blue")], Inference())
    positions = program(*(torch.from_numpy(array) for array in arrays([seen])))[0][0].numpy()
    np.testing.assert_allclose(positions, ours.positions, atol=1e-4)
