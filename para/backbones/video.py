"""The video backbone: features of a video diffusion model's single pass, one map per frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from para.backbones.base import BACKBONES, Backbone, BackboneConfig
from para.backbones.codec import PcaCodec
from para.backbones.conv import POOLED_CELLS
from para.backbones.svd import build_video_model
from para.backbones.video_model import VideoModel
from para.backbones.video_sampler import sample
from para.errors import ConfigError
from para.fields import LOCAL, READING, SEEDS, choice, marked, number, require


@dataclass
class VideoBackboneConfig(BackboneConfig):
    """Video diffusion model -> one feature map per frame.

    `weights` may be the path of a folder in diffusers' format. Fields marked READING say how its
    features are read; they do not change how the video model itself is trained.
    """

    learns_video: ClassVar[bool] = True

    kind: str = "video"
    hub: str = "stabilityai/stable-video-diffusion-img2vid"
    """Where the pretrained weights are on the hub."""
    size: list[int] | None = number(None, least=16, most=8192)
    """Height and width [px] of the frames that the video model sees; null: as the images are."""
    frames: int = number(7, least=1, most=1000)
    """F: frames of a clip; frame 0 is the current image."""
    frame_stride: int = number(6, least=1, most=1000)
    """Demo frames (0.1 s each) between the frames of a clip."""
    codec: str = choice("pca", ("pca", "kl"))
    """pca (fitted to the training demos in seconds) | kl (Stable Video Diffusion's own)."""
    image_encoder: bool = False
    """Condition on the CLIP embedding of the current image too; false: on zeros."""
    added_time_ids: list[float] = field(default_factory=lambda: [6.0, 127.0, 0.0])
    """Conditions of the UNet: frames per second - 1, motion bucket, noise on the first frame."""
    unet: dict[str, Any] = field(default_factory=dict)
    """Arguments of diffusers' UNetSpatioTemporalConditionModel; weights in a file must agree."""
    vae: dict[str, Any] = field(default_factory=dict)
    """Arguments of diffusers' AutoencoderKLTemporalDecoder (codec=kl)."""
    clip: dict[str, Any] = field(default_factory=dict)
    """Arguments of transformers' CLIPVisionConfig (image_encoder=true)."""
    norm_groups: int = number(32, least=1, most=16384)
    """Groups of all group norms in the UNet; diffusers always makes 32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third slower."""
    lora_rank: int = number(0, least=0, most=16384)
    """Train low-rank updates of the attention layers only; 0 trains all of the UNet."""
    blocks: list[int] = marked(READING, [1, 2])
    """Up blocks of the UNet whose features are read."""
    sigma: float = number(30.0, above=0, most=700, mark=READING)
    """Noise level of the single pass that features are read from."""
    noise_seed: int = number(0, least=0, most=SEEDS, mark=READING)
    """Of the fixed noise that the UNet sees at inference."""
    sigma_min: float = number(0.002, above=0, below=700, mark=LOCAL)
    """Noise level of the last pass when clips are generated."""

    def rules(self, key: str, run: Any) -> None:
        """Lists have their lengths; the clip reaches as far as the waypoints read from it."""
        super().rules(key, run)
        for name, value, length in (
            ("size", self.size, 2),
            ("added_time_ids", self.added_time_ids, 3),
        ):
            require(
                value is None or len(value) == length,
                f"{key}.{name}={value} must be {length} numbers.",
            )
        model = getattr(run, "model", None)
        if model is None or not model.acts:
            return
        seen, needed = (self.frames - 1) * self.frame_stride, model.horizon * model.waypoint_stride
        require(
            seen >= needed,
            f"{key}.frames={self.frames} frames, {key}.frame_stride={self.frame_stride} apart, end "
            f"{seen} demo frames ahead, but the last of model.horizon={model.horizon} waypoints is "
            f"{needed} ahead. Use more frames, a longer stride or fewer waypoints.",
        )


class VideoBackbone(Backbone):
    """Current image -> (B, F, C, h, w): frame k's map is about k * frame_stride demo frames ahead.

    The UNet sees the current image and pure noise at one high noise level, and what its up blocks
    know after one pass about each future frame is projected onto one grid. In training the noise
    is drawn; at inference it is fixed, so predictions are deterministic.

    Args:
        cfg: The backbone (configs/backbone/svd*.yaml).
        video: The video model.
        image_size: H = W of the images [px].
        map_size: h = w of the map. None: no projection, the map is that of the last block, and
            the pooled feature alone is meant to be read.
    """

    learns_video = True

    def __init__(
        self, cfg: VideoBackboneConfig, video: VideoModel, image_size: int, map_size: int | None
    ):
        super().__init__((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.video, self.sigma, self.sigma_min = video, cfg.sigma, cfg.sigma_min
        self.frames, self.frame_stride = cfg.frames, cfg.frame_stride
        self.input_size = tuple(cfg.size) if cfg.size else (image_size, image_size)
        up_blocks = video.unet.up_blocks
        self.blocks = sorted(set(cfg.blocks))
        if not self.blocks or not 0 <= self.blocks[0] <= self.blocks[-1] < len(up_blocks):
            raise ConfigError(
                f"backbone.blocks={list(cfg.blocks)} must be some of the UNet's up blocks: "
                f"{', '.join(map(str, range(len(up_blocks))))}."
            )
        cells = video.codec.factor * 2 ** (len(up_blocks) - 1)
        if len(self.input_size) != 2 or any(side % cells for side in self.input_size):
            raise ConfigError(
                f"Frames of {' x '.join(map(str, self.input_size))} px (backbone.size, or "
                f"env.image_size) must have a height and width that are multiples of {cells}, the "
                "coarsest stride of this video model."
            )

        widths = [video.unet.config.block_out_channels[-1 - k] for k in self.blocks]
        # the last up block keeps its size, each of the others doubles it
        coarser = max(0, len(up_blocks) - 2 - self.blocks[-1])
        last = tuple(side // video.codec.factor // 2**coarser for side in self.input_size)
        self.map_size = (map_size, map_size) if map_size else last
        self.stride = image_size / self.map_size[0]
        self.out_channels = cfg.channels if map_size else widths[-1]
        self.pooled_channels = self.frames * sum(widths) * POOLED_CELLS**2
        self.lateral = (
            nn.ModuleList(nn.Conv2d(width, cfg.channels, 1) for width in widths)
            if map_size
            else None
        )
        generator = torch.Generator().manual_seed(cfg.noise_seed)
        latents = tuple(side // video.codec.factor for side in self.input_size)
        noise = torch.randn(1, self.frames, video.codec.channels, *latents, generator=generator)
        self.register_buffer("noise", noise, persistent=False)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images in [-1, 1] -> maps (B, F, C, h, w), pooled blocks of all frames (B, P)."""
        condition = self.video.condition(self._resized(images))
        noise = self.noise.expand(len(images), -1, -1, -1, -1)
        if self.training:
            noise = torch.randn_like(noise)
        levels = self.video.features(noise, self.sigma, condition, self.blocks)
        means = [F.adaptive_avg_pool2d(level.flatten(1, 2), POOLED_CELLS) for level in levels]
        pooled = torch.cat([mean.flatten(1) for mean in means], 1)
        if self.lateral is None:
            return levels[-1], pooled
        total: Tensor | float = 0.0
        for lateral, level in zip(self.lateral, levels, strict=True):
            cells = lateral(level.flatten(0, 1))
            if cells.shape[2:] != self.map_size:
                cells = F.interpolate(cells, self.map_size, mode="bilinear", align_corners=False)
            total = total + cells
        return total.unflatten(0, (len(images), self.frames)), pooled

    def video_loss(self, clips: Tensor) -> Tensor:
        """Denoising loss of clips (B, F, 3, H, W) in [0, 1]; frame 0 is the given one.

        Raises:
            ConfigError: The clips have another number of frames than the backbone.
        """
        if clips.ndim != 5 or clips.shape[1] != self.frames:
            raise ConfigError(
                f"This video model predicts clips of {self.frames} frames (backbone.frames), got a "
                f"batch {tuple(clips.shape)}: give the data set the same number of clip frames."
            )
        frames = self._resized(((clips - self.mean) / self.std).flatten(0, 1))
        return self.video.loss(frames.unflatten(0, clips.shape[:2]))

    @torch.no_grad()
    def generate(self, images: Tensor, steps: int = 20, seed: int = 0) -> Tensor:
        """Clips (B, F, 3, H', W') in [0, 1] that begin with images (B, 3, H, W) in [0, 1].

        H' x W' is the video model's own frame size. Frame 0 is the given one: the loss does not
        teach to repeat it.

        Args:
            images: First frames.
            steps: Passes of the UNet.
            seed: Of the noise, which is the same for every image.
        """
        first = self._resized((images - self.mean) / self.std)
        clips = sample(self.video, first, self.noise.shape[1:], steps, seed, self.sigma_min)
        clips[:, 0] = first
        return clips * self.std + self.mean

    def fit_codec(self, images: Tensor) -> None:
        """Fit a codec that is fitted, to images (N, 3, H, W) in [0, 1]; others stay."""
        if isinstance(self.video.codec, PcaCodec):
            self.video.codec.fit(self._resized((images - self.mean) / self.std))

    def unused_by_policies(self) -> list[nn.Parameter]:
        """Parameters after the last block that is read: only the video loss trains them."""
        unet = self.video.unet
        after = [*unet.up_blocks[self.blocks[-1] + 1 :], unet.conv_norm_out, unet.conv_out]
        return [parameter for module in after for parameter in module.parameters()]

    def _resized(self, images: Tensor) -> Tensor:
        """Frames at the video model's size; both axes by their own factor, edges onto edges."""
        if images.shape[2:] == self.input_size:
            return images
        return F.interpolate(
            images, self.input_size, mode="bilinear", align_corners=False, antialias=True
        )


@BACKBONES.register("video", VideoBackboneConfig)
def video_backbone(
    cfg: VideoBackboneConfig, image_size: int, map_size: int | None
) -> VideoBackbone:
    """See `build_backbone`."""
    return VideoBackbone(cfg, build_video_model(cfg), image_size, map_size)
