"""What the regressing opponents share: DETR's transformer, from image tokens to waypoints.

Tokens are a latent, the proprioception (end-effector position and gripper), the image, and the
instruction where the policy is told one; a decoder
with one learned query per waypoint regresses normalised positions and gripper, in the frame of the
policy (`baselines/coordinates.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from baselines.coordinates import CoordinatesConfig, CoordinatesPolicy, Seen
from para.backbones import BackboneConfig
from para.fields import number, require


@dataclass
class TransformerConfig(CoordinatesConfig):
    """Sizes of the transformer."""

    hidden: int = number(128, least=4, most=16384)
    heads: int = number(4, least=1, most=1024)
    encoder_layers: int = number(2, least=1, most=100)
    decoder_layers: int = number(2, least=1, most=100)
    feedforward: int = number(512, least=1, most=65536)
    dropout: float = number(0.1, least=0, below=1)

    def rules(self, key: str, run: Any) -> None:
        """Heads share the channels."""
        require(
            self.hidden % self.heads == 0,
            f"{key}.hidden={self.hidden} must be a multiple of {key}.heads={self.heads}.",
        )


class WaypointRegressor(CoordinatesPolicy):
    """Image tokens and proprioception -> normalised waypoints, through an encoder and a decoder.

    Args:
        cfg: The model.
        backbone_cfg: The backbone (configs/backbone).
        image_size: H = W of the images [px].
        spatial: Read every cell of the backbone's map; else its one pooled feature.
        cells: h = w of the map; None: of the backbone's last stage.
        decoder_layers: Layers that are built; None: as many as `cfg` says.
    """

    def __init__(
        self,
        cfg: TransformerConfig,
        backbone_cfg: BackboneConfig,
        image_size: int,
        *,
        spatial: bool,
        cells: int | None = None,
        decoder_layers: int | None = None,
    ):
        super().__init__(cfg, backbone_cfg, image_size, spatial=spatial, cells=cells)
        self.image_token = nn.Linear(self.feature_channels, cfg.hidden)
        self.state_token = nn.Linear(4, cfg.hidden)
        # non-image tokens (latent, state) and a pooled image token have learned embeddings
        self.token_position = nn.Parameter(0.02 * torch.randn(2 if spatial else 3, cfg.hidden))
        size = self.backbone.map_size if spatial else (0, 0)
        grid = sine_embedding(*size, cfg.hidden) if spatial else torch.zeros(0, cfg.hidden)
        self.register_buffer("grid_position", grid, persistent=False)

        self.encoder = nn.ModuleList(EncoderLayer(cfg) for _ in range(cfg.encoder_layers))
        layers = decoder_layers or cfg.decoder_layers
        self.decoder = nn.ModuleList(DecoderLayer(cfg) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(cfg.hidden)
        self.query = nn.Parameter(torch.randn(cfg.horizon, cfg.hidden))
        self.action = nn.Linear(cfg.hidden, self.action_size)
        self.instruction_token: nn.Linear | None = None

    def _listen(self, channels: int) -> None:
        """See `Policy`: one more token; its bias is its embedding."""
        self.instruction_token = nn.Linear(channels, self.cfg.hidden)

    def actions(self, seen: Seen, latent: Tensor | None = None) -> Tensor:
        """Normalised actions (B, T, 4 or 8); the latent token (B, 1, C) is zero where none is."""
        image = self.image_token(self.features(seen))
        if latent is None:
            latent = image.new_zeros(len(image), 1, self.cfg.hidden)
        tokens = torch.cat([latent, self.state_token(seen.state)[:, None], image], 1)
        position = torch.cat([self.token_position, self.grid_position])
        if self.instruction_token is not None:
            tokens = torch.cat([tokens, self.instruction_token(seen.told)[:, None]], 1)
            position = torch.cat([position, torch.zeros_like(position[:1])])
        for layer in self.encoder:
            tokens = layer(tokens, position)
        queries = torch.zeros_like(self.query).expand(len(tokens), -1, -1)
        for layer in self.decoder:
            queries = layer(queries, self.query, tokens, position)
        return self.action(self.decoder_norm(queries)).float()


class EncoderLayer(nn.Module):
    """DETR's encoder layer (post-norm): position embeddings join queries and keys, not values."""

    def __init__(self, cfg: TransformerConfig):
        super().__init__()
        self.attention = nn.MultiheadAttention(
            cfg.hidden, cfg.heads, dropout=cfg.dropout, batch_first=True
        )
        self.feedforward = feedforward(cfg)
        self.norms = nn.ModuleList(nn.LayerNorm(cfg.hidden) for _ in range(2))
        self.dropout = nn.Dropout(cfg.dropout)

    def forward(self, x: Tensor, position: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Tokens (B, N, C), positions (N, C), tokens to ignore (B, N) bool -> (B, N, C)."""
        placed = x + position
        attended, _ = self.attention(placed, placed, x, key_padding_mask=ignore, need_weights=False)
        x = self.norms[0](x + self.dropout(attended))
        return self.norms[1](x + self.dropout(self.feedforward(x)))


class DecoderLayer(nn.Module):
    """DETR's decoder layer: attention among the queries, then to the encoder's tokens."""

    def __init__(self, cfg: TransformerConfig):
        super().__init__()
        self.to_queries, self.to_tokens = (
            nn.MultiheadAttention(cfg.hidden, cfg.heads, dropout=cfg.dropout, batch_first=True)
            for _ in range(2)
        )
        self.feedforward = feedforward(cfg)
        self.norms = nn.ModuleList(nn.LayerNorm(cfg.hidden) for _ in range(3))
        self.dropout = nn.Dropout(cfg.dropout)

    def forward(self, x: Tensor, query: Tensor, tokens: Tensor, position: Tensor) -> Tensor:
        """Queries so far (B, T, C), their embeddings (T, C), tokens (B, N, C), positions (N, C)."""
        placed = x + query
        attended, _ = self.to_queries(placed, placed, x, need_weights=False)
        x = self.norms[0](x + self.dropout(attended))
        attended, _ = self.to_tokens(x + query, tokens + position, tokens, need_weights=False)
        x = self.norms[1](x + self.dropout(attended))
        return self.norms[2](x + self.dropout(self.feedforward(x)))


def feedforward(cfg: TransformerConfig) -> nn.Module:
    """The two-layer network of a transformer layer."""
    return nn.Sequential(
        nn.Linear(cfg.hidden, cfg.feedforward),
        nn.ReLU(),
        nn.Dropout(cfg.dropout),
        nn.Linear(cfg.feedforward, cfg.hidden),
    )


def sine_embedding(height: int, width: int, channels: int) -> Tensor:
    """DETR's 2D sine position embedding, (height * width, channels); channels divisible by 4."""
    rows, columns = torch.meshgrid(
        2 * math.pi * (torch.arange(height) + 1) / height,
        2 * math.pi * (torch.arange(width) + 1) / width,
        indexing="ij",
    )
    frequency = 10000 ** -(torch.arange(channels // 4) / (channels // 4))
    angles = [coordinate.flatten()[:, None] * frequency for coordinate in (rows, columns)]
    return torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], 1)
