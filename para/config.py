"""Every configuration key, its type, its unit and its default: the schema of `configs/*.yaml`.

Hydra composes the YAML files against these dataclasses, so a mistyped key or a value of the wrong
type fails at once. `validate` holds all rules that involve more than one key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class EnvConfig:
    """The simulated scene and its default camera (configs/env)."""

    image_size: int = 128
    """Height and width of policy images [px]."""
    camera_distance: float = 1.5
    """From the camera to the point that it looks at [m]."""
    camera_elevation_deg: float = 50.0
    camera_fovy_deg: float = 45.0
    theta_max_deg: float = 25.0
    """Largest polar angle of the viewpoint cap."""
    max_steps: int = 600
    """Control steps (20 ms each) that an episode may take."""


@dataclass
class BackboneConfig:
    """Image -> feature map + pooled feature (configs/backbone)."""

    name: str = MISSING
    timm_name: str = MISSING
    """Any timm model with features (`timm.list_models()`)."""
    weights: str = "random"
    """random | pretrained (hub or its cache) | path of a weight file (timm's or the authors')."""
    stride: int | None = 4
    """Image pixels per feature cell; convolutional nets reach it with a small feature pyramid,
    ViTs by upsampling. None: the model's own."""
    channels: int = 64
    """Channels of the feature map that the heads read."""
    width: float = 1.0
    """Channel multiplier of networks that support it (trained from scratch)."""
    pretrained_mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    pretrained_std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])


@dataclass
class ModelConfig:
    """What every policy has (configs/model)."""

    name: str = MISSING
    """Name in run folders, results and figures."""
    kind: str = MISSING
    """para | act: which policy class reads the rest."""
    horizon: int = 12
    """T: waypoints per prediction."""
    waypoint_stride: int = 3
    """Demo frames (0.1 s each) between waypoints."""
    execute: int = 4
    """Waypoints executed before planning again."""


@dataclass
class ParaModelConfig(ModelConfig):
    """Pixel-aligned head: heatmap, height bins at a pixel, ray meets plane."""

    head: str = "factorised"
    """factorised | volume."""
    hidden: int = 64
    heatmap_size: int = 32
    """Cells per side of the heatmap."""
    height_bins: int = 32
    height_min: float = 0.0
    """Lowest bin centre, world z [m]."""
    height_max: float = 0.32
    """Highest bin centre, world z [m]."""
    target_sigma: float = 1.5
    """Standard deviation of the soft heatmap target [cells]."""
    height_window: int = 1
    """Heights are supervised at the cells within this many cells of the true one."""
    subcell: bool = True
    """Refine the argmax by a local soft-argmax, for pixels and for heights."""
    ee_pixel: bool = True
    """Add a learned embedding to the feature map at the current end-effector pixel."""
    rotation_bins: int = 0
    """Bins per Euler axis; 0 predicts no rotation."""


@dataclass
class ActModelConfig(ModelConfig):
    """Action chunking transformer on a global feature or on tokens (Zhao et al., 2023)."""

    tokens: str = "global"
    """global (one pooled / CLS token) | spatial (every cell of the feature map)."""
    hidden: int = 128
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 2
    feedforward: int = 512
    dropout: float = 0.1
    read_first_layer: bool = False
    """Reproduces the published code, which decodes only the first decoder layer's output."""
    loss_over_padding: bool = False
    """Reproduces the published code, whose mean L1 also divides by padded steps."""
    cvae: bool = False
    latent_dim: int = 32
    kl_weight: float = 10.0
    rotations: bool = False


@dataclass
class AugmentConfig:
    """Augmentation; geometric ones move labels and camera matrices with the image."""

    crop: float = 0.0
    """Largest fraction of the image cut away by a random crop (resized back to full size)."""
    shift: float = 0.0
    """Largest shift, as a fraction of the image size."""
    scale: float = 0.0
    """Scale is drawn from [1 - scale, 1 + scale]."""
    rotate_deg: float = 0.0
    """Largest in-plane rotation."""
    camera_rotate_deg: float = 0.0
    """Largest rotation of the camera about its own centre (pan and tilt): an exact homography."""
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    """Largest hue shift, as a fraction of the colour circle."""
    noise: float = 0.0
    """Standard deviation of additive Gaussian noise, images in [0, 1]."""


@dataclass
class RegionConfig:
    """Positions on the workspace, which is [-0.195, 0.195] x [-0.30, 0.30] m around its centre."""

    kind: str = "all"
    """all | left | right | near | far | corner | grid.
    left: y < 0 (left in the default image); near: x < 0 (near the robot)."""
    count: int | None = None
    """Number of grid positions (corner, grid); None takes all of the region."""


@dataclass
class ViewConfig:
    """Viewpoints on the 8 x 8 cap, by index: theta 0..7 is 0 ... 25 deg, phi 0..7 is 0 ... 315."""

    thetas: list[int] = field(default_factory=lambda: [0])
    phis: list[int] = field(default_factory=lambda: [0])


@dataclass
class TestConfig:
    """Start conditions of one test, drawn from `seed`, identical for every policy."""

    positions: RegionConfig = field(default_factory=RegionConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    episodes: int = 100
    """Total number; with several viewpoints they are spread evenly over them."""
    distractors: list[int] = field(default_factory=lambda: [0, 0])
    """Fewest and most distractors; the number is drawn per episode."""
    jitter_of_training: bool = False
    """Draw training positions, moved by at most half a grid cell, instead of `positions`."""


@dataclass
class SplitConfig:
    """Which demos train, which conditions test (configs/split)."""

    name: str = MISSING
    title: str = MISSING
    """One line for tables and figures."""
    dataset: str = MISSING
    """objpos | viewpoints."""
    train_set: str = MISSING
    """Name of the training set; splits that share it share training runs."""
    train_positions: RegionConfig = field(default_factory=RegionConfig)
    train_views: ViewConfig = field(default_factory=ViewConfig)
    ood: TestConfig = field(default_factory=TestConfig)
    sanity: TestConfig = field(default_factory=TestConfig)
    test_seed: int = 20240


@dataclass
class TrainingConfig:
    """The optimisation (part of configs/profile)."""

    steps: int = 1500
    batch_size: int = 32
    learning_rate: float = 1e-3
    backbone_learning_rate: float | None = None
    """None: the same as learning_rate."""
    weight_decay: float = 0.05
    warmup_steps: int = 50
    clip_norm: float = 1.0
    accumulate: int = 1
    """Batches per optimiser step."""
    ema_decay: float = 0.998
    precision: str = "bf16"
    """bf16 | fp16 | fp32."""
    log_every: int = 20
    checkpoint_every: int = 250
    validation_demos: int = 8
    """Held-out training-distribution demos, for the validation loss (never used to choose)."""
    data_workers: int = 0
    """Loader processes; 0 loads in a background thread of the training process."""


@dataclass
class CommonConfig:
    """Keys that every script understands."""

    seed: int = 0
    robot: str = "panda"
    """panda | hand."""
    layout: str = "together"
    """together | independent: do bowl and plate move together?"""
    profile: str = MISSING
    """Name of the profile; chosen with profile=..."""
    env: EnvConfig = field(default_factory=EnvConfig)
    data_dir: str = "data"
    runs_dir: str = "runs"
    results_dir: str = "results"
    outputs_dir: str = "outputs"
    """Pictures and videos."""
    workers: int | None = None
    """Parallel processes; None: the cores that are really available."""


@dataclass
class GenerateConfig(CommonConfig):
    """scripts/generate_demos.py"""

    dataset: str = "objpos"
    """objpos | viewpoints."""
    limit: int | None = None
    """Generate at most this many episodes, spread evenly over the set."""
    preview: bool = True
    """Also write a contact sheet and train_demo_*.mp4."""


@dataclass
class TrainConfig(CommonConfig):
    """scripts/train.py"""

    model: Any = MISSING
    backbone: BackboneConfig = MISSING
    split: SplitConfig = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    budget_minutes: float | None = None
    """Stop after this many minutes of training, even if steps remain."""
    fresh: bool = False
    """Delete what an earlier run of the same name left, instead of resuming it."""
    limit: int | None = None
    """Use the demo set made with the same `limit` (smoke runs)."""
    wandb: str = "off"
    """off | offline | online."""


@dataclass
class EvalConfig(CommonConfig):
    """scripts/eval.py"""

    split: SplitConfig = MISSING
    model: str | None = None
    """Model to evaluate; None: every trained model of the split."""
    backbone: str | None = None
    """Backbone to evaluate; None: every trained one."""
    tests: list[str] = field(default_factory=lambda: ["ood", "sanity"])
    episodes: int | None = None
    """Episodes per test; None: as many as the split says."""
    batch: int = 8
    """Episodes that one process runs in lock step, so that inference is batched."""
    video: int = 1
    """Rollout videos to save per model and test."""
    fresh: bool = False
    """Forget episodes that were evaluated before."""
    wandb: str = "off"
