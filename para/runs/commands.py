"""Shell commands that messages can end with."""

from __future__ import annotations

from dataclasses import fields

from para.common import CommonConfig
from para.places import typed
from para.runs.config import TrainConfig
from para.runs.folders import run_id
from para.runs.labels import PROFILE, usual, usual_augment, usual_backbone


def command(script: str, cfg: TrainConfig) -> str:
    """The shell command that runs train or eval (`script`) on what `cfg` trains."""
    words = [f"split={cfg.split.name}", f"model={cfg.model.name}"]
    words += [f"data={cfg.data}"] if cfg.data is not None else []
    if cfg.backbone.name != usual_backbone(cfg.profile):
        words.append(f"backbone={cfg.backbone.name}")
    if (own := run_id(cfg).augment) != usual_augment(cfg.profile, cfg.model.kind):
        words.append(f"augment={own}")
    return command_of(script, cfg, *words)


def command_of(script: str, cfg: CommonConfig, *words: str) -> str:
    """The shell command of a script with `words`, where `cfg` works.

    That is its profile, setting, seed, environment and folders; named only where they are unusual.
    """
    plain = usual(type(cfg), cfg.profile)
    named = [f"profile={cfg.profile}"] if cfg.profile != PROFILE else []
    named += [f"task={cfg.task.name}"] if cfg.task.name != plain.task.name else []
    folders = ("data_dir", "runs_dir", "results_dir", "reference_dir", "outputs_dir")
    tested = ("starts",) if script == "eval" and hasattr(cfg, "starts") else ()
    for key in ("robot", "layout", "appearance", "seed", *tested, *folders):
        if getattr(cfg, key) != getattr(plain, key):
            named.append(f"{key}={getattr(cfg, key)}")
    for item in fields(cfg.env):
        value = getattr(cfg.env, item.name)
        if value != getattr(plain.env, item.name):
            named.append(f"env.{item.name}={value}")
    return " ".join([typed(script), *words, *named])
