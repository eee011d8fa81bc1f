"""The conditional 1D U-Net of Diffusion Policy (Chi et al., 2023), of diffusers' building blocks.

diffusers' own 1D U-Nets know the time step only; here every residual block is scaled and shifted
(FiLM, Perez et al., 2018) by what the policy sees. diffusers takes a second or two to import, so
only those who build a network pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GROUPS = 8
"""Of the group norm in diffusers' `Conv1dBlock`, and in Chi et al."""


class ConditionalUnet1d(nn.Module):
    """Noisy sequences, the step and a condition -> the noise.

    Args:
        channels: A, numbers per element of the sequence.
        condition: C, numbers of the condition.
        widths: Channels per level, each half as long as the one before; multiples of 8.
        step_channels: Channels of the step's embedding.
        kernel: Size of the convolutions, odd.
    """

    def __init__(
        self,
        channels: int,
        condition: int,
        widths: Sequence[int],
        step_channels: int,
        kernel: int,
    ):
        from diffusers.models.downsampling import Downsample1D
        from diffusers.models.embeddings import TimestepEmbedding, Timesteps
        from diffusers.models.resnet import Conv1dBlock
        from diffusers.models.upsampling import Upsample1D

        super().__init__()
        self.step = nn.Sequential(
            Timesteps(step_channels, flip_sin_to_cos=False, downscale_freq_shift=1),
            TimestepEmbedding(step_channels, 4 * step_channels, "mish", step_channels),
        )

        def pair(before: int, after: int) -> nn.ModuleList:
            sizes = ((before, after), (after, after))
            return nn.ModuleList(
                ResidualBlock(a, b, step_channels + condition, kernel) for a, b in sizes
            )

        levels = list(pairwise(widths))[::-1]  # from the coarsest but one to the finest
        steps = list(zip([channels, *widths[:-1]], widths, strict=True))
        self.down = nn.ModuleList(pair(*sizes) for sizes in steps)
        self.shrink = nn.ModuleList(Downsample1D(n, use_conv=True) for n in widths[:-1])
        self.middle = pair(widths[-1], widths[-1])
        self.grow = nn.ModuleList(
            Upsample1D(coarse, use_conv_transpose=True, out_channels=fine)
            for fine, coarse in levels
        )
        self.up = nn.ModuleList(pair(2 * fine, fine) for fine, _ in levels)
        self.out = nn.Sequential(
            Conv1dBlock(widths[0], widths[0], kernel, n_groups=_GROUPS),
            nn.Conv1d(widths[0], channels, 1),
        )

    def forward(self, x: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """Sequences (B, T, A), steps (B,), conditions (B, C) -> (B, T, A)."""
        length, coarsest = x.shape[1], 2 ** len(self.shrink)
        # zeros after the end, so that every level is twice as long as the next
        x = F.pad(x.transpose(1, 2), (0, -length % coarsest))
        told = torch.cat([self.step(step), condition], 1)
        skipped = []
        for level, blocks in enumerate(self.down):
            x = _through(blocks, x, told)
            if level < len(self.shrink):
                skipped.append(x)
                x = self.shrink[level](x)
        x = _through(self.middle, x, told)
        for grow, blocks in zip(self.grow, self.up, strict=True):
            x = _through(blocks, torch.cat([grow(x), skipped.pop()], 1), told)
        return self.out(x)[..., :length].transpose(1, 2)


class ResidualBlock(nn.Module):
    """Convolution, group norm, Mish; FiLM by the condition; the same again; added to the input."""

    def __init__(self, before: int, after: int, condition: int, kernel: int):
        from diffusers.models.resnet import Conv1dBlock

        super().__init__()
        self.first = Conv1dBlock(before, after, kernel, n_groups=_GROUPS)
        self.second = Conv1dBlock(after, after, kernel, n_groups=_GROUPS)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * after))
        self.skip = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, before, T), (B, C) -> (B, after, T)."""
        scale, shift = self.film(condition)[..., None].chunk(2, 1)
        return self.second(scale * self.first(x) + shift) + self.skip(x)


def _through(blocks: nn.ModuleList, x: Tensor, condition: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, condition)
    return x
