"""Diffusion Policy (Chi et al., 2023; U-Net, images): the noise of waypoints, taken away in steps.

As there: a 1D U-Net with FiLM (`baselines/unet.py`), squared-cosine DDPM of 100 steps that predicts
the noise, group norm in every layer of the backbones that are trained from scratch (a moving
average of weights and batch norm do not go together), the trainer's moving average, DDIM at
inference. Different: one observation instead of two, its feature is the one that global regression
reads (4 x 4 cells, flattened; there a spatial softmax), no random crops for who cannot follow them,
positions are normalised by mean and deviation instead of range, several draws of
noise and step share one pass of the backbone; AdamW's first beta is the trainer's 0.9, not 0.95.
profile=paper with the published sizes:

    model.widths=[512,1024,2048] model.draws=1 training.learning_rate=1e-4
    training.weight_decay=1e-6 training.batch_size=64 training.ema_decay=0.9999

It predicts from the same noise every time, so that an evaluation can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from baselines.coordinates import CoordinatesConfig, CoordinatesPolicy, Seen
from baselines.unet import ConditionalUnet1d
from para.backbones import BackboneConfig
from para.fields import number, require
from para.policies.base import POLICIES

_SCHEDULE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "epsilon"}
_NOISE_SEED = 0


@dataclass
class DiffusionConfig(CoordinatesConfig):
    """configs/model/diffusion*.yaml"""

    kind: str = "diffusion"
    features: int = number(128, least=1, most=16384)
    """Numbers that the image becomes."""
    widths: list[int] = number([64, 128, 256], least=8, most=16384)
    """Channels of the U-Net's levels (published: 512, 1024, 2048)."""
    kernel: int = number(5, least=1, most=101)
    step_channels: int = number(128, least=2, most=16384)
    """Of the embedding of the diffusion step."""
    steps: int = number(100, least=1, most=10_000)
    """Of diffusion, in training."""
    inference_steps: int = number(10, least=1)
    """Of DDIM."""
    draws: int = number(4, least=1, most=1024)
    """Noise and step are drawn this often for each image: its feature is the expensive part."""
    clip: float = number(5.0, above=0, most=1000)
    """Predicted waypoints are kept within so many standard deviations in each step."""

    def rules(self, key: str, run: Any) -> None:
        """Group norms divide channels; DDIM leaves steps out."""
        uneven = [width for width in self.widths if width % 8]
        require(
            bool(self.widths) and not uneven,
            f"{key}.widths={self.widths} must be multiples of 8, one per level.",
        )
        require(
            self.kernel % 2 == 1 and self.step_channels % 2 == 0,
            f"{key}.kernel={self.kernel} must be odd, {key}.step_channels={self.step_channels} "
            "even.",
        )
        require(
            self.inference_steps <= self.steps,
            f"{key}.inference_steps={self.inference_steps} must be at most "
            f"{key}.steps={self.steps}.",
        )


@POLICIES.register("diffusion", DiffusionConfig)
class DiffusionPolicy(CoordinatesPolicy):
    """Waypoints by denoising, given the pooled feature and the state.

    Args:
        cfg: The model (configs/model/diffusion*.yaml).
        backbone_cfg: The backbone (configs/backbone).
        image_size: H = W of the images [px].
    """

    def __init__(self, cfg: DiffusionConfig, backbone_cfg: BackboneConfig, image_size: int):
        from diffusers import DDIMScheduler, DDPMScheduler  # takes seconds

        super().__init__(cfg, backbone_cfg, image_size, spatial=False)
        self.image = nn.Linear(self.feature_channels, cfg.features)
        self.unet = ConditionalUnet1d(
            *(self.action_size, cfg.features + 4), cfg.widths, cfg.step_channels, cfg.kernel
        )
        self.film: nn.Linear | None = None
        self.noising = DDPMScheduler(cfg.steps, **_SCHEDULE)
        self.denoising = DDIMScheduler(cfg.steps, clip_sample_range=cfg.clip, **_SCHEDULE)
        self.denoising.set_timesteps(cfg.inference_steps)
        generator = torch.Generator().manual_seed(_NOISE_SEED)
        noise = torch.randn(cfg.horizon, self.action_size, generator=generator)
        self.register_buffer("start", noise, persistent=False)

    def _listen(self, channels: int) -> None:
        """See `Policy`: the instruction scales and shifts the image's feature (FiLM)."""
        self.film = nn.Linear(channels, 2 * self.cfg.features)

    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """See `Policy.loss`. "noise" is the mean squared error of the predicted noise."""
        seen = self.seen(batch)
        target, visible = self.targets(batch, seen.camera)
        condition = self._condition(seen)
        clean, told, real = (
            x.repeat_interleave(self.cfg.draws, 0) for x in (_centred(target), condition, visible)
        )
        noise = torch.randn_like(clean)
        step = torch.randint(self.cfg.steps, (len(clean),), device=clean.device)
        predicted = self.unet(self.noising.add_noise(clean, noise, step), step, told).float()
        error = (predicted - noise).square() * real[..., None]
        loss = error.sum() / (real.sum().clamp(min=1) * self.action_size)
        scalars = {"loss": loss, "noise": loss, "masked": (~visible).sum()}
        if metrics:
            with torch.no_grad():
                actions = self._denoise(condition)
            scalars |= self.errors(actions, batch, seen.camera)
        return scalars

    def actions(self, seen: Seen) -> Tensor:
        """See `CoordinatesPolicy`."""
        return self._denoise(self._condition(seen))

    def _condition(self, seen: Seen) -> Tensor:
        """What the policy sees as (B, features + 4)."""
        image = self.image(self.features(seen)[:, 0])
        if self.film is not None:
            scale, shift = self.film(seen.told).chunk(2, 1)
            image = (1 + scale) * image + shift
        return torch.cat([image, seen.state.to(image.dtype)], 1)

    def _denoise(self, condition: Tensor) -> Tensor:
        """DDIM (Song et al., 2020) without noise of its own, from the same start for everyone."""
        x = self.start.expand(len(condition), -1, -1)
        for step in self.denoising.timesteps:
            noise = self.unet(x, step.to(x.device).expand(len(x)), condition).float()
            x = self.denoising.step(noise, step, x).prev_sample
        return torch.cat([x[..., :3], (x[..., 3:4] + 1) / 2, x[..., 4:]], -1)


def _centred(actions: Tensor) -> Tensor:
    """Actions with the gripper in [-1, 1], as diffusion wants them: about 0."""
    return torch.cat([actions[..., :3], 2 * actions[..., 3:4] - 1, actions[..., 4:]], -1)
