"""ACT: action chunking with transformers (Zhao et al., 2023), regressing world coordinates.

A DETR-like encoder reads the image feature, the proprioception (end-effector position and gripper)
and a latent; a decoder with one learned query per waypoint regresses normalised world positions
and gripper with an L1 loss. Camera matrices are not given to it, as published: that the camera
moved is something that it has to see.

Variants (configs/model): `act` reads one global feature (the CLS token, or the pooled feature of
a convolutional network), as the PARA paper's baseline does; `act_fixed` reads every cell of the
backbone's last map with 2D sine position embeddings; `act_published` is `act_fixed` with two
quirks of the published code: only the first decoder layer is used (detr_vae.py:131), and the
masked L1 is divided by padded steps too (policy.py:31).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from para.backbones import build_backbone
from para.config import ActModelConfig, AnyBackboneConfig
from para.errors import UnknownNameError
from para.policy import Policy
from para.types import ActionChunk, Observation

TOKENS = ("global", "spatial")
PADDING = ("supervise", "mask", "published")


class ActPolicy(Policy):
    """Action chunking transformer on a backbone's pooled feature or on its map's cells.

    Args:
        cfg: The model (configs/model/act*.yaml).
        backbone_cfg: The backbone (configs/backbone).
        image_size: H = W of the images [px].
    """

    def __init__(self, cfg: ActModelConfig, backbone_cfg: AnyBackboneConfig, image_size: int):
        super().__init__(cfg, image_size)
        for kind, value, known in (
            ("model.tokens", cfg.tokens, TOKENS),
            ("model.padding", cfg.padding, PADDING),
        ):
            if value not in known:
                raise UnknownNameError(kind, value, known)
        self.backbone = build_backbone(backbone_cfg, image_size, None)
        spatial = cfg.tokens == "spatial"
        width = self.backbone.out_channels if spatial else self.backbone.pooled_channels
        self.image_token = nn.Linear(width, cfg.hidden)
        self.state_token = nn.Linear(4, cfg.hidden)
        cells = self.backbone.map_size if spatial else None
        # non-image tokens (latent, state) and a pooled image token have learned embeddings
        self.token_position = nn.Parameter(0.02 * torch.randn(2 if spatial else 3, cfg.hidden))
        grid = sine_embedding(*cells, cfg.hidden) if cells else torch.zeros(0, cfg.hidden)
        self.register_buffer("grid_position", grid, persistent=False)

        self.encoder = nn.ModuleList(EncoderLayer(cfg) for _ in range(cfg.encoder_layers))
        used = 1 if cfg.read_first_layer else cfg.decoder_layers
        self.decoder = nn.ModuleList(DecoderLayer(cfg) for _ in range(used))
        self.decoder_norm = nn.LayerNorm(cfg.hidden)
        self.query = nn.Parameter(torch.randn(cfg.horizon, cfg.hidden))
        self.action_size = 3 + 1 + (3 if cfg.rotations else 0)
        self.action = nn.Linear(cfg.hidden, self.action_size)
        self.latent = nn.Linear(cfg.latent_dim, cfg.hidden) if cfg.cvae else None
        self.posterior = Posterior(cfg, self.action_size) if cfg.cvae else None

    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """See `Policy.loss`. "l1" is in standard deviations of the waypoints."""
        cfg = self.cfg
        state = self._state(batch["ee_position"].float(), batch["gripper"].float())
        waypoints = (batch["waypoints"].float() - self.waypoint_mean) / self.waypoint_std
        actions = [waypoints, batch["waypoint_gripper"].float()[..., None]]
        if cfg.rotations:
            actions.append(batch["waypoint_rotation"].float())
        target = torch.cat(actions, -1)

        real = ~batch["padded"]
        parts: dict[str, Tensor] = {}
        latent = None
        if self.posterior is not None:
            mean, log_variance = self.posterior(state, target, real).float().chunk(2, -1)
            latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(-1).mean()
            parts["kl"] = divergence
        predicted = self._actions(batch["image"], state, latent)
        error = (predicted - target).abs()
        if cfg.padding != "supervise":
            error = error * real[..., None]
        count = (
            real.sum().clamp(min=1) * self.action_size if cfg.padding == "mask" else error.numel()
        )
        parts["l1"] = error.sum() / count
        loss = parts["l1"] + (cfg.kl_weight * parts["kl"] if "kl" in parts else 0)
        scalars = {"loss": loss, **parts, "masked": loss.new_zeros((), dtype=torch.long)}
        if metrics:
            with torch.no_grad():
                offset = (predicted - target)[..., :3] * self.waypoint_std
                wrong = (predicted[..., 3] > 0.5) != (target[..., 3] > 0.5)
                scalars["position_error_mm"] = 1000 * offset.norm(dim=-1).mean()
                scalars["gripper_error"] = wrong.float().mean()
        return scalars

    def _predict(self, images: Tensor, observations: Sequence[Observation]) -> list[ActionChunk]:
        actions = self._actions(images, self._state(*self._states(observations)), None)
        positions = actions[..., :3] * self.waypoint_std + self.waypoint_mean
        # labels are the commands "open" and "close": what is commanded is one of the two
        gripper = (actions[..., 3] > 0.5).float().cpu().numpy()
        positions = positions.double().cpu().numpy()
        rotations = actions[..., 4:].cpu().numpy() if self.cfg.rotations else None
        return [
            ActionChunk(
                positions=positions[i],
                gripper=gripper[i],
                rotations=None if rotations is None else rotations[i],
            )
            for i in range(len(observations))
        ]

    def _state(self, ee_position: Tensor, gripper: Tensor) -> Tensor:
        """Normalised proprioception (B, 4)."""
        position = (ee_position - self.ee_mean) / self.ee_std
        return torch.cat([position, 2 * gripper[:, None] - 1], 1)

    def _actions(self, images: Tensor, state: Tensor, latent: Tensor | None) -> Tensor:
        """Normalised actions (B, T, 4 or 7); no latent (at inference) means the prior's mean, 0."""
        cfg = self.cfg
        cells, pooled = self.backbone(images)
        image = cells.flatten(2).transpose(1, 2) if cfg.tokens == "spatial" else pooled[:, None]
        image = self.image_token(image)
        zeros = image.new_zeros(len(state), 1, cfg.hidden)
        if self.latent is not None:
            sampled = state.new_zeros(len(state), cfg.latent_dim) if latent is None else latent
            zeros = self.latent(sampled)[:, None]
        tokens = torch.cat([zeros, self.state_token(state)[:, None], image], 1)
        position = torch.cat([self.token_position, self.grid_position])
        for layer in self.encoder:
            tokens = layer(tokens, position)
        queries = torch.zeros_like(self.query).expand(len(tokens), -1, -1)
        for layer in self.decoder:
            queries = layer(queries, self.query, tokens, position)
        return self.action(self.decoder_norm(queries)).float()


class EncoderLayer(nn.Module):
    """DETR's encoder layer (post-norm): position embeddings join queries and keys, not values."""

    def __init__(self, cfg: ActModelConfig):
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

    def __init__(self, cfg: ActModelConfig):
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


class Posterior(nn.Module):
    """The CVAE's encoder: q(latent | state, actions), in training only."""

    def __init__(self, cfg: ActModelConfig, action_size: int):
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


def feedforward(cfg: ActModelConfig) -> nn.Module:
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
