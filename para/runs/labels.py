"""Names of policies in tables, and the commands that make the policy of a name."""

from __future__ import annotations

from functools import cache

from para.cli import load_config
from para.registry import options
from para.runs.config import TrainConfig


@cache
def usual_backbone(profile: str) -> str:
    """The backbone that a profile trains unless told otherwise; labels do not name it."""
    return load_config(TrainConfig, [f"profile={profile}"]).backbone.name


def model_overrides(label: str) -> tuple[list[str], list[str]]:
    """What scripts/train.py and scripts/eval.py are told to make the policy of this label.

    The inverse of `para.runs.identity.label`, and of the recipe that training appends to a model's
    name: para_two_stage-svd_tiny is trained by model=para recipe=two_stage backbone=svd_tiny.
    """
    name, _, backbone = label.partition("-")
    models = options("model")
    model = max((m for m in models if f"{name}_".startswith(f"{m}_")), key=len, default=name)
    recipe = name[len(model) + 1 :]
    on_backbone = [f"backbone={backbone}"] if backbone else []
    training = [f"model={model}", *on_backbone, *([f"recipe={recipe}"] if recipe else [])]
    return training, [f"model={name}", *on_backbone]


def model_commands(label: str, rest: str) -> str:
    """The commands that train and evaluate the policy of this label, followed by `rest` each."""
    training, evaluation = (" ".join(overrides) for overrides in model_overrides(label))
    return (
        f"python scripts/train.py {training} {rest} && python scripts/eval.py {evaluation} {rest}"
    )
