"""The configuration of a training run: every key of scripts/train.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from envs.base import TASKS
from envs.splits import SPLITS
from para.common import CommonConfig
from para.data.config import AugmentConfig, named
from para.errors import ConfigError, UnknownNameError, one_line
from para.fields import LOCAL, READING, choice, folder, keys_marked, marked, number, require, word
from para.registry import Registry
from para.registry import plugins as loaded_plugins
from para.system import worker_count

AUTO = "auto"
"""What training decides when it begins (para/training/precision.py)."""


@dataclass
class TrainingConfig:
    """The optimisation (part of configs/profile)."""

    steps: int = number(1500, least=1)
    batch_size: int = number(32, least=1, most=65536)
    learning_rate: float = number(1e-3, above=0, most=10)
    backbone_learning_rate: float | None = number(None, least=0, most=10)
    """None: the same as learning_rate."""
    weight_decay: float = number(0.05, least=0, most=100)
    warmup_steps: int = number(50, least=0)
    clip_norm: float = number(1.0, above=0)
    accumulate: int = number(1, least=1, most=65536)
    """Batches per optimiser step."""
    ema_decay: float = number(0.998, least=0, below=1)
    precision: str = choice("bf16", (AUTO, "bf16", "fp16", "fp32"))
    """auto (bf16 where this machine has instructions for it, else fp32) | bf16 | fp16 | fp32."""
    log_every: int = number(20, least=1, mark=LOCAL)
    checkpoint_every: int = number(250, least=1, mark=LOCAL)
    validation_demos: int = number(8, least=0, most=10_000)
    """Held-out training-distribution demos, for the validation loss (never used to choose)."""
    shard: bool = marked(LOCAL, False)
    """Split weights, gradients, moments and averages over all processes, for models that do not
    fit one GPU; needs `accelerate launch` or `torchrun` with several. Launching with
    configs/accelerate/fsdp.yaml sets it."""
    data_workers: int = number(0, least=0, mark=LOCAL)
    """Loader processes; 0 loads in a background thread of the training process."""

    def rules(self, key: str, run: Any) -> None:
        """What contradicts itself, or this machine."""
        worker_count(self.data_workers, f"{key}.data_workers")
        require(
            self.warmup_steps < self.steps,
            f"{key}.warmup_steps={self.warmup_steps} must be below {key}.steps={self.steps}, or "
            "training ends before the warm-up does.",
        )
        require(
            not (self.shard and self.precision == "fp16"),
            f"{key}.shard=true does not work with {key}.precision=fp16: use bf16 or fp32.",
        )


@dataclass
class RatesConfig:
    """Peak learning rates of the parts of a policy on a video backbone; null freezes a part."""

    video: float | None = number(None, above=0, most=10)
    """Of the UNet. Codec and image encoder are never trained by a recipe."""
    heads: float | None = number(None, above=0, most=10)
    """Of all that reads the UNet's features."""


@dataclass
class StageConfig:
    """One stage of a recipe: a training run of its own, in a folder of its own."""

    losses: list[str] = choice(MISSING, ("video", "policy"))
    """video (predict the clip's frames) and / or policy (predict the waypoints). Each is divided
    by a running mean of itself where there are both."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    steps: int = number(MISSING, least=1)
    batch_size: int = number(8, least=1, most=65536)
    minutes: float | None = number(None, above=0)
    """Stop after this many minutes, even if steps remain."""
    split: str | None = None
    """Split whose demos it trains on; null: the run's own."""
    after: str | None = None
    """Run (<train_set>/<model>-<backbone>-<augment>) that it starts from; a recipe sets it."""
    after_steps: int = number(0, least=0)
    """Steps that the stages before it were given; a recipe sets it, not the user."""

    def rules(self, key: str, run: Any) -> None:
        """Something is learned, and everything that learns has a loss."""
        rates = {name for name, rate in asdict(self.rates).items() if rate is not None}
        require(bool(self.losses), f"{key}.losses is empty; give some of: video, policy.")
        require(bool(rates), f"{key}.rates freezes video and heads; give one of them a rate.")
        require(
            "video" in rates or "video" not in self.losses,
            f"{key}.losses has video, but {key}.rates has no rate for video: nothing would learn "
            "it.",
        )
        require(
            "policy" in self.losses or "heads" not in rates,
            f"{key}.rates has heads, but {key}.losses has no policy: nothing would teach them.",
        )
        require(
            self.steps > run.training.warmup_steps,
            f"{key}.steps={self.steps} must be above "
            f"training.warmup_steps={run.training.warmup_steps}.",
        )


@dataclass
class RecipeConfig:
    """How a video backbone and the heads on it are trained (configs/recipe)."""

    name: str = word(MISSING)
    """Becomes part of the policy's name: para + two_stage is para_two_stage."""
    stages: dict[str, StageConfig] = field(default_factory=dict)
    """In the order in which they are trained; each starts from the weights of the one before. A
    first stage that only learns video is shared by all recipes that give it this name."""

    def rules(self, key: str, run: Any) -> None:
        """A recipe ends with a policy, on a backbone that learns video."""
        stages = list(self.stages.values())
        require(
            run.budget_minutes is None,
            f"budget_minutes does not say which stage it is for. Use {key}.stages.NAME.minutes.",
        )
        require(
            run.model.acts,
            f"model={run.model.name} is a stage of recipes itself: leave {key} away.",
        )
        require(
            bool(stages) and "policy" in stages[-1].losses,
            "The last stage of a recipe must train a policy: add policy to its losses.",
        )


@dataclass
class TrainConfig(CommonConfig):
    """scripts/train.py"""

    script: ClassVar[str] = "train"
    packages: ClassVar[tuple[str, ...]] = (
        *("para.backbones", "para.heads", "para.text", "para.policies.base"),
    )

    model: Any = MISSING
    backbone: Any = MISSING
    text: Any = None
    """How the policy is told instructions (configs/text), where the demos have several. Where they
    have one, nothing is told, and training makes it null."""
    split: Any = MISSING
    data: str | None = folder(None, mark=LOCAL)
    """Folder of imported demos, for split=own (import_demos)."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    recipe: RecipeConfig | None = None
    """Stages of training for video backbones; null: one run with training.* and all losses of the
    policy."""
    stage: StageConfig | None = None
    """What this run does as a stage of a recipe; a recipe sets it, not the user."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    budget_minutes: float | None = number(None, above=0)
    """Stop after this many minutes of training, even if steps remain; null: no time limit."""
    fresh: bool = marked(LOCAL, False)
    """Delete what an earlier run of the same name left, instead of resuming it; refused where
    anything else lies in its folder."""
    limit: int | None = number(None, least=1, most=100_000)
    """Use the demo set made with the same `limit` (smoke runs)."""
    wandb: str = choice("off", ("off", "offline", "online"), mark=LOCAL)
    """off | offline | online."""
    heatmap_size: int = number(32, least=2, most=1024, mark=LOCAL)
    """Cells per side of a heatmap at this profile; pixel-aligned models read it from here."""

    def rules(self, key: str, run: Any) -> None:
        """Only video backbones follow recipes."""
        for name, value in (("recipe", self.recipe), ("stage", self.stage)):
            require(
                value is None or self.backbone.learns_video,
                f"{name}: backbone={self.backbone.name} is no video model, and recipes train video "
                f"models. Add backbone=svd_tiny, or leave {name} away.",
            )


def train_config_from_dict(data: dict[str, Any]) -> TrainConfig:
    """A `TrainConfig` from plain data (`dataclasses.asdict`); refuses what this version lacks.

    Raises:
        UnknownNameError: A component that is not registered.
        ConfigError: Keys that this version does not know, or a component that may be in a plug-in
            that is not loaded: a file does not decide what is imported.
    """
    from para.backbones import BACKBONES
    from para.heads import HEADS
    from para.policies.base import POLICIES
    from para.text import TEXTS

    data = dict(data)
    plugins = data.get("plugins") or []
    require(
        isinstance(plugins, list) and all(isinstance(name, str) for name in plugins),
        f"plugins is {one_line(plugins)}, not a list of names.",
    )
    try:
        parts = {
            name: structured(registry, data.pop(name, None))
            for name, registry in (
                ("task", TASKS),
                ("split", SPLITS),
                ("model", POLICIES),
                ("backbone", BACKBONES),
            )
        }
        if data.get("text") is not None:
            parts["text"] = structured(TEXTS, data.pop("text"))
        if isinstance(augment := data.get("augment"), Mapping):
            data["augment"] = named(augment)
        if "head" in parts["model"]:
            parts["model"].head = structured(HEADS, parts["model"].head)
        cfg = OmegaConf.merge(OmegaConf.structured(TrainConfig), data)
        for name, part in parts.items():
            cfg[name] = part
        return OmegaConf.to_object(cfg)
    except UnknownNameError as error:
        lacking = [name for name in plugins if name not in loaded_plugins()]
        if not lacking or not all(map(str.isidentifier, ".".join(lacking).split("."))):
            raise
        raise ConfigError(
            f"{error} It may be in {' or '.join(lacking)}, which this configuration names: code "
            f"runs only where you name it, too. If you trust it, add plugins=[{','.join(lacking)}]."
        ) from error
    except (OmegaConfBaseException, LookupError, TypeError, ValueError, AttributeError) as error:
        first = one_line(str(error).partition("\n")[0], 200)
        raise ConfigError(
            f"This configuration was written by another version of PARA: {first}."
        ) from error


def require_as_written(cfg: TrainConfig, data: dict[str, Any]) -> None:
    """Raise ConfigError unless `cfg`, which was read from `data`, has the very values of `data`.

    OmegaConf reads 7 as the word "7", and the word as a number. Keys that `data` lacks, because
    there were none when it was written, have their defaults.
    """
    read = dict(_flatten(asdict(cfg)))
    for key, value in _flatten(data):
        require(
            key in read and read[key] == value,
            f"{key} is {one_line(value)!r} and would be read as {one_line(read.get(key))!r}.",
        )


def structured(registry: Registry[Any], values: Any) -> Any:
    """Plain values with a `kind` as a node of that component's schema."""
    kind = values.get("kind") if isinstance(values, Mapping) else None
    return OmegaConf.merge(OmegaConf.structured(registry.config(str(kind))), values)


def differences(cfg: TrainConfig, other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys (dotted) in which `other` would train something else than `cfg`.

    A field that did not exist yet when `other` was written had then what is its default now.

    Returns:
        {key: (value in `other`, value in `cfg`)}.
    """
    skipped = keys_marked(cfg, LOCAL)
    if not cfg.model.acts and other["model"].get("kind") == cfg.model.kind:
        skipped += keys_marked(cfg, READING)
    a, b = dict(_flatten(_completed(other, cfg))), dict(_flatten(asdict(cfg)))
    return {
        key: (a.get(key), b.get(key))
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
        and not any(key == skip or key.startswith(skip + ".") for skip in skipped)
    }


def _completed(data: dict[str, Any], cfg: Any) -> dict[str, Any]:
    """`data` with the defaults of the fields that it lacks, in every section that it has."""
    nothing = (MISSING, dataclasses.MISSING)
    defaults = {f.name: f.default for f in dataclasses.fields(cfg) if f.default not in nothing}
    parts = {name: getattr(cfg, name, None) for name, value in data.items() if type(value) is dict}
    inner = {n: _completed(data[n], p) for n, p in parts.items() if dataclasses.is_dataclass(p)}
    return defaults | data | inner


def _flatten(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
