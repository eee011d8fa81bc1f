"""Names of policies in tables, and the commands that make the policy of a name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

from omegaconf import OmegaConf

from para.cli import load_config
from para.compose import Config
from para.places import typed
from para.policies.base import POLICIES
from para.registry import config_folders, options
from para.runs.config import TrainConfig
from para.runs.identity import ResultId, RunId, Setting, label

PROFILE = "laptop"
"""The profile that scripts take unless told otherwise."""


@cache
def usual(config_class: type[Config], profile: str) -> Config:
    """A script's keys as a profile has them, where nothing else is said; not to be changed."""
    return load_config(config_class, [f"profile={profile}"])


def usual_backbone(profile: str) -> str:
    """The backbone that a profile trains unless told otherwise; labels do not name it."""
    return usual(TrainConfig, profile).backbone.name


def usual_augment(profile: str, kind: str) -> str:
    """What a kind of policy follows of the augmentation that a profile trains with.

    Labels do not name it.
    """
    followed = usual(TrainConfig, profile).augment.followed(POLICIES[kind].follows)
    return followed.name


def run_label(run: RunId | ResultId, kind: str) -> str:
    """The name in tables of a policy of this kind."""
    usual = usual_backbone(run.profile), usual_augment(run.profile, kind)
    return label(run.model, run.backbone, run.augment, *usual)


@dataclass(frozen=True)
class LabelParts:
    """What a label is made of: para_two_stage-svd_tiny@colour is para, two_stage, svd_tiny, colour.

    Attributes:
        model: Name of the policy, as in configs/model.
        text: How it is told instructions where that is not the usual way, or "".
        recipe: Name of the recipe that training appends to it, or "".
        backbone: Name of the backbone where it is not the profile's own, or "".
        augment: Name of the augmentation where it is not the usual one, or "".
    """

    model: str
    text: str
    recipe: str
    backbone: str
    augment: str


def label_parts(label: str) -> LabelParts:
    """The inverse of `para.runs.identity.label`."""
    rest, _, augment = label.partition("@")
    name, _, backbone = rest.partition("-")
    models = options("model")
    model = max((m for m in models if f"{name}_".startswith(f"{m}_")), key=len, default=name)
    told = name[len(model) + 1 :]
    text = next((t for t in options("text") if f"{told}_".startswith(f"{t}_")), "")
    return LabelParts(model, text, told[len(text) :].removeprefix("_"), backbone, augment)


def policy_title(model: str) -> str:
    """The title that configs/model/<model>.yaml gives the policy, else its name."""
    for folder in config_folders():
        path = folder / "model" / f"{model}.yaml"
        if path.is_file():
            return str(OmegaConf.load(path).get("title") or model)
    return model


def model_overrides(label: str, *, augment: bool = True) -> tuple[list[str], list[str]]:
    """What scripts/train.py and scripts/eval.py are told to make the policy of this label.

    para_two_stage-svd_tiny@colour is trained by model=para recipe=two_stage backbone=svd_tiny
    augment=colour; with `augment` the evaluation is told, too.
    """
    parts = label_parts(label)
    name = "_".join(filter(None, (parts.model, parts.text, parts.recipe)))
    on_backbone = [f"backbone={parts.backbone}"] if parts.backbone else []
    text = [f"text={parts.text}"] if parts.text else []
    recipe = [f"recipe={parts.recipe}"] if parts.recipe else []
    with_augment = [f"augment={parts.augment}"] if parts.augment else []
    training = [f"model={parts.model}", *on_backbone, *text, *recipe, *with_augment]
    return training, [f"model={name}", *on_backbone, *(with_augment if augment else [])]


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
