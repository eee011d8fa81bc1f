"""The one training loop, for every policy.

What happens in step s is a function of the configuration and s alone: the learning rate, the
samples of the batch, their augmentation and the seed of dropout all derive from (seed, s). Together
with the checkpointed weights, moments and averages this makes resuming exact: k steps, a kill and
N - k steps give the same bits as N steps (on the CPU, with the same number of threads). With
`budget_minutes` the learning rate also follows the clock, so only the time spent is restored.
"""

from __future__ import annotations

import fcntl
import logging
import math
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import (
    broadcast_object_list,
    gather_object,
)
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from para.backbones.weights import load_strict
from para.data.dataset import Batch, BatchLoader, DemoDataset, batch_samples
from para.errors import ConfigError, ParaError
from para.fields import check
from para.files import atomic_write_json, read_json, require_free_space
from para.policies.base import build_policy
from para.runs.config import TrainConfig, TrainingConfig, differences
from para.runs.folders import run_dir
from para.runs.policy_file import read_policy_meta, save_policy
from para.system import available_cores, git_hash, hardware, set_threads, versions
from para.tensors import Tensors
from para.training import checkpoint, pictures, sharding
from para.training.log import Display, Row, RunLog, Wandb
from para.training.stages import (
    VIDEO,
    StageLoss,
    freeze,
    load_start,
    needs_clips,
    stage_configs,
    start_folder,
)

_logger = logging.getLogger(__name__)
_VALIDATION_SAMPLES = 64
_CODEC_IMAGES = 256
"""Training images that a latent codec is fitted to."""
_NO_LOSSES = ("step", "minutes", "samples_per_s", "learning_rate", "grad_norm")


class NonFiniteError(ParaError):
    """The loss or its gradient became infinite or not a number."""


@dataclass(frozen=True)
class TrainSummary:
    """What a finished run amounts to.

    Attributes:
        folder: The run's folder.
        steps: Optimiser steps.
        minutes: Training time, over all sessions.
        samples_per_s: Mean throughput of the last session, loader included.
        demos: Demos that were trained on.
        losses: Last logged losses, averaged over `training.log_every` steps.
        validation: val_loss and val_error_mm on held-out demos; empty without any.
        already_trained: The run was finished before; nothing was done.
    """

    folder: Path
    steps: int
    minutes: float
    samples_per_s: float
    demos: int
    losses: dict[str, float]
    validation: dict[str, float]
    already_trained: bool = False

    def report(self) -> str:
        """A few lines for the end of a script."""
        first = "Already trained" if self.already_trained else "Trained"
        numbers = "  ".join(f"{k} {v:.4g}" for k, v in (self.losses | self.validation).items())
        return (
            f"{first}: {self.folder}\n"
            f"  {self.steps} steps on {self.demos} demos in {self.minutes:.1f} minutes, "
            f"{self.samples_per_s:.0f} samples/s\n  {numbers}"
        )


def train(
    cfg: TrainConfig,
    progress: bool = True,
    datasets: tuple[DemoDataset, DemoDataset | None] | None = None,
) -> TrainSummary:
    """Train the policy that `cfg` describes, or go on where an earlier run of it stopped.

    The stages of a recipe are runs of their own (`para.training.stages`); those that are finished
    are not repeated.

    Args:
        cfg: A whole configuration, `para.cli.load_config(TrainConfig, [...])` makes one.
        progress: Show a progress bar (or lines, where there is no terminal).
        datasets: Training and held-out demos, with clips where a stage needs them; None opens
            (and generates) those of `cfg.split`.

    Raises:
        ConfigError: The folder holds a run of another configuration; or `cfg` cannot work.
        DataError: Demos are damaged.
        CheckpointError: All checkpoints are damaged.
        NonFiniteError: The loss became infinite or not a number.
        KeyboardInterrupt: SIGINT or SIGTERM arrived; a checkpoint was saved first.
    """
    if sharding.asked_by_launcher():
        cfg = replace(cfg, training=replace(cfg.training, shard=True))
    check(cfg)
    *earlier, last = stage_configs(cfg)
    for stage in earlier:
        # fresh=true trains the last stage again; those before it only where they changed
        stage = replace(stage, fresh=cfg.fresh and _has_other_config(stage))
        _train(stage, progress, datasets, wait=True)
    return _train(last, progress, datasets)


def _train(
    cfg: TrainConfig,
    progress: bool,
    datasets: tuple[DemoDataset, DemoDataset | None] | None,
    wait: bool = False,
) -> TrainSummary:
    """`train` for one run; `wait` for another process that trains it, which recipes may share."""
    accelerator = _accelerator(cfg.training)
    with _only_one(folder := run_dir(cfg), accelerator, wait):
        finished = _claim(folder, cfg) if accelerator.is_main_process else None
        (finished,) = broadcast_object_list([finished])
        if finished:
            return finished
        return _Run(cfg, accelerator, folder, *(datasets or open_datasets(cfg))).loop(progress)


def open_datasets(cfg: TrainConfig) -> tuple[DemoDataset, DemoDataset | None]:
    """Training and held-out demos of `cfg.split`; missing demos are generated first.

    Held out are `training.validation_demos` demos spread over the training set, but at most one in
    eight; none where the split fixes the number of training demos (corner_n32 trains on 32).
    """
    from envs.base import build_task
    from envs.splits import training_indices
    from para.data.generate import ensure_dataset

    folder, metas = ensure_dataset(cfg, cfg.split.dataset, cfg.limit)
    present = {meta.index for meta in metas if meta.success}
    chosen = training_indices(cfg.split, build_task(cfg.task), cfg.layout)
    indices = [i for i in chosen if i in present]
    wanted = 0 if cfg.split.demos else cfg.training.validation_demos
    wanted = min(wanted, len(indices) // 8)
    held_out = {indices[int((k + 0.5) * len(indices) / wanted)] for k in range(wanted)}
    kept = [i for i in indices if i not in held_out]
    clip = (cfg.backbone.frames, cfg.backbone.frame_stride) if needs_clips(cfg) else None
    shape = (cfg.model.horizon, cfg.model.waypoint_stride, clip)
    return (
        DemoDataset(folder, kept, *shape),
        DemoDataset(folder, sorted(held_out), *shape) if held_out else None,
    )


def learning_rate_factor(training: TrainingConfig, step: int, time_fraction: float = 0.0) -> float:
    """Linear warm-up, then a cosine to zero over the budget of steps or of time, what ends first.

    Args:
        training: Steps and warm-up steps.
        step: Steps that are done.
        time_fraction: Part of the time budget that is used, in [0, 1]; 0 without one.
    """
    warmup = min(1.0, (step + 1) / (training.warmup_steps + 1))
    done = min(1.0, max(step / training.steps, time_fraction))
    return warmup * 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(policy: nn.Module, training: TrainingConfig) -> list[dict[str, Any]]:
    """Groups for AdamW: backbone or rest x matrices or vectors (biases and norms do not decay).

    Of a video backbone only the video model counts: what projects its features starts at random.
    """
    video = any(name.startswith(VIDEO) for name, _ in policy.named_parameters())
    prefix = VIDEO if video else "backbone."
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in policy.named_parameters():
        if not parameter.requires_grad:
            continue
        in_backbone, decays = name.startswith(prefix), parameter.ndim > 1
        rate = training.backbone_learning_rate if in_backbone else None
        rate = training.learning_rate if rate is None else rate
        group = groups.setdefault(
            (in_backbone, decays),
            {
                "params": [],
                "lr": rate,
                "peak_lr": rate,
                "weight_decay": training.weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def averaged(policy: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and buffers.

    The decay grows as (1 + n) / (10 + n) up to `decay`, so that short runs do not average in their
    random start. n is part of the state dict, so the average continues over a resume.
    """

    def update(mean: list[Tensor], current: list[Tensor], n: Tensor) -> None:
        count = int(n)
        parts = [[sharding.local(tensor) for tensor in tensors] for tensors in (mean, current)]
        get_ema_multi_avg_fn(min(decay, (1 + count) / (10 + count)))(*parts, n)

    return AveragedModel(policy, multi_avg_fn=update, use_buffers=True)


class _Shard(BatchLoader):
    """Every `count`-th batch, from `rank`: the part of one process when several train."""

    def __init__(self, rank: int, count: int, dataset: DemoDataset, **rest: Any):
        super().__init__(dataset, **rest)
        self.rank, self.count = rank, count

    def load(self, step: int) -> Batch:
        return super().load(step * self.count + self.rank)


class _Window:
    """Losses and seconds since the last logged row; checkpointed, so rows survive a resume."""

    def __init__(self, steps: int = 0, seconds: float = 0.0, sums: dict[str, float] | None = None):
        self.steps, self.seconds, self.sums = steps, seconds, sums or {}

    def add(self, losses: dict[str, float], seconds: float) -> None:
        self.steps += 1
        self.seconds += seconds
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        return {name: value / self.steps for name, value in self.sums.items()}


class _Run:
    """One session of a run: set up and resume, then `loop`."""

    def __init__(
        self,
        cfg: TrainConfig,
        accelerator: Accelerator,
        folder: Path,
        train_set: DemoDataset,
        held_out: DemoDataset | None,
    ):
        self.cfg, self.accelerator, self.folder = cfg, accelerator, folder
        self.train_set, self.held_out = train_set, held_out
        self.is_main, world = accelerator.is_main_process, accelerator.num_processes
        self.samples_per_step = cfg.training.batch_size * cfg.training.accumulate * world
        self.threads = set_threads(cfg.workers)

        torch.manual_seed(cfg.seed)
        self.policy = build_policy(cfg.model, cfg.backbone, cfg.env.image_size)
        self.policy.fit_normalisation(train_set.stats())
        if self.policy.backbone.learns_video:
            self.policy.backbone.fit_codec(train_set.spread(_CODEC_IMAGES))
        self.sharded = cfg.training.shard
        if not self.sharded:
            self.policy.to(accelerator.device)
        for name, parameter in self.policy.named_parameters():
            # convolutions: twice as fast on a CPU, but a video model (whose maps change between
            # images and clips) a sixth slower
            if parameter.ndim == 4 and not self.sharded and not name.startswith(VIDEO):
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        start = start_folder(cfg)
        self.start = load_start(self.policy, start) if start else None
        freeze(self.policy, cfg)
        self.ema = averaged(self.policy, cfg.training.ema_decay)
        loaded = checkpoint.load_checkpoint(folder)
        if loaded:  # before they are split, if they are
            load_strict(self.policy, loaded[0]["policy"], str(folder / "checkpoint"))
            load_strict(self.ema, loaded[0]["ema"], str(folder / "checkpoint"))
        self.losses = StageLoss(self.policy, cfg.stage)
        if self.sharded:
            sharding.shard(self.losses, self.policy, self.ema.module, accelerator.device.type)
        optimizer = torch.optim.AdamW(parameter_groups(self.policy, cfg.training), fused=True)
        self.optimizer = accelerator.prepare(optimizer)
        self.model = self.losses if self.sharded else accelerator.prepare(self.losses)

        self.step, self.seconds, self.window = 0, 0.0, _Window()
        if loaded:
            self._resume(*loaded)
        if self.is_main:
            if self.threads < available_cores() and cfg.workers is None:
                _logger.info(
                    "Training with %d of %d cores: the others are busy. workers=%d takes them all.",
                    *(self.threads, available_cores(), available_cores()),
                )
            size = sum(p.numel() * p.element_size() for p in self.policy.parameters())
            require_free_space(folder, 14 * size + 50e6)  # 3 checkpoints of 4, policy, log

    def loop(self, progress: bool) -> TrainSummary:
        """Train to the end of the budget; returns what came of it."""
        cfg, training = self.cfg, self.cfg.training
        budget = cfg.budget_minutes * 60 if cfg.budget_minutes else math.inf
        log = RunLog(self.folder, self.step, enabled=self.is_main)
        wandb = Wandb(cfg, self.folder, enabled=self.is_main)
        display = Display(
            f"{cfg.model.name} on {cfg.split.train_set}",
            *(training.steps, self.step, budget, progress and self.is_main),
        )
        if self.is_main:
            picture = pictures.draw_batch(self._loader().load(0))
            pictures.save_picture(self.folder / "augmented_batch.png", picture)
            wandb.picture("augmented_batch", picture, self.step)

        finished = self.step >= training.steps or self.seconds >= budget
        start_step, start, before = self.step, time.perf_counter(), self.seconds
        busy = 0.0
        batches = iter(self._loader(self.step * training.accumulate))
        try:
            with _signals() as stop:
                while not finished:
                    began = time.perf_counter()
                    losses = self._optimise(batches, self.seconds / budget)
                    self.step += 1
                    now = time.perf_counter()
                    self.window.add(losses, now - began)
                    busy += now - began
                    self.seconds, stopped = self._agree(before + now - start, stop.is_set())
                    finished = self.step >= training.steps or self.seconds >= budget
                    rate = self.samples_per_step * self.window.steps / self.window.seconds
                    display.update(self.step, losses["loss"], rate, self.seconds)

                    row: Row = {}
                    if self.step % training.log_every == 0 or finished:
                        row |= self.window.means() | {"samples_per_s": round(rate, 1)}
                        self.window = _Window()
                    checkpoint_due = self.step % training.checkpoint_every == 0 or finished
                    if checkpoint_due:
                        row |= self._validate(wandb)
                    if row:
                        row = {"step": self.step} | row | {"minutes": round(self.seconds / 60, 3)}
                        log.write(row)
                        wandb.row(row)
                        display.row(row, self.seconds)
                    if checkpoint_due or stopped:
                        self.seconds = before + time.perf_counter() - start
                        self._save()
                        log.export_csv()
                    if stopped and not finished:
                        raise KeyboardInterrupt(
                            f"Step {self.step} of {training.steps} is saved in {self.folder}. The "
                            "same command goes on from there; fresh=true starts again."
                        )
                    if checkpoint_due and not finished:
                        self._save_policy(self._summary(log, 0.0), finished=False)
        finally:
            batches.close()
            display.close()
            wandb.close()
        steps = self.step - start_step
        summary = self._summary(log, steps * self.samples_per_step / busy if steps else 0.0)
        self._save_policy(summary, finished=True)
        self.accelerator.wait_for_everyone()
        return summary

    def _optimise(self, batches: Iterator[Batch], time_fraction: float) -> dict[str, float]:
        """One optimiser step; returns the losses, averaged over its batches.

        Raises:
            NonFiniteError: A loss or the gradient is not finite; nothing was changed.
        """
        training, accelerator = self.cfg.training, self.accelerator
        factor = learning_rate_factor(training, self.step, time_fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        buffers = [buffer.clone() for buffer in self.policy.buffers()]  # running statistics
        self.model.train()
        sums: dict[str, Tensor] = {}
        for number in range(training.accumulate):
            batch = self._to_device(next(batches))
            torch.manual_seed(_seed(self.cfg.seed, self._batch_number(number)))
            with accelerator.accumulate(self.model):
                with accelerator.autocast():
                    losses = self.model(batch)
                accelerator.backward(losses["loss"])
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / training.accumulate
        gradient = accelerator.clip_grad_norm_(self.policy.parameters(), training.clip_norm)
        values = {k: float(v) for k, v in accelerator.reduce(sums, "mean").items()}
        values["grad_norm"] = float(sharding.whole(gradient))
        # fp16's gradient scaler skips steps of infinite gradients by itself.
        guarded = ("loss",) if training.precision == "fp16" else ("loss", "grad_norm")
        if not all(math.isfinite(values[name]) for name in guarded):
            for buffer, old in zip(self.policy.buffers(), buffers, strict=True):
                buffer.copy_(old)
            self._report_non_finite(values)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.losses.update(values)
        self.ema.update_parameters(self.policy)
        return values | {"learning_rate": training.learning_rate * factor}

    def _report_non_finite(self, values: dict[str, float]) -> NoReturn:
        numbers = [self._batch_number(k) for k in range(self.cfg.training.accumulate)]
        size = self.cfg.training.batch_size
        samples = np.concatenate(
            [batch_samples(len(self.train_set), size, self.cfg.seed, n) for n in numbers]
        )
        ends = np.cumsum([meta.num_samples for meta in self.train_set.metas])
        places = np.searchsorted(ends, samples, side="right")
        demos = sorted({self.train_set.metas[place].index for place in places})
        bad = ", ".join(f"{k}={v}" for k, v in values.items() if not math.isfinite(v))
        self._save()
        raise NonFiniteError(
            f"Not finite at step {self.step}: {bad}. Batch {numbers[0]} holds samples of demos "
            f"{', '.join(map(str, demos))}. The state before this step is saved in {self.folder}. "
            "Look at those demos; if they are fine, try a smaller training.learning_rate or "
            "training.precision=fp32."
        )

    @torch.no_grad()
    def _validate(self, wandb: Wandb) -> Row:
        """Loss and 3D error of the averaged policy on held-out demos of the training distribution.

        Watched, never used to choose a checkpoint.
        """
        if self.held_out is None or not (self.is_main or self.sharded):
            return {}
        policy = self.ema.module.eval()
        count = min(len(self.held_out), _VALIDATION_SAMPLES)
        samples = np.linspace(0, len(self.held_out) - 1, count).round().astype(int)
        loss, distances, observations, chunks = 0.0, [], [], []
        for part in np.array_split(samples, math.ceil(count / self.cfg.training.batch_size)):
            batch = self.held_out.batch(part)
            torch.manual_seed(0)
            with self.accelerator.autocast():
                loss += float(policy.loss(self._to_device(batch))["loss"]) * len(part) / count
            if not policy.cfg.acts:
                continue
            seen = pictures.observations_of(batch)
            predicted = policy.predict(seen)
            observations, chunks = observations + seen, chunks + predicted
            positions = np.stack([chunk.positions for chunk in predicted])
            distance = np.linalg.norm(positions - batch["waypoints"].numpy(), axis=-1)
            distances.append(distance[~batch["padded"].numpy()])
        if wandb.run and policy.cfg.acts:
            few = np.linspace(0, count - 1, min(8, count)).astype(int)
            picture = pictures.draw_heatmaps(*([x[i] for i in few] for x in (observations, chunks)))
            if picture is not None:
                wandb.picture("heatmaps", picture, self.step)
        if not policy.cfg.acts:
            return {"val_loss": loss}
        return {"val_loss": loss, "val_error_mm": 1e3 * float(np.concatenate(distances).mean())}

    # --- data ------------------------------------------------------------------------------------

    def _loader(self, first: int = 0) -> _Shard:
        training = self.cfg.training
        return _Shard(
            *(self.accelerator.process_index, self.accelerator.num_processes, self.train_set),
            batch_size=training.batch_size,
            seed=self.cfg.seed,
            start_step=first,
            augment=self.cfg.augment,
            workers=max(1, training.data_workers),
        )

    def _batch_number(self, number: int) -> int:
        """Of micro-batch `number` of this step in this process."""
        local = self.step * self.cfg.training.accumulate + number
        return local * self.accelerator.num_processes + self.accelerator.process_index

    def _to_device(self, batch: Batch) -> Batch:
        device = self.accelerator.device
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        return batch | {"image": batch["image"].contiguous(memory_format=torch.channels_last)}

    # --- state -----------------------------------------------------------------------------------

    def _agree(self, seconds: float, stopped: bool) -> tuple[float, bool]:
        """The main process's clock and anyone's wish to stop, known to all processes."""
        if self.accelerator.num_processes == 1:
            return seconds, stopped
        seconds = broadcast_object_list([seconds])[0]
        return seconds, any(gather_object([stopped]))

    def _save(self) -> None:
        if not (self.is_main or self.sharded):
            return
        moments, groups = checkpoint.optimizer_tensors(self.optimizer.optimizer)
        parts = {
            "policy": self._whole(self.policy.state_dict()),
            "ema": self._whole(self.ema.state_dict()),
            "optimizer": self._whole(moments),
        }
        if not self.is_main:
            return
        scaler = self.accelerator.scaler
        checkpoint.save_checkpoint(
            self.folder,
            parts,
            {
                "step": self.step,
                "seconds": self.seconds,
                "window": vars(self.window),
                "loss_means": self.losses.means,
                "optimizer_groups": groups,
                "scaler": scaler.state_dict() if scaler else None,
                "threads": self.threads,
            },
        )

    def _whole(self, tensors: Tensors) -> Tensors:
        """The tensors of a state dict, put together on the main process where they are split."""
        return sharding.gathered(tensors, keep=self.is_main) if self.sharded else tensors

    def _resume(self, parts: dict[str, Tensors], state: dict[str, Any]) -> None:
        """Go on from a checkpoint, whose weights are loaded already."""
        source, groups = str(self.folder / "checkpoint"), state["optimizer_groups"]
        optimizer, moments = self.optimizer.optimizer, parts["optimizer"]
        if self.sharded:
            moments = sharding.split_moments(moments, optimizer)
        checkpoint.restore_optimizer(optimizer, moments, groups, source)
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.window = _Window(**state["window"])
        self.losses.means = state.get("loss_means", {})  # runs from before there were stages
        if self.cfg.workers is None:
            self.threads = set_threads(state["threads"])  # another number rounds differently
        if self.is_main:
            _logger.info("Resuming %s at step %d.", self.folder, self.step)
            if state["threads"] != self.threads:
                _logger.warning(
                    "The run was begun with %d threads and goes on with %d: results can differ in "
                    "the last bits.",
                    *(state["threads"], self.threads),
                )

    def _save_policy(self, summary: TrainSummary, finished: bool) -> None:
        if not (self.is_main or self.sharded):
            return
        tensors = self._whole(self.ema.module.state_dict())
        if not self.is_main:
            return
        cfg = self.cfg
        meta = {
            "finished": finished,
            "config": asdict(cfg),
            "backbone": {"name": cfg.backbone.name, "init": self.policy.backbone.init},
            "training": {
                "steps": summary.steps,
                "minutes": summary.minutes,
                "demos": summary.demos,
                "samples_per_s": summary.samples_per_s,
            },
            "losses": summary.losses,
            "validation": summary.validation,
            "start": self.start,
            "git": git_hash(),
            "versions": versions(),
            "hardware": hardware() | {"threads": self.threads},
        }
        save_policy(self.folder, tensors, meta)

    def _summary(self, log: RunLog, samples_per_s: float) -> TrainSummary:
        row = log.last("loss").items()
        return TrainSummary(
            folder=self.folder,
            steps=self.step,
            minutes=round(self.seconds / 60, 3),
            samples_per_s=round(samples_per_s, 1),
            demos=len(self.train_set.metas),
            losses={k: v for k, v in row if k not in _NO_LOSSES and not k.startswith("val_")},
            validation={k: v for k, v in log.last("val_loss").items() if k.startswith("val_")},
        )


def _accelerator(training: TrainingConfig) -> Accelerator:
    """Accelerate's view of the devices, also under `accelerate launch` and `torchrun`."""
    if training.precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError(
            "training.precision=fp16 needs a GPU: its gradients must be scaled, which only works "
            "there. Use bf16 or fp32."
        )
    # Accelerate keeps one precision per process; several runs in one (-m, tests) may differ.
    AcceleratorState._reset_state()
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    accelerator = Accelerator(
        cpu=not has_gpu,  # else it overlooks torchrun's processes on a machine without a GPU
        mixed_precision="no" if training.precision == "fp32" else training.precision,
        gradient_accumulation_steps=training.accumulate,
    )
    if training.shard and accelerator.num_processes == 1:
        raise ConfigError(
            "training.shard=true splits a model over several processes, but there is one. Start "
            "them with: accelerate launch --config_file configs/accelerate/fsdp.yaml "
            "--num_processes N scripts/train.py ..."
        )
    return accelerator


def _claim(folder: Path, cfg: TrainConfig) -> TrainSummary | None:
    """Make `folder` the run of `cfg`; returns the summary if it is finished already.

    Raises:
        ConfigError: It holds a run of another configuration.
    """
    if cfg.fresh:
        for path in folder.glob("*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if checkpoint.has_checkpoint(folder):
        _refuse_other_config(folder, cfg)
        if (folder / "policy.json").exists():
            meta = read_policy_meta(folder)
            if meta["finished"]:
                return TrainSummary(
                    folder=folder,
                    **meta["training"],
                    losses=meta["losses"],
                    validation=meta["validation"],
                    already_trained=True,
                )
    atomic_write_json(folder / "config.json", asdict(cfg))
    return None


def _has_other_config(cfg: TrainConfig) -> bool:
    """Is there a run in the folder of `cfg` that would train something else?"""
    path = run_dir(cfg) / "config.json"
    return path.exists() and bool(differences(cfg, read_json(path)))


def _refuse_other_config(folder: Path, cfg: TrainConfig) -> None:
    old = read_json(folder / "config.json")
    different = differences(cfg, old)
    if different:
        listed = "; ".join(f"{k} was {a}, now {b}" for k, (a, b) in list(different.items())[:6])
        more = f"; and {len(different) - 6} more" if len(different) > 6 else ""
        raise ConfigError(
            f"{folder} holds a run of another configuration: {listed}{more}. Ask for the old "
            "values, or replace the run with fresh=true, or keep both with another model.name, "
            "seed or runs_dir."
        )


@contextmanager
def _only_one(folder: Path, accelerator: Accelerator, wait: bool) -> Iterator[None]:
    """Refuse a second process that trains into the same folder, or let it wait its turn."""
    if not accelerator.is_main_process:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not wait:
                raise ConfigError(
                    f"Another process is training {folder} right now. Wait for it, or choose "
                    "another seed, model.name or runs_dir."
                ) from error
            _logger.info("Another process is training %s: waiting for it.", folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, _: Any) -> None:
        event.set()
        signal.signal(number, old[number])

    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in old:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _seed(seed: int, batch_number: int) -> int:
    """Seed of everything random in the forward pass of one batch."""
    return int(np.random.SeedSequence([seed, 2, batch_number]).generate_state(1, np.uint64)[0] >> 1)
