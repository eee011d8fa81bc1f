"""Where a backbone's weights come from: files of several authors, the hub, or an error."""

from __future__ import annotations

import importlib

import pytest
import timm
import torch
from model_fixtures import backbone_config
from safetensors.torch import save_file

from para.backbones import build_backbone
from para.errors import CheckpointError, ConfigError

PLAIN = {"width": 1.0, "norm": "own"}


def assert_loaded(backbone, original: torch.nn.Module, key: str) -> None:
    """The backbone's tensor `key` is that of `original`."""
    assert backbone.init == "file"
    torch.testing.assert_close(backbone.network.state_dict()[key], original.state_dict()[key])


@pytest.fixture(scope="module")
def resnet() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet18")


def test_timm_safetensors_with_classifier(resnet, tmp_path):
    path = tmp_path / "r.safetensors"
    save_file(resnet.state_dict(), path)
    cfg = backbone_config("resnet18", weights=str(path), **PLAIN)
    assert_loaded(build_backbone(cfg, 64, 16), resnet, "layer4.1.conv2.weight")


def test_torchvision_pth_in_a_wrapper(tmp_path):
    models = importlib.import_module("torchvision.models")
    theirs = models.resnet18()
    state = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    path = tmp_path / "r.pth"
    torch.save({"epoch": 3, "state_dict": state}, path)
    cfg = backbone_config("resnet18", weights=str(path), **PLAIN)
    assert_loaded(build_backbone(cfg, 64, 16), theirs, "layer3.0.downsample.0.weight")


def test_dinov2_in_the_authors_keys_at_another_size(tmp_path):
    """Official checkpoints: 37 x 37 position embeddings (518 px) and a mask token."""
    torch.manual_seed(0)
    original = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=518)
    path = tmp_path / "dinov2_vits14_pretrain.pth"
    torch.save({**original.state_dict(), "mask_token": torch.zeros(1, 384)}, path)
    backbone = build_backbone(backbone_config("dinov2_vits14", weights=str(path)), 112, 16)
    assert_loaded(backbone, original, "blocks.11.mlp.fc2.weight")
    assert backbone.network.pos_embed.shape == (1, 1 + 8 * 8, 384)


def test_dinov3_in_the_authors_keys(tmp_path):
    torch.manual_seed(0)
    original = timm.create_model("vit_small_patch16_dinov3", num_classes=0)
    renamed = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    state = {"mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.ones(16)}
    for key, value in original.state_dict().items():
        for new, old in renamed.items():
            key = key.replace(new, old)
        state[key] = value
        if key.endswith("qkv.weight"):
            state[key.replace("weight", "bias")] = torch.zeros(3 * 384)
            state[key.replace("weight", "bias_mask")] = torch.zeros(3 * 384)
    path = tmp_path / "dinov3_vits16_pretrain.pth"
    torch.save(state, path)
    backbone = build_backbone(backbone_config("dinov3_vits16", weights=str(path)), 64, 16)
    assert_loaded(backbone, original, "blocks.11.gamma_1")
    assert_loaded(backbone, original, "reg_token")


def test_convnext_in_the_authors_keys(tmp_path):
    torch.manual_seed(0)
    original = timm.create_model("convnext_atto", num_classes=0)
    state = {}
    for key, value in original.state_dict().items():
        new = key.replace("stem.", "downsample_layers.0.")
        if ".downsample." in key:
            stage = key.split(".")[1]
            new = key.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
        new = new.replace(".blocks.", ".").replace("conv_dw", "dwconv")
        new = new.replace("mlp.fc1", "pwconv1").replace("mlp.fc2", "pwconv2")
        new = new.replace("head.norm", "norm")
        state[new] = value
    path = tmp_path / "convnext.pth"
    torch.save({"model": state}, path)
    cfg = backbone_config("convnext_pico", timm_name="convnext_atto", weights=str(path))
    assert_loaded(build_backbone(cfg, 64, 16), original, "stages.2.downsample.1.weight")


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    executed = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return (open, (str(executed), "w"))

    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "config": Payload()}, path)
    with pytest.raises(CheckpointError, match="pickled Python objects"):
        build_backbone(backbone_config("resnet18", weights=str(path), **PLAIN), 64, 16)
    assert not executed.exists()


def test_bad_files(resnet, tmp_path):
    def message(path) -> str:
        cfg = backbone_config("resnet18", weights=str(path), **PLAIN)
        with pytest.raises(CheckpointError) as raised:
            build_backbone(cfg, 64, 16)
        return str(raised.value)

    assert "No weight file at" in message(tmp_path / "absent.pth")
    whole = tmp_path / "whole.safetensors"
    save_file(resnet.state_dict(), whole)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:1000])
    assert "cut.safetensors cannot be read" in message(cut)
    torch.save(resnet.state_dict(), tmp_path / "whole.pth")
    cut = tmp_path / "cut.pth"
    cut.write_bytes((tmp_path / "whole.pth").read_bytes()[:50_000])
    assert "cut.pth" in message(cut)
    torch.save({"epoch": 1}, tmp_path / "empty.pth")
    assert "holds no tensors" in message(tmp_path / "empty.pth")

    wider = {**resnet.state_dict(), "conv1.weight": torch.zeros(32, 3, 7, 7)}
    del wider["layer1.0.conv1.weight"]
    save_file(wider, tmp_path / "wider.safetensors")
    text = message(tmp_path / "wider.safetensors")
    assert "1 missing: layer1.0.conv1.weight" in text
    assert "conv1.weight is (32, 3, 7, 7), expected (64, 3, 7, 7)" in text


def test_weights_need_the_network_that_they_were_made_for(tmp_path):
    cfg = backbone_config("resnet18", weights=str(tmp_path / "r.pth"))
    with pytest.raises(ConfigError, match=r"backbone\.width=1 backbone\.norm=own"):
        build_backbone(cfg, 64, 16)


def test_pretrained_that_cannot_be_had_names_three_ways_out(monkeypatch):
    create = timm.create_model

    def offline(name, pretrained=False, **arguments):
        if pretrained:
            raise OSError("no connection")
        return create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", offline)
    cfg = backbone_config("dinov2_vits14", weights="pretrained")
    with pytest.raises(CheckpointError) as raised:
        build_backbone(cfg, 56, 8)
    for way in (
        "no connection",
        "backbone.weights=PATH",
        "backbone.weights=random",
        "timm.create_model('vit_small_patch14_dinov2', pretrained=True)",
    ):
        assert way in str(raised.value)


def test_pretrained_from_the_hub_is_recorded(monkeypatch):
    create = timm.create_model
    asked = []

    def from_cache(name, pretrained=False, **arguments):
        asked.append(pretrained)
        return create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", from_cache)
    backbone = build_backbone(backbone_config("resnet18", weights="pretrained", **PLAIN), 64, 16)
    assert backbone.init == "pretrained"
    assert asked[-1] is True


def test_vit_features_have_the_size_asked_for_at_any_image_size():
    cfg = backbone_config("dinov2_vits14", weights="random", channels=16)
    for image_size, cells in ((64, 16), (112, 8), (100, 25)):
        backbone = build_backbone(cfg, image_size, cells)
        features, pooled = backbone(torch.rand(1, 3, image_size, image_size))
        assert features.shape == (1, 16, cells, cells)
        assert pooled.shape == (1, 384)
        assert backbone.stride == image_size / cells
