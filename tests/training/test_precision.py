"""training.precision=auto: bf16 where the machine has instructions for it, once and for all."""

from __future__ import annotations

import logging

import pytest
import torch
from tiny import tiny_config

from para.errors import ConfigError
from para.training import precision
from para.training.loop import train
from para.training.precision import has_bf16, precise


@pytest.mark.parametrize(
    ("capabilities", "has"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
    ],
)
def test_what_a_processor_says(capabilities, has, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bf16() is has


def test_a_pytorch_that_does_not_tell(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bf16()


@pytest.mark.parametrize(("has", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_each_kind_of_machine(has, chosen, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(precision, "has_bf16", lambda: has)
    cfg = tiny_config(tmp_path, "training.precision=auto")
    assert precise(cfg).training.precision == chosen
    assert f"training.precision=auto: {chosen}" in caplog.text


@pytest.mark.parametrize("asked", ["bf16", "fp32"])
def test_what_is_asked_for_is_not_decided(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", None)
    cfg = tiny_config(tmp_path, f"training.precision={asked}")
    assert precise(cfg) is cfg


def test_a_run_computes_on_another_machine_as_it_began(tmp_path, datasets, monkeypatch):
    words = ("training.steps=3", "training.warmup_steps=1", "training.checkpoint_every=2")
    cfg = tiny_config(tmp_path, *words, "training.precision=auto")
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    folder = train(cfg, progress=False, datasets=datasets).folder

    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    assert train(cfg, progress=False, datasets=datasets).already_trained
    (folder / "policy.json").unlink()  # it goes on from its checkpoint
    assert not train(cfg, progress=False, datasets=datasets).already_trained
    with pytest.raises(ConfigError, match=r"training\.precision was fp32, now bf16"):
        train(tiny_config(tmp_path, *words, "training.precision=bf16"), progress=False)
