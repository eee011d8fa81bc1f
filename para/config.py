"""Every configuration key, its type, its unit and its default: the schema of `configs/*.yaml`.

Hydra composes the YAML files against these dataclasses, so a mistyped key or a value of the wrong
type fails at once. `validate` holds all rules that involve more than one key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from para.errors import ConfigError, UnknownNameError


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
    channels: int = 64
    """Channels of the feature map that the heads read."""
    width: float = 1.0
    """Channel multiplier of ResNets and ConvNeXts that are trained from scratch."""
    norm: str = "own"
    """own | group: replace a ResNet's batch norm by group norm when training from scratch, so
    that a prediction depends on neither the rest of the batch nor running statistics."""


@dataclass
class VideoBackboneConfig:
    """Video diffusion model -> one feature map per frame (configs/backbone).

    The last keys (from `channels`) say how its features are read and clips generated; they do not
    change how the video model itself is trained.
    """

    name: str = MISSING
    kind: str = "video"
    weights: str = "random"
    """random | pretrained (hub or its cache) | path of a folder in diffusers' format."""
    hub: str = "stabilityai/stable-video-diffusion-img2vid"
    """Where the pretrained weights are on the hub."""
    size: list[int] | None = None
    """Height and width [px] of the frames that the video model sees; null: as the images are."""
    frames: int = 7
    """F: frames of a clip; frame 0 is the current image."""
    frame_stride: int = 6
    """Demo frames (0.1 s each) between the frames of a clip."""
    codec: str = "pca"
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
    norm_groups: int = 32
    """Groups of all group norms in the UNet; diffusers always makes 32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third slower."""
    lora_rank: int = 0
    """Train low-rank updates of the attention layers only; 0 trains all of the UNet."""
    channels: int = 64
    """Channels of the feature maps that the heads read."""
    blocks: list[int] = field(default_factory=lambda: [1, 2])
    """Up blocks of the UNet whose features are read."""
    sigma: float = 30.0
    """Noise level of the single pass that features are read from."""
    noise_seed: int = 0
    """Of the fixed noise that the UNet sees at inference."""
    sigma_min: float = 0.002
    """Noise level of the last pass when clips are generated."""


VIDEO_READING = ("channels", "blocks", "sigma", "noise_seed")
"""Keys of `VideoBackboneConfig` that say how features are read, not what the video model is."""


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
    """Cells per side of the heatmap; configs/profile sets it (32 laptop, 64 paper)."""
    height_bins: int = 32
    height_min: float = 0.0
    """Lowest bin centre, world z [m]."""
    height_max: float = 0.32
    """Highest bin centre, world z [m]."""
    target_sigma: float = 1.5
    """Standard deviation of the soft heatmap target [cells]."""
    height_window: float = 0.5
    """Heights are supervised at 3 x 3 points around the true pixel, this far apart [cells]."""
    subcell: bool = True
    """Refine the argmax by a local soft-argmax, for pixels and for heights."""
    ee_pixel: bool = True
    """Tell the feature map where in the image the end effector is."""
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
    padding: str = "supervise"
    """Waypoints past the end of a demo, where the last pose repeats: supervise (as PARA does) |
    mask (mean L1 over real steps) | published (masked, but divided by padded steps too, a quirk
    of the published code)."""
    cvae: bool = False
    latent_dim: int = 32
    kl_weight: float = 10.0
    rotations: bool = False


@dataclass
class VideoModelConfig(ModelConfig):
    """The video backbone alone, trained to predict frames: the first stage of some recipes.

    Waypoints are only drawn into its pictures.
    """


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
    """all | left | right | near | far | corner | grid | spread (as grid, but centred).
    left: y < 0 (left in the default image); near: x < 0 (near the robot)."""
    count: int | None = None
    """Number of grid positions (corner, grid, spread); None takes all of the region."""


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
    shard: bool = False
    """Split weights, gradients, moments and averages over all processes, for models that do not
    fit one GPU; needs `accelerate launch` or `torchrun` with several. Launching with
    configs/accelerate/fsdp.yaml sets it."""
    data_workers: int = 0
    """Loader processes; 0 loads in a background thread of the training process."""


@dataclass
class RatesConfig:
    """Peak learning rates of the parts of a policy on a video backbone; null freezes a part."""

    video: float | None = None
    """Of the UNet. Codec and image encoder are never trained by a recipe."""
    heads: float | None = None
    """Of all that reads the UNet's features."""


@dataclass
class StageConfig:
    """One stage of a recipe: a training run of its own, in a folder of its own."""

    losses: list[str] = MISSING
    """video (predict the clip's frames) and / or policy (predict the waypoints). Each is divided
    by a running mean of itself where there are both."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    steps: int = MISSING
    batch_size: int = 8
    minutes: float | None = None
    """Stop after this many minutes, even if steps remain."""
    split: str | None = None
    """Split whose demos it trains on; null: the run's own."""
    after: str | None = None
    """Run (<train_set>/<model>-<backbone>) that it starts from; a recipe sets it, not the user."""
    after_steps: int = 0
    """Steps that the stages before it were given; a recipe sets it, not the user."""


@dataclass
class RecipeConfig:
    """How a video backbone and the heads on it are trained (configs/recipe)."""

    name: str = MISSING
    """Becomes part of the policy's name: para + two_stage is para_two_stage."""
    stages: dict[str, StageConfig] = field(default_factory=dict)
    """In the order in which they are trained; each starts from the weights of the one before. A
    first stage that only learns video is shared by all recipes that give it this name."""


@dataclass
class CommonConfig:
    """Keys that every script understands."""

    seed: int = 0
    """Of everything random in training; starts of an evaluation do not depend on it."""
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
    """Parallel processes, or threads in training; null: the cores that are available (and free)."""


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
    backbone: Any = MISSING
    split: SplitConfig = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    recipe: RecipeConfig | None = None
    """Stages of training for video backbones; null: one run with training.* and all losses of the
    policy."""
    stage: StageConfig | None = None
    """What this run does as a stage of a recipe; a recipe sets it, not the user."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    budget_minutes: float | None = None
    """Stop after this many minutes of training, even if steps remain."""
    fresh: bool = False
    """Delete what an earlier run of the same name left, instead of resuming it."""
    limit: int | None = None
    """Use the demo set made with the same `limit` (smoke runs)."""
    wandb: str = "off"
    """off | offline | online."""
    heatmap_size: int = 32
    """Cells per side of a heatmap at this profile; pixel-aligned models read it from here."""


@dataclass
class EvalConfig(CommonConfig):
    """scripts/eval.py"""

    split: SplitConfig = MISSING
    model: str | None = None
    """Model to evaluate; null: every trained model of the split."""
    backbone: str | None = None
    """Backbone to evaluate; null: every trained one."""
    tests: list[str] = field(default_factory=lambda: ["ood", "sanity"])
    episodes: int | None = None
    """Episodes per test; null: as many as the split says."""
    batch: int = 8
    """Episodes that one process runs in lock step, so that inference is batched."""
    precision: str = "fp32"
    """Of inference: fp32 | bf16 (autocast; twice as fast for video backbones on a CPU)."""
    video: int = 1
    """Rollout videos to save per model and test."""
    fresh: bool = False
    """Forget episodes that were evaluated before."""
    wandb: str = "off"
    """off | offline | online."""


@dataclass
class ReproduceConfig(CommonConfig):
    """scripts/reproduce.py"""

    splits: list[str] = MISSING
    """What to test on; campaign=... sets it (configs/campaign)."""
    models: list[str] = MISSING
    """Policies by their names in results: para, act_fixed, para_two_stage-svd_tiny."""
    seeds: list[int] = field(default_factory=lambda: [0])
    precision: str = "fp32"
    """Of inference in evaluations: fp32 | bf16."""
    episodes: int | None = None
    """Episodes per test; null: as many as each split says."""
    website: bool = True
    """Build the website at the end."""


@dataclass
class MakeWebsiteConfig(CommonConfig):
    """scripts/make_website.py"""

    out: str | None = None
    """Folder of the site, replaced when the new one is complete; null: website in outputs_dir."""
    only: list[str] | None = None
    """Names of figures and videos to make; null: all. The page says what is not there."""
    serve: bool = False
    """Serve the site on this machine until Ctrl-C."""
    port: int = 8000
    """Where to serve it; a free port is taken if this one is in use."""


MODEL_SCHEMAS: dict[str, type[ModelConfig]] = {
    "para": ParaModelConfig,
    "act": ActModelConfig,
    "video": VideoModelConfig,
}
"""Model kind -> the dataclass that its YAML files (configs/model) are checked against."""

AnyBackboneConfig = BackboneConfig | VideoBackboneConfig

BACKBONE_SCHEMAS: dict[str, type[AnyBackboneConfig]] = {
    "timm": BackboneConfig,
    "video": VideoBackboneConfig,
}
"""Backbone kind -> the dataclass that its YAML files (configs/backbone) are checked against."""

CHOICES: dict[str, tuple[str, ...]] = {
    "robot": ("panda", "hand"),
    "layout": ("together", "independent"),
    "dataset": ("objpos", "viewpoints"),
    "wandb": ("off", "offline", "online"),
    "training.precision": ("bf16", "fp16", "fp32"),
    "precision": ("fp32", "bf16"),
    "split.dataset": ("objpos", "viewpoints"),
    "model.kind": tuple(MODEL_SCHEMAS),
    "model.head": ("factorised", "volume"),
    "model.tokens": ("global", "spatial"),
    "model.padding": ("supervise", "mask", "published"),
    "backbone.norm": ("own", "group"),
    "backbone.codec": ("pca", "kl"),
}
"""Keys that take one of a few words."""


def validate(cfg: CommonConfig) -> None:
    """Check every rule that a type cannot express; called before any long work.

    Raises:
        UnknownNameError: A key that takes one of a few words has another one.
        ConfigError: A value out of range, or two values that contradict each other.
    """
    for key, known in CHOICES.items():
        value = _lookup(cfg, key)
        if value is not None and value not in known:
            raise UnknownNameError(f"value of {key}:", str(value), known)
    _require(cfg.workers is None or cfg.workers >= 1, f"workers={cfg.workers} must be at least 1.")
    _validate_env(cfg.env)
    if isinstance(cfg, GenerateConfig | TrainConfig):
        limit = cfg.limit
        _require(limit is None or limit >= 1, f"limit={limit} must be at least 1, or null for all.")
    if isinstance(cfg, TrainConfig):
        _validate_split(cfg.split)
        _validate_model(cfg.model, cfg.env)
        _validate_video(cfg)
        _validate_training(cfg.training)
        _validate_augment(cfg.augment)
        _require(
            cfg.budget_minutes is None or cfg.budget_minutes > 0,
            f"budget_minutes={cfg.budget_minutes} must be positive, or null for no time limit.",
        )
    if isinstance(cfg, (EvalConfig, ReproduceConfig)):
        _require(
            cfg.episodes is None or cfg.episodes >= 1,
            f"episodes={cfg.episodes} must be at least 1, or null for all of the split.",
        )
    if isinstance(cfg, EvalConfig):
        _validate_split(cfg.split)
        _require(cfg.batch >= 1, f"batch={cfg.batch} must be at least 1.")
        _require(cfg.video >= 0, f"video={cfg.video} must not be negative.")
        for test in cfg.tests:
            if test not in ("ood", "sanity"):
                raise UnknownNameError("test in tests:", test, ("ood", "sanity"))
        _require(len(cfg.tests) > 0, "tests=[] leaves nothing to evaluate; use [ood,sanity].")


def _validate_env(env: EnvConfig) -> None:
    _require(env.image_size >= 16, f"env.image_size={env.image_size} px must be at least 16.")
    _require(env.max_steps >= 1, f"env.max_steps={env.max_steps} must be at least 1.")
    _require(
        env.camera_distance > 0, f"env.camera_distance={env.camera_distance} m must be positive."
    )
    _require(
        0 < env.camera_fovy_deg < 180,
        f"env.camera_fovy_deg={env.camera_fovy_deg} must lie between 0 and 180.",
    )


def _validate_split(split: SplitConfig) -> None:
    for key, region in {
        "train_positions": split.train_positions,
        "ood.positions": split.ood.positions,
        "sanity.positions": split.sanity.positions,
    }.items():
        kinds = ("all", "left", "right", "near", "far", "corner", "grid", "spread")
        if region.kind not in kinds:
            raise UnknownNameError(f"value of split.{key}.kind:", region.kind, kinds)
        _require(
            region.count is None or region.count >= 1,
            f"split.{key}.count={region.count} must be at least 1, or null for all.",
        )
    for key, views in {
        "train_views": split.train_views,
        "ood.views": split.ood.views,
        "sanity.views": split.sanity.views,
    }.items():
        for name, indices in (("thetas", views.thetas), ("phis", views.phis)):
            _require(
                len(indices) > 0 and all(0 <= i <= 7 for i in indices),
                f"split.{key}.{name}={list(indices)} must be indices from 0 to 7.",
            )


def _validate_model(model: ModelConfig, env: EnvConfig) -> None:
    _require(model.horizon >= 1, f"model.horizon={model.horizon} must be at least 1.")
    _require(
        model.waypoint_stride >= 1,
        f"model.waypoint_stride={model.waypoint_stride} must be at least 1.",
    )
    _require(
        1 <= model.execute <= model.horizon,
        f"model.execute={model.execute} must lie between 1 and model.horizon={model.horizon}: "
        "only predicted waypoints can be executed.",
    )
    if isinstance(model, ParaModelConfig):
        _require(
            2 <= model.heatmap_size <= env.image_size,
            f"model.heatmap_size={model.heatmap_size} cells must lie between 2 and "
            f"env.image_size={env.image_size} px.",
        )
        _require(
            model.height_min < model.height_max,
            f"model.height_min={model.height_min} m must be below "
            f"model.height_max={model.height_max} m.",
        )
        _require(
            model.height_bins >= 2, f"model.height_bins={model.height_bins} must be at least 2."
        )
        _require(
            model.target_sigma > 0, f"model.target_sigma={model.target_sigma} must be positive."
        )
    if isinstance(model, ActModelConfig):
        _require(
            model.hidden % model.heads == 0,
            f"model.hidden={model.hidden} must be a multiple of model.heads={model.heads}.",
        )
        _require(0 <= model.dropout < 1, f"model.dropout={model.dropout} must lie in [0, 1).")


def _validate_video(cfg: TrainConfig) -> None:
    """Rules of video backbones and of the recipes that only they can follow."""
    backbone, model = cfg.backbone, cfg.model
    if not isinstance(backbone, VideoBackboneConfig):
        for key, value in (("recipe", cfg.recipe), ("stage", cfg.stage)):
            _require(
                value is None,
                f"{key}: backbone={backbone.name} is no video model, and recipes train video "
                f"models. Add backbone=svd_tiny, or leave {key} away.",
            )
        _require(
            not isinstance(model, VideoModelConfig),
            f"model={model.name} trains a video model, which backbone={backbone.name} is not. "
            "Add backbone=svd_tiny.",
        )
        return
    for name in ("frames", "frame_stride", "norm_groups"):
        value = getattr(backbone, name)
        _require(value >= 1, f"backbone.{name}={value} must be at least 1.")
    _require(backbone.sigma > 0, f"backbone.sigma={backbone.sigma} must be positive.")
    _require(
        0 < backbone.sigma_min < 700,
        f"backbone.sigma_min={backbone.sigma_min} must lie between 0 and 700, the first pass's.",
    )
    _require(backbone.lora_rank >= 0, f"backbone.lora_rank={backbone.lora_rank} is negative.")
    seen = (backbone.frames - 1) * backbone.frame_stride
    needed = model.horizon * model.waypoint_stride
    _require(
        isinstance(model, VideoModelConfig) or seen >= needed,
        f"backbone.frames={backbone.frames} frames, backbone.frame_stride="
        f"{backbone.frame_stride} apart, end {seen} demo frames ahead, but the last of "
        f"model.horizon={model.horizon} waypoints is {needed} ahead. Use more frames, a longer "
        "stride or fewer waypoints.",
    )
    _require(
        not (isinstance(model, ActModelConfig) and model.tokens == "spatial"),
        f"model={model.name} reads every cell of one feature map, and a video has one map per "
        "frame. Use model=act, which reads the pooled feature.",
    )
    _require(
        cfg.recipe is None or cfg.budget_minutes is None,
        "budget_minutes does not say which stage it is for. Use recipe.stages.NAME.minutes.",
    )
    _require(
        cfg.recipe is None or not isinstance(model, VideoModelConfig),
        f"model={model.name} is a stage of recipes itself: leave recipe away.",
    )
    stages = dict(cfg.recipe.stages) if cfg.recipe else {}
    for name, stage in stages.items():
        _validate_stage(f"recipe.stages.{name}", stage, cfg.training)
    _require(
        cfg.recipe is None or (bool(stages) and "policy" in list(stages.values())[-1].losses),
        "The last stage of a recipe must train a policy: add policy to its losses.",
    )
    if cfg.stage:
        _validate_stage("stage", cfg.stage, cfg.training)


def _validate_stage(key: str, stage: StageConfig, training: TrainingConfig) -> None:
    known = ("video", "policy")
    _require(len(stage.losses) > 0, f"{key}.losses is empty; give some of: {', '.join(known)}.")
    for loss in stage.losses:
        if loss not in known:
            raise UnknownNameError(f"{key}.losses:", loss, known)
    rates = {part: rate for part, rate in asdict(stage.rates).items() if rate is not None}
    _require(len(rates) > 0, f"{key}.rates freezes video and heads; give one of them a rate.")
    for part, rate in rates.items():
        _require(rate > 0, f"{key}.rates.{part}={rate} must be positive; null freezes {part}.")
    _require(
        "video" in rates or "video" not in stage.losses,
        f"{key}.losses has video, but {key}.rates has no rate for video: nothing would learn it.",
    )
    _require(
        "policy" in stage.losses or "heads" not in rates,
        f"{key}.rates has heads, but {key}.losses has no policy: nothing would teach them.",
    )
    _require(
        stage.steps > training.warmup_steps,
        f"{key}.steps={stage.steps} must be above training.warmup_steps={training.warmup_steps}.",
    )
    _require(stage.batch_size >= 1, f"{key}.batch_size={stage.batch_size} must be at least 1.")
    _require(
        stage.minutes is None or stage.minutes > 0,
        f"{key}.minutes={stage.minutes} must be positive, or null for no time limit.",
    )


def _validate_training(training: TrainingConfig) -> None:
    for name in ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every"):
        value = getattr(training, name)
        _require(value >= 1, f"training.{name}={value} must be at least 1.")
    for name in ("learning_rate", "clip_norm"):
        value = getattr(training, name)
        _require(value > 0, f"training.{name}={value} must be positive.")
    for name in ("weight_decay", "warmup_steps", "validation_demos", "data_workers"):
        value = getattr(training, name)
        _require(value >= 0, f"training.{name}={value} must not be negative.")
    _require(
        not (training.shard and training.precision == "fp16"),
        "training.shard=true does not work with training.precision=fp16: use bf16 or fp32.",
    )
    _require(
        training.backbone_learning_rate is None or training.backbone_learning_rate >= 0,
        f"training.backbone_learning_rate={training.backbone_learning_rate} must not be negative.",
    )
    _require(
        training.warmup_steps < training.steps,
        f"training.warmup_steps={training.warmup_steps} must be below "
        f"training.steps={training.steps}, or training ends before the warm-up does.",
    )
    _require(
        0 <= training.ema_decay < 1, f"training.ema_decay={training.ema_decay} must lie in [0, 1)."
    )


def _validate_augment(augment: AugmentConfig) -> None:
    for name, value in asdict(augment).items():
        _require(value >= 0, f"augment.{name}={value} must not be negative; 0 switches it off.")
    for name in ("crop", "shift", "scale"):
        value = getattr(augment, name)
        _require(value < 1, f"augment.{name}={value} is a fraction and must be below 1.")


def _lookup(cfg: Any, key: str) -> Any:
    """Value of a dotted key, or None where this configuration has no such key."""
    for name in key.split("."):
        cfg = getattr(cfg, name, None)
    return cfg


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


NOT_COMPARED = (
    *("data_dir", "runs_dir", "results_dir", "outputs_dir", "workers", "fresh", "wandb"),
    *("split.name", "split.title", "split.ood", "split.sanity", "split.test_seed"),
    *("training.log_every", "training.checkpoint_every", "training.data_workers"),
    *("training.shard", "heatmap_size", "backbone.sigma_min"),
)
"""Keys of a `TrainConfig` that do not change what is trained (heatmap_size acts through model)."""


def to_dict(cfg: CommonConfig) -> dict[str, Any]:
    """`cfg` as plain data for JSON."""
    return asdict(cfg)


def train_config_from_dict(data: dict[str, Any]) -> TrainConfig:
    """Inverse of `to_dict` for a `TrainConfig`; refuses keys that this version does not know."""
    data = dict(data)
    kind = (data.get("model") or {}).get("kind", "")
    if kind not in MODEL_SCHEMAS:
        raise UnknownNameError("model.kind", str(kind), MODEL_SCHEMAS)
    backbone_kind = (data.get("backbone") or {}).get("kind", "timm")  # which has no such key
    if backbone_kind not in BACKBONE_SCHEMAS:
        raise UnknownNameError("backbone.kind", str(backbone_kind), BACKBONE_SCHEMAS)
    try:
        model = OmegaConf.merge(OmegaConf.structured(MODEL_SCHEMAS[kind]), data.pop("model"))
        schema = OmegaConf.structured(BACKBONE_SCHEMAS[backbone_kind])
        backbone = OmegaConf.merge(schema, data.pop("backbone", {}))
        cfg = OmegaConf.merge(OmegaConf.structured(TrainConfig), data)
        cfg.model, cfg.backbone = model, backbone
        return OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(
            "This configuration was written by another version of PARA: "
            f"{str(error).splitlines()[0]}."
        ) from error


def differences(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys (dotted) in which two plain configurations would train something else: {key: (a, b)}."""
    skipped = NOT_COMPARED
    if a["model"]["kind"] == b["model"]["kind"] == "video":
        skipped += tuple(f"backbone.{name}" for name in VIDEO_READING)
    a, b = dict(_flatten(a)), dict(_flatten(b))
    return {
        key: (a.get(key), b.get(key))
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
        and not any(key == skip or key.startswith(skip + ".") for skip in skipped)
    }


def _flatten(data: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
