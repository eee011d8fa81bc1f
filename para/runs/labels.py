"""Names of policies in tables, and the commands that make the policy of a name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

from omegaconf import OmegaConf

from para.cli import load_config
from para.places import typed
from para.registry import config_folders, options
from para.runs.config import TrainConfig
from para.runs.identity import Setting

PROFILE = "laptop"
"""The profile that scripts take unless told otherwise."""


@cache
def usual_backbone(profile: str) -> str:
    """The backbone that a profile trains unless told otherwise; labels do not name it."""
    return load_config(TrainConfig, [f"profile={profile}"]).backbone.name


@dataclass(frozen=True)
class LabelParts:
    """What a label is made of: para_two_stage-svd_tiny is para, two_stage, svd_tiny.

    Attributes:
        model: Name of the policy, as in configs/model.
        text: How it is told instructions where that is not the usual way, or "".
        recipe: Name of the recipe that training appends to it, or "".
        backbone: Name of the backbone where it is not the profile's own, or "".
    """

    model: str
    text: str
    recipe: str
    backbone: str


def label_parts(label: str) -> LabelParts:
    """The inverse of `para.runs.identity.label`."""
    name, _, backbone = label.partition("-")
    models = options("model")
    model = max((m for m in models if f"{name}_".startswith(f"{m}_")), key=len, default=name)
    rest = name[len(model) + 1 :]
    text = next((t for t in options("text") if f"{rest}_".startswith(f"{t}_")), "")
    return LabelParts(model, text, rest[len(text) :].removeprefix("_"), backbone)


def policy_title(model: str) -> str:
    """The title that configs/model/<model>.yaml gives the policy, else its name."""
    for folder in config_folders():
        path = folder / "model" / f"{model}.yaml"
        if path.is_file():
            return str(OmegaConf.load(path).get("title") or model)
    return model


def model_overrides(label: str) -> tuple[list[str], list[str]]:
    """What scripts/train.py and scripts/eval.py are told to make the policy of this label.

    para_two_stage-svd_tiny is trained by model=para recipe=two_stage backbone=svd_tiny.
    """
    parts = label_parts(label)
    name = "_".join(filter(None, (parts.model, parts.text, parts.recipe)))
    on_backbone = [f"backbone={parts.backbone}"] if parts.backbone else []
    text = [f"text={parts.text}"] if parts.text else []
    recipe = [f"recipe={parts.recipe}"] if parts.recipe else []
    return [f"model={parts.model}", *on_backbone, *text, *recipe], [f"model={name}", *on_backbone]


def model_commands(label: str, rest: str) -> str:
    """The commands that train and evaluate the policy of this label, followed by `rest` each."""
    training, evaluation = (" ".join(overrides) for overrides in model_overrides(label))
    return f"{typed('train')} {training} {rest} && {typed('eval')} {evaluation} {rest}"


def place_overrides(split: str, setting: Setting, profile: str) -> str:
    """What scripts are told to work on `split` in a setting and profile: split=lr robot=hand."""
    usual = asdict(Setting()) | {"profile": PROFILE}
    asked = asdict(setting) | {"profile": profile}
    words = [f"{key}={value}" for key, value in asked.items() if value != usual[key]]
    return " ".join([f"split={split}", *words])
