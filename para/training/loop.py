"""The one training loop, for every policy.

What happens in step s is a function of the configuration and s alone: the learning rate, the
samples of the batch, their augmentation and the seed of dropout all derive from (seed, s). Together
with the checkpointed weights, moments and averages this makes resuming exact: k steps, a kill and
N - k steps give the same bits as N steps (on the CPU, with the same number of threads). With
`budget_minutes` the learning rate also follows the clock, so only the time spent is restored.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import replace

from accelerate import Accelerator

from para.data.config import GEOMETRIC
from para.data.dataset import DemoDataset
from para.fields import check
from para.runs.config import TrainConfig
from para.runs.folders import run_dir
from para.training import sharding
from para.training.along import decided
from para.training.claims import claimed, has_other_config
from para.training.data import numbered_batches, open_datasets
from para.training.devices import agree, start_accelerator
from para.training.monitor import Monitor
from para.training.precision import precise
from para.training.resume import begin, save
from para.training.signals import stop_signals
from para.training.stages import stage_configs
from para.training.state import Run, Window
from para.training.step import optimise
from para.training.summary import TrainSummary, leave_policy, summarise
from para.training.validation import validate

_logger = logging.getLogger(__name__)

Datasets = tuple[DemoDataset, DemoDataset | None]
"""Training and held-out demos."""


def train(
    cfg: TrainConfig, progress: bool = True, datasets: Datasets | None = None
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
        ConfigError: The folder holds a run of another configuration, or with `fresh` anything
            that no run wrote; or `cfg` cannot work.
        DataError: Demos are damaged.
        CheckpointError: All checkpoints are damaged.
        NonFiniteError: The loss became infinite or not a number.
        KeyboardInterrupt: SIGINT or SIGTERM arrived; a checkpoint was saved first.
    """
    if sharding.asked_by_launcher():
        cfg = replace(cfg, training=replace(cfg.training, shard=True))
    check(cfg)
    cfg = decided(cfg, datasets)
    *earlier, last = [precise(stage) for stage in stage_configs(cfg)]
    if off := [key for key in GEOMETRIC if getattr(last.augment, key) != getattr(cfg.augment, key)]:
        _logger.info(
            "augment: the labels of model=%s cannot follow %s, which is switched off.",
            cfg.model.name,
            ", ".join(off),
        )
    for stage in earlier:
        # fresh=true trains the last stage again; those before it only where they changed
        stage = replace(stage, fresh=cfg.fresh and has_other_config(stage))
        _train_stage(stage, progress, datasets, wait=True)  # recipes may share it
    return _train_stage(last, progress, datasets, wait=False)


def _train_stage(
    cfg: TrainConfig, progress: bool, datasets: Datasets | None, wait: bool
) -> TrainSummary:
    """One run, unless it is finished; `wait` for another process that trains it just now."""
    accelerator = start_accelerator(cfg.training)
    folder = run_dir(cfg)
    with claimed(folder, cfg, accelerator, wait) as finished:
        if finished:
            return finished
        return _loop(Run(cfg, folder, *(datasets or open_datasets(cfg))), accelerator, progress)


def _loop(run: Run, accelerator: Accelerator, show: bool) -> TrainSummary:
    """One session: from where the run is to the end of its budget, or until it is stopped."""
    training = run.cfg.training
    samples = training.batch_size * training.accumulate * accelerator.num_processes
    learner, progress = begin(run, accelerator)
    monitor = Monitor(run, progress, learner.is_main, show)
    batches = numbered_batches(run, accelerator, progress.step)
    session = Window()
    with monitor, closing(batches), stop_signals() as stop:
        monitor.first_batch(progress)
        origin = time.perf_counter() - progress.seconds
        finished = run.is_over(progress)
        while not finished:
            began = time.perf_counter()
            losses = optimise(run, learner, progress, batches)
            now = time.perf_counter()
            progress.step += 1
            progress.window.add(losses, now - began)
            session.add({}, now - began)
            progress.seconds, stopped = agree(accelerator, now - origin, stop.is_set())
            finished = run.is_over(progress)
            rate = progress.window.rate(samples)
            monitor.step(progress, losses["loss"], rate)

            log_due = finished or progress.step % training.log_every == 0
            save_due = finished or progress.step % training.checkpoint_every == 0
            row = {}
            if log_due:
                row |= progress.window.means() | {"samples_per_s": round(rate, 1)}
                progress.window = Window()
            if save_due:
                validation, heatmaps = validate(run, learner, draw=monitor.wants_pictures)
                row |= validation
                monitor.picture("heatmaps", heatmaps, progress)
            monitor.row(progress, row)
            if save_due or stopped:
                now = time.perf_counter()
                progress.seconds, stopped = agree(accelerator, now - origin, stopped)
                save(run, learner, progress)
                monitor.log.export_csv()
            if stopped and not finished:
                raise KeyboardInterrupt(
                    f"Step {progress.step} of {training.steps} is saved in {run.folder}. The same "
                    "command goes on from there; fresh=true starts again."
                )
            if save_due and not finished:
                so_far = summarise(run, progress, monitor.log, samples_per_s=0.0)
                leave_policy(run, learner, progress, so_far, finished=False)
    summary = summarise(run, progress, monitor.log, session.rate(samples))
    leave_policy(run, learner, progress, summary, finished=True)
    accelerator.wait_for_everyone()
    return summary
