"""Sentences by the text half of CLIP (Radford et al., 2021), frozen: unheard words mean something.

From the hub, its cache or a folder, through transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from para.errors import CheckpointError
from para.text.base import TEXTS, Text, TextConfig


@dataclass
class ClipConfig(TextConfig):
    """configs/text/clip.yaml"""

    kind: str = "clip"
    weights: str = "openai/clip-vit-base-patch32"
    """Name of a CLIP model on the hub, or a folder that holds one and its tokenizer."""


@TEXTS.register("clip", ClipConfig)
class Clip(Text):
    """The feature at the end of the sentence, relative to the mean of the known instructions.

    All features are divided by one number, so that those of the known ones have a mean square of 1:
    sentences about the same table are close together for CLIP.
    """

    def __init__(self, cfg: ClipConfig):
        super().__init__(cfg)
        self._tokenizer, self._model = _load(cfg.weights)
        self.channels = self._model.config.hidden_size
        self._known: dict[str, Tensor] = {}
        heard = self._raw(cfg.instructions) if cfg.instructions else torch.zeros(1, self.channels)
        self._mean = heard.mean(0)
        self._scale = (heard - self._mean).square().mean().sqrt().clamp(min=1e-6)

    def features(self, instructions: Sequence[str]) -> Tensor:
        """See `Text`; every sentence is known."""
        return (self._raw(instructions) - self._mean) / self._scale

    def _raw(self, instructions: Sequence[str]) -> Tensor:
        for instruction in dict.fromkeys(instructions):
            if instruction not in self._known:
                tokens = self._tokenizer([instruction], truncation=True, return_tensors="pt")
                with torch.inference_mode():
                    pooled = self._model(**tokens).pooler_output[0]
                self._known[instruction] = pooled.float().clone()
        return torch.stack([self._known[instruction] for instruction in instructions])


@cache  # frozen: all that read with it share one
def _load(weights: str) -> tuple:
    """Tokenizer and text model in eval mode; CheckpointError names the ways out."""
    from transformers import CLIPTextModel, CLIPTokenizerFast

    try:
        tokenizer = CLIPTokenizerFast.from_pretrained(weights)
        model = CLIPTextModel.from_pretrained(weights)
    except Exception as error:  # hub, file system and transformers have exceptions of their own
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"CLIP's text model {weights} cannot be had ({reason}). Ways out: connect once, so "
            "that the hub's cache has it; copy model and tokenizer here and set "
            "text.weights=FOLDER; or use text=table, which needs none."
        ) from error
    return tokenizer, model.eval().requires_grad_(False)
