import numpy as np
import pytest
import torch

from para.cli import load_config
from para.errors import CheckpointError
from para.figures import method
from para.figures.style import LIGHT, themed
from para.policies.base import build_policy
from para.runs.config import TrainConfig
from para.runs.policy_file import save_policy
from tests.runs_fixture import policy_meta


def make_run(folder, model):
    """A run of an untrained policy."""
    cfg = load_config(TrainConfig, ["profile=smoke", f"model={model}", "robot=hand"])
    torch.manual_seed(0)
    policy = build_policy(cfg.model, cfg.backbone, cfg.env.image_size)
    folder.mkdir()
    save_policy(folder, policy.state_dict(), policy_meta(cfg))
    return folder


def test_the_diagram_shows_one_real_prediction_from_image_to_point(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", "para")
    shown = method.predict(run)
    np.testing.assert_allclose(shown.heatmap.sum(), 1, rtol=1e-4)
    np.testing.assert_allclose(shown.height_probability.sum(), 1, rtol=1e-4)
    # the point is where the ray of the pixel meets the plane of the height that the bins say
    z = shown.position[2]
    np.testing.assert_allclose(shown.camera.unproject_to_height(shown.pixel, z), shown.position)
    likeliest = shown.heights[shown.height_probability.argmax()]
    assert abs(z - likeliest) <= shown.heights[1] - shown.heights[0]
    cell = shown.image.shape[0] / shown.heatmap.shape[0]
    row, column = np.unravel_index(shown.heatmap.argmax(), shown.heatmap.shape)
    peak = (np.array([column, row]) + 0.5) * cell
    assert np.abs(shown.pixel - peak).max() <= 1.01 * cell

    monkeypatch.setattr(method, "method_inputs", lambda _s: [run / "policy.safetensors"])
    with themed(LIGHT):
        drawing = method.method_diagram(None, LIGHT)
    titles = [axes.get_title(loc="left") for axes in drawing.figure.axes]
    assert titles == [
        "image", "features", "where: heatmap", "how high: bins", "ray meets plane: 3D",
    ]  # fmt: skip
    assert drawing.data["position"] == shown.position.tolist()
    bars = [bar.get_width() for bar in drawing.figure.axes[3].patches]
    np.testing.assert_allclose(bars, 100 * shown.height_probability, rtol=1e-6)


def test_another_policy_cannot_explain_the_method(tmp_path):
    with pytest.raises(CheckpointError, match="no PARA policy"):
        method.predict(make_run(tmp_path / "run", "regression"))
