"""The video diffusion model: first frame in, denoised clips or the UNet's features out.

Noise levels, preconditioning and loss weights are those of Karras et al. (2022), "Elucidating the
design space of diffusion-based generative models", table 1, with data of standard deviation 1 and
the skip connection of Stable Video Diffusion (Blattmann et al., 2023, appendix C):

    D(x, s) = x / (s^2 + 1) - s / sqrt(s^2 + 1) * UNet(x / sqrt(s^2 + 1), ln(s) / 4)

Latents of clips are (B, F, C, h, w).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from para.backbones.codec import Codec

LN_SIGMA_MEAN, LN_SIGMA_STD = 1.0, 1.6
"""ln(sigma) of the noise levels in training is normally distributed (SVD, appendix D)."""
_CLIP_SIZE = 224
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Condition:
    """What the UNet knows about a clip.

    Attributes:
        latents: (B, C, h, w) of the first frame.
        embedding: (B, 1, D) of the first frame, from the image encoder, or zeros.
    """

    latents: Tensor
    embedding: Tensor


class _StopPass(Exception):
    """Ends a forward pass of the UNet whose remaining blocks nobody needs."""


class VideoModel(nn.Module):
    """UNet, codec and image encoder of Stable Video Diffusion, at any size.

    Args:
        unet: diffusers' UNetSpatioTemporalConditionModel.
        codec: Frames <-> latents.
        image_encoder: transformers' CLIPVisionModelWithProjection; None: its embedding is zero.
        frames: F.
        added_time_ids: Frames per second - 1, motion bucket, noise added to the first frame.
    """

    def __init__(
        self,
        unet: nn.Module,
        codec: Codec,
        image_encoder: nn.Module | None,
        frames: int,
        added_time_ids: Sequence[float],
    ):
        super().__init__()
        self.unet, self.codec, self.frames = unet, codec, frames
        self.image_encoder = image_encoder
        if image_encoder is not None:
            image_encoder.requires_grad_(False)
        self.register_buffer("added_time_ids", torch.tensor(added_time_ids), persistent=False)

    @torch.no_grad()
    def condition(self, images: Tensor) -> Condition:
        """Condition on first frames (B, 3, H, W) in [-1, 1]; no gradients."""
        with torch.autocast(images.device.type, enabled=False):
            latents = self.codec.condition(images)
        if self.image_encoder is None:
            width = self.unet.config.cross_attention_dim
            return Condition(latents, images.new_zeros(len(images), 1, width))
        small = F.interpolate(images, (_CLIP_SIZE, _CLIP_SIZE), mode="bicubic", antialias=True)
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (_CLIP_MEAN, _CLIP_STD))
        embedding = self.image_encoder(((small + 1) / 2 - mean) / std).image_embeds
        return Condition(latents, embedding[:, None])

    def unet_output(self, scaled: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """The UNet on noisy latents (B, F, C, h, w) of variance 1 at times ln(s) / 4 (B,)."""
        first = condition.latents[:, None].expand(-1, scaled.shape[1], -1, -1, -1)
        return self.unet(
            torch.cat([scaled, first], 2),
            times,
            encoder_hidden_states=condition.embedding,
            added_time_ids=self.added_time_ids.expand(len(scaled), -1),
        ).sample

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """D: the expected clean latents of noisy ones (B, F, C, h, w) of levels sigma (B,)."""
        level = sigma.view(-1, 1, 1, 1, 1)
        scale = (level**2 + 1).rsqrt()
        output = self.unet_output(noisy * scale, sigma.log() / 4, condition).float()
        return noisy * scale**2 - level * scale * output

    def features(
        self, noise: Tensor, sigma: float, condition: Condition, blocks: Sequence[int]
    ) -> list[Tensor]:
        """Outputs of some up blocks for pure noise: [(B, F, C_k, h_k, w_k)], fine blocks last.

        The noisy input is sigma times `noise` (B, F, C, h, w) with no clip in it, also in training:
        else the features would see the future that they are trained to predict.
        """
        times = noise.new_full((len(noise),), math.log(sigma) / 4)
        scale = sigma / math.sqrt(sigma**2 + 1)
        up_blocks = [self.unet.up_blocks[k] for k in blocks]
        with _outputs_of(up_blocks) as outputs, suppress(_StopPass):
            self.unet_output(scale * noise, times, condition)
        return [output.unflatten(0, noise.shape[:2]) for output in outputs]

    def loss(self, clips: Tensor) -> Tensor:
        """Denoising loss of clips (B, F, 3, H, W) in [-1, 1] on all frames but the given first.

        The mean of (1 + s^2) / s^2 * (D - latents)^2, which is 1 for a UNet that outputs zeros.
        """
        with torch.no_grad(), torch.autocast(clips.device.type, enabled=False):
            latents = self.codec.encode(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        condition = self.condition(clips[:, 0])
        drawn = torch.randn(len(clips), device=clips.device)
        sigma = (LN_SIGMA_MEAN + LN_SIGMA_STD * drawn).exp()
        level = sigma.view(-1, 1, 1, 1, 1)
        noisy = latents + level * torch.randn_like(latents)
        error = self.denoise(noisy, sigma, condition) - latents
        weight = (1 + level**2) / level**2
        return (weight * error**2)[:, 1:].mean()


@contextmanager
def _outputs_of(blocks: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect the outputs of `blocks` in one forward pass, which ends after the last of them.

    The hooks exist only inside the context: hooks that stay would be copied with the averaged
    model and still write to the original's list.
    """
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        outputs.append(output)
        if len(outputs) == len(blocks):
            raise _StopPass

    hooks = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
