"""Latent codecs: frames to the small latents that a video diffusion model works on, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from para.doubles import double_on_cpu

_BLOCK = 4
"""Pixels per side of the blocks that `PcaCodec` turns into latents."""


class Codec(nn.Module, ABC):
    """Frames (N, 3, H, W) in [-1, 1] <-> latents (N, C, H / factor, W / factor) of std near 1.

    Never trained by gradient descent here: it is fitted, or comes with its weights.

    Attributes:
        channels: C.
        factor: Pixels per latent cell and side.
    """

    channels: int
    factor: int

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Latents that the diffusion model learns to predict."""

    def condition(self, frames: Tensor) -> Tensor:
        """Latents of first frames as the UNet's condition; the same as `encode` by default."""
        return self.encode(frames)

    @abstractmethod
    def decode(self, latents: Tensor, frames: int) -> Tensor:
        """Inverse of `encode` for latents of whole clips of `frames` frames, in [-1, 1]."""


class PcaCodec(Codec):
    """Principal components of 4 x 4 pixel blocks, each scaled to variance 1.

    A linear code of the best reconstruction keeps objects of a few pixels, which autoencoders that
    were trained for minutes do not.

    Args:
        channels: C, components kept of 48.
    """

    factor = _BLOCK

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        values = 3 * _BLOCK**2
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("components", torch.eye(channels, values))
        self.register_buffer("std", torch.ones(channels))

    def fit(self, frames: Tensor) -> None:
        """Fit to frames (N, 3, H, W) in [-1, 1]; the same frames give the same code."""
        blocks = F.pixel_unshuffle(double_on_cpu(frames), _BLOCK).transpose(0, 1).flatten(1)
        mean = blocks.mean(1)
        variances, vectors = torch.linalg.eigh(torch.cov(blocks))
        best = vectors[:, -self.channels :].flip(1).T
        # eigenvectors have no sign of their own: make the largest entry positive
        largest = best.gather(1, best.abs().argmax(1, keepdim=True))
        self.mean.copy_(mean)
        self.components.copy_(best * largest.sign())
        self.std.copy_(variances[-self.channels :].flip(0).clamp(min=1e-8).sqrt())

    def encode(self, frames: Tensor) -> Tensor:
        """See `Codec.encode`."""
        blocks = F.pixel_unshuffle(frames.float(), _BLOCK) - self.mean[:, None, None]
        return torch.einsum("nvhw,cv->nchw", blocks, self.components / self.std[:, None])

    def decode(self, latents: Tensor, frames: int) -> Tensor:
        """See `Codec.decode`; frames are decoded one by one."""
        basis = self.components * self.std[:, None]
        blocks = torch.einsum("nchw,cv->nvhw", latents.float(), basis)
        return F.pixel_shuffle(blocks + self.mean[:, None, None], _BLOCK).clamp(-1, 1)


class KlCodec(Codec):
    """Stable Video Diffusion's autoencoder; conditions are not scaled, as it was trained.

    Args:
        vae: diffusers' AutoencoderKLTemporalDecoder.
    """

    def __init__(self, vae: nn.Module):
        super().__init__()
        self.vae = vae.requires_grad_(False)
        self.channels = vae.config.latent_channels
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)

    def encode(self, frames: Tensor) -> Tensor:
        """See `Codec.encode`."""
        return self.condition(frames) * self.vae.config.scaling_factor

    def condition(self, frames: Tensor) -> Tensor:
        """See `Codec.condition`: the mode of the posterior, unscaled."""
        return self.vae.encode(frames.float()).latent_dist.mode()

    def decode(self, latents: Tensor, frames: int) -> Tensor:
        """See `Codec.decode`; the decoder smooths over time."""
        latents = latents.float() / self.vae.config.scaling_factor
        return self.vae.decode(latents, num_frames=frames).sample.clamp(-1, 1)
