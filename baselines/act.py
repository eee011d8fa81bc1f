"""ACT: action chunking with transformers (Zhao et al., 2023), regressing world coordinates.

As there: spatial tokens, a CVAE, 4 encoder and 7 decoder layers, L1 over real steps, KL weight 10,
the prior's mean at inference. Smaller by default: chunks of 12 instead of 100, hidden 128 (512),
4 heads (8), feed-forward 512 (3200), 4 x 4 tokens of a 128 px image (15 x 20; `cells` takes more).
Its temporal ensembling is `ensemble=true` in an evaluation.

A DETR-like encoder reads every cell of the backbone's last map with 2D sine position embeddings,
the proprioception and the latent of a CVAE; see `baselines/detr.py`.

`act` is as the paper describes it; `act_published` has two quirks of the published code: only the
first decoder layer is used (detr_vae.py:131), and the masked L1 is divided by padded steps too
(policy.py:31).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from baselines.coordinates import Seen
from baselines.detr import EncoderLayer, TransformerConfig, WaypointRegressor, sine_embedding
from para.backbones import BackboneConfig
from para.fields import choice, number, require
from para.policies.base import POLICIES


@dataclass
class ActConfig(TransformerConfig):
    """configs/model/act*.yaml"""

    kind: str = "act"
    cells: int | None = number(None, least=2, most=128)
    """Cells per side of the map whose cells are tokens; null: of the backbone's last stage."""
    encoder_layers: int = number(4, least=1, most=100)
    decoder_layers: int = number(7, least=1, most=100)
    read_first_layer: bool = False
    """Reproduces the published code, which decodes only the first decoder layer's output."""
    padding: str = choice("mask", ("mask", "published"))
    """Waypoints past the end of a demo, where the last pose repeats: mask (mean L1 over real
    steps) | published (masked, but divided by padded steps too)."""
    latent_dim: int = number(32, least=1, most=16384)
    kl_weight: float = number(10.0, least=0, most=1e6)

    def rules(self, key: str, run: Any) -> None:
        """Sine embeddings take four channels at a time, and there must be one map to read."""
        super().rules(key, run)
        require(self.hidden % 4 == 0, f"{key}.hidden={self.hidden} must be a multiple of 4.")
        require(
            not run.backbone.learns_video,
            f"{key}={self.name} reads every cell of one feature map, and a video has one map per "
            "frame. Use model=regression, which reads the pooled feature.",
        )


@POLICIES.register("act", ActConfig)
class ActPolicy(WaypointRegressor):
    """Action chunking transformer on the cells of a backbone's last map, with a CVAE.

    Args:
        cfg: The model (configs/model/act*.yaml).
        backbone_cfg: The backbone (configs/backbone).
        image_size: H = W of the images [px].
    """

    def __init__(self, cfg: ActConfig, backbone_cfg: BackboneConfig, image_size: int):
        used = 1 if cfg.read_first_layer else None
        size = {"spatial": True, "cells": cfg.cells, "decoder_layers": used}
        super().__init__(cfg, backbone_cfg, image_size, **size)
        self.latent = nn.Linear(cfg.latent_dim, cfg.hidden)
        self.posterior = Posterior(cfg, self.action_size)

    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """See `Policy.loss`. "l1" is in standard deviations of the waypoints."""
        cfg, seen = self.cfg, self.seen(batch)
        target, visible = self.targets(batch, seen.camera)
        real = ~batch["padded"] & visible

        mean, log_variance = self.posterior(seen.state, target, real).float().chunk(2, -1)
        latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(-1).mean()
        predicted = self.actions(seen, latent)

        error = (predicted - target).abs() * real[..., None]
        counted = real.sum().clamp(min=1) * self.action_size
        l1 = error.sum() / (counted if cfg.padding == "mask" else error.numel())
        scalars = {"loss": l1 + cfg.kl_weight * kl, "kl": kl, "l1": l1, "masked": (~visible).sum()}
        return scalars | (self.errors(predicted, batch, seen.camera) if metrics else {})

    def actions(self, seen: Seen, latent: Tensor | None = None) -> Tensor:
        """As its parent's, for a latent (B, L); none, at inference, is the prior's mean, 0."""
        if latent is None:
            latent = seen.state.new_zeros(len(seen.state), self.cfg.latent_dim)
        return super().actions(seen, self.latent(latent)[:, None])


class Posterior(nn.Module):
    """The CVAE's encoder: q(latent | state, actions), in training only."""

    def __init__(self, cfg: ActConfig, action_size: int):
        super().__init__()
        self.summary = nn.Parameter(0.02 * torch.randn(cfg.hidden))
        self.state = nn.Linear(4, cfg.hidden)
        self.action = nn.Linear(action_size, cfg.hidden)
        position = sine_embedding(1, 2 + cfg.horizon, cfg.hidden)
        self.register_buffer("position", position, persistent=False)
        self.layers = nn.ModuleList(EncoderLayer(cfg) for _ in range(cfg.encoder_layers))
        self.moments = nn.Linear(cfg.hidden, 2 * cfg.latent_dim)

    def forward(self, state: Tensor, actions: Tensor, real: Tensor) -> Tensor:
        """State (B, 4), actions (B, T, A), real steps (B, T) -> mean and log variance (B, 2 L)."""
        summary = self.summary.expand(len(state), 1, -1)
        tokens = torch.cat([summary, self.state(state)[:, None], self.action(actions)], 1)
        ignore = torch.cat([torch.zeros_like(real[:, :1]).expand(-1, 2), ~real], 1)
        for layer in self.layers:
            tokens = layer(tokens, self.position, ignore)
        return self.moments(tokens[:, 0])
