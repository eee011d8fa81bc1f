"""CLIP's text model: read from a folder that is made here, or refused with the ways out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

from para.errors import CheckpointError
from para.text import build_text
from para.text.clip import ClipConfig

HEARD = ["put the red bowl on the plate", "put the green bowl on the plate"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP text model of 8 channels, with a tokenizer that knows letters."""
    place = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    ids = {token: number for number, token in enumerate(vocabulary)}
    CLIPTokenizerFast(vocab=ids, merges=[]).save_pretrained(place)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(ids),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=ids["<|startoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
    )
    CLIPTextModel(config).save_pretrained(place)
    return place


def test_sentences_become_features_and_unheard_ones_too(folder):
    cfg = ClipConfig("clip", instructions=HEARD, weights=str(folder))
    text = build_text(cfg)
    assert text.channels == 8
    known = text.features(HEARD)
    assert torch.allclose(known.mean(0), torch.zeros(8), atol=1e-5)
    assert known.square().mean() == pytest.approx(1, rel=1e-4)
    (new,) = text.features(["put the blue bowl on the plate"])
    assert not any(torch.allclose(new, row) for row in known)
    again = build_text(cfg)
    assert torch.equal(again.features(HEARD[::-1]), known.flip(0))


def test_without_a_model_the_ways_out_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for weights in (str(tmp_path), "nobody/has-this"):
        with pytest.raises(CheckpointError, match=r"text\.weights=FOLDER; or use text=table"):
            build_text(ClipConfig("clip", weights=weights))
