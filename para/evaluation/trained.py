"""The trained policies that an evaluation is about."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from envs.base import TASKS, EnvConfig, Environment, build_task
from envs.splits import training_conditions
from para.backbones import BACKBONES
from para.errors import CheckpointError, ConfigError, ParaError, UnknownNameError
from para.evaluation.config import EvalConfig
from para.evaluation.results import MAIN_MODELS, model_order
from para.evaluation.rollout import Predicts
from para.executors import here
from para.heads import HEADS
from para.policies.base import POLICIES
from para.policies.tta import NEEDED
from para.runs.commands import command_of
from para.runs.config import TrainConfig
from para.runs.contents import POLICY, POLICY_META
from para.runs.folders import find_runs, run_id, setting_of, trained_setting
from para.runs.identity import ResultId
from para.runs.labels import run_label
from para.runs.policy_file import (
    load_policy,
    policy_config,
    read_policy_meta,
    require_version,
)
from para.text import TEXTS, build_text
from para.types import Inference

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """A training run with a policy to evaluate.

    Attributes:
        folder: Its folder.
        label: Name of the policy in tables and figures.
        id: What its result will be of.
        meta: Its policy.json.
    """

    folder: Path
    label: str
    id: ResultId
    meta: dict[str, Any]

    def load(self, make_env: Callable[[], Environment], envs: Sequence[Environment]) -> Predicts:
        """What `rollout` asks for plans.

        Args:
            make_env: Makes an environment of the evaluation's setting.
            envs: Those that observations will come from; they need not be there yet.
        """
        policy, _ = load_policy(here(self.folder.absolute()))
        return policy.to("cuda" if torch.cuda.is_available() else "cpu")

    def files(self) -> Sequence[Path]:
        """What `load` reads."""
        return [self.folder.absolute() / name for name in (POLICY_META, POLICY)]

    def inference(self, asked: Inference) -> Inference:
        """How it is run where `asked` is what the command line says."""
        return usable(asked, policy_config(self.folder, self.meta))

    def require_known(self, instructions: Collection[str]) -> None:
        """Raise `ConfigError` unless the policy knows the instructions that it will be told."""
        if text := build_text(policy_config(self.folder, self.meta).text):
            try:
                text.features(sorted(instructions))
            except UnknownNameError as error:
                raise ConfigError(
                    f"{self.folder} was trained on other instructions. {error}"
                ) from error

    def components(self) -> list[Any]:
        """Classes whose code its plans depend on."""
        trained = self.meta["config"]
        model = trained["model"]
        head = [HEADS[model["head"]["kind"]]] if "head" in model else []
        told = [TEXTS[text["kind"]]] if (text := trained.get("text")) else []
        return [POLICIES[model["kind"]], BACKBONES[trained["backbone"]["kind"]], *head, *told]


def usable(asked: Inference, trained: TrainConfig) -> Inference:
    """What of `asked` a policy can be run with: test-time augmentation that it was trained with."""
    follows = POLICIES[trained.model.kind].follows
    if follows >= NEEDED and all(getattr(trained.augment, key) > 0 for key in NEEDED):
        return asked
    return replace(asked, tta=1)


def trained_runs(cfg: EvalConfig) -> list[TrainedRun]:
    """Trained policies for `cfg.split` with `cfg.seed`, PARA first.

    Raises:
        CheckpointError: There are none; names the training command. Or one is damaged, or was
            trained in another version of the simulated world.
        ConfigError: One was trained on images of another size than `cfg.env` renders, on other
            views of the same names, or predicts fewer waypoints than are to be executed.
    """
    setting, split = trained_setting(cfg), cfg.split
    folders = find_runs(
        *(cfg.runs_dir, setting, cfg.profile, split.train_set),
        *(cfg.model, cfg.backbone, cfg.augment, cfg.seed),
    )
    if not folders:
        what = f"model={cfg.model}" if cfg.model else "any model"
        raise CheckpointError(
            f"No trained policy of {what} for split={split.name} in {cfg.runs_dir} (training set "
            f"{split.train_set}, {setting.name}, profile {cfg.profile}, seed {cfg.seed}). Train "
            f"one first:\n  {training_command(cfg)}"
        )
    runs = (trained_run(cfg, folder) for folder in folders)
    return sorted(runs, key=lambda run: model_order(run.label))


def trained_run(cfg: EvalConfig, folder: Path) -> TrainedRun:
    """The policy of a folder, as `cfg` evaluates it; see `trained_runs`."""
    meta = read_policy_meta(folder)
    require_version(meta, TASKS[cfg.task.kind].version, folder)
    trained = policy_config(folder, meta)
    size, horizon = trained.env.image_size, trained.model.horizon
    if size != cfg.env.image_size:
        raise ConfigError(
            f"{folder} was trained on {size} px images: evaluate it with env.image_size={size} "
            f"instead of {cfg.env.image_size}."
        )
    if _views(cfg, trained.env) != _views(cfg, cfg.env):
        raise ConfigError(
            f"{folder} was trained on viewpoints up to {trained.env.theta_max_deg:g} degrees: "
            f"tests up to {cfg.env.theta_max_deg:g} would mix trained and held-out ones. Use "
            f"env.theta_max_deg={trained.env.theta_max_deg:g}."
        )
    if cfg.execute > horizon:
        raise ConfigError(
            f"execute={cfg.execute}, but {folder} predicts {horizon} waypoints: only predicted "
            f"waypoints can be executed. Use execute={horizon} or less."
        )
    if cfg.tta > usable(cfg.inference, trained).tta:
        _logger.warning(
            "tta=%d: %s was not trained on images that move with the camera (augment=%s), and gets "
            "one look.",
            *(cfg.tta, folder, trained.augment.name),
        )
    if not meta["finished"]:
        _logger.warning("%s: training has not finished; evaluating what there is.", folder)
    found = ResultId(
        *(setting_of(cfg), cfg.profile, cfg.starts, cfg.split.name),
        *(trained.model.name, trained.backbone.name, run_id(trained).augment, cfg.seed),
    )
    return TrainedRun(folder, run_label(found, trained.model.kind), found, meta)


def _views(cfg: EvalConfig, env: EnvConfig) -> set[tuple[float, float]]:
    """Viewpoints (theta, phi) [deg] of the demos that train the split in an environment."""
    starts = training_conditions(cfg.split, build_task(cfg.task), cfg.layout, env)
    return {(start.theta_deg, start.phi_deg) for start in starts}


def training_command(cfg: EvalConfig) -> str:
    """The command that trains what `cfg` would evaluate."""
    words = [f"model={cfg.model or MAIN_MODELS[0]}", f"split={cfg.split.name}"]
    words += [f"backbone={cfg.backbone}"] if cfg.backbone else []
    words += [f"augment={cfg.augment}"] if cfg.augment else []
    return command_of("train", cfg, *words)


def next_step(cfg: EvalConfig, evaluated: Collection[str]) -> tuple[str, str]:
    """What is worth doing after the policies of these labels were evaluated: why, and the command.

    The main comparison is completed first; then policies are compared that were trained before. One
    that was given (`cfg.policy`) is not trained here.
    """
    trained = _labels_of_trained(cfg)
    own = trained | {*evaluated} if cfg.policy is None else trained
    for model in MAIN_MODELS:
        if model not in own:
            what = "a PARA of your own" if model == MAIN_MODELS[0] else "its opponent"
            train = training_command(replace(cfg, model=model, backbone=None, augment=None))
            return f"{what} on the same split", train
    if trained - {*evaluated}:
        reason = "all that is trained for this split, on the same starts"
        return reason, command_of("eval", cfg, f"split={cfg.split.name}")
    reason = "the website, with these results beside the committed ones"
    return reason, command_of("make_website", cfg, "serve=true")


def _labels_of_trained(cfg: EvalConfig) -> set[str]:
    place = (cfg.runs_dir, trained_setting(cfg), cfg.profile, cfg.split.train_set)
    labels = set()
    # a damaged run is named when it is evaluated, not by what only advises
    with suppress(ParaError):
        for folder in find_runs(*place, seed=cfg.seed):
            trained = policy_config(folder, read_policy_meta(folder))
            labels.add(run_label(run_id(trained), trained.model.kind))
    return labels
