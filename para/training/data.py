"""The demos of a run, and the batches that each of its processes gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from envs.base import build_task
from envs.demos import DEMO_SETS
from envs.splits import training_indices
from para.data.dataset import Batch, BatchLoader, DemoDataset
from para.data.generate import ensure_dataset
from para.data.own import open_own, spread_out
from para.runs.config import TrainConfig
from para.runs.suite import with_each_task
from para.text import build_text
from para.training.stages import needs_clips
from para.training.state import Run

Numbered = Iterator[tuple[int, Batch]]
"""Batches, each after its number; the number decides all that is random about it."""


def open_datasets(cfg: TrainConfig) -> tuple[DemoDataset, DemoDataset | None]:
    """Training and held-out demos of `cfg.split`; missing demos are generated first.

    Held out are `training.validation_demos` demos spread over the training set, but at most one in
    eight (of imported ones at least one, `para.data.own`); none where the split fixes the number of
    training demos (corner_n32 trains on 32). Of several tasks each gives its part.
    """
    clip = (cfg.backbone.frames, cfg.backbone.frame_stride) if needs_clips(cfg) else None
    shape = (cfg.model.horizon, cfg.model.waypoint_stride, clip)
    size = None if cfg.split.simulated else cfg.env.image_size
    text = build_text(cfg.text)
    tasks = with_each_task(cfg)
    divided = [_divided(each, len(tasks)) for each in tasks]

    def opened(sets: list[tuple[Path, list[int]]]) -> DemoDataset:
        (folder, indices), *more = sets
        return DemoDataset(folder, indices, *shape, text=text, more=more, image_size=size)

    held_out = [(folder, apart) for folder, _, apart in divided if apart]
    train_set = opened([(folder, kept) for folder, kept, _ in divided])
    return train_set, opened(held_out) if held_out else None


def _divided(cfg: TrainConfig, tasks: int) -> tuple[Path, list[int], list[int]]:
    """Folder of a task's demos, indices of those to train on and of those held out."""
    if not cfg.split.simulated:
        own = open_own(str(cfg.data))
        return own.folder, *own.divided(cfg.training.validation_demos, cfg.limit)
    task = build_task(cfg.task)
    name = cfg.split.dataset_for(task, cfg.layout)
    chosen = training_indices(cfg.split, task, cfg.layout)
    only = None if DEMO_SETS[name].whole else chosen
    folder, metas = ensure_dataset(cfg, name, cfg.limit, only=only)
    present = {meta.index for meta in metas if meta.success}
    indices = [i for i in chosen if i in present]
    wanted = 0 if cfg.split.demos else -(-cfg.training.validation_demos // tasks)
    return folder, *spread_out(indices, min(wanted, len(indices) // 8))


def first_batch(run: Run) -> Batch:
    """Batch 0 as training sees it, augmented."""
    return BatchLoader(run.train_set, **_loading(run)).load(0)


def numbered_batches(run: Run, accelerator: Accelerator, step: int) -> Numbered:
    """This process's batches from optimiser step `step` on: every n-th of all, with n processes."""
    rank, processes = accelerator.process_index, accelerator.num_processes
    first = step * run.cfg.training.accumulate
    loader = _Shard(rank, processes, run.train_set, start_step=first, **_loading(run))
    numbers = count(first * processes + rank, processes)
    with closing(iter(loader)) as batches:
        yield from zip(numbers, batches, strict=False)


def demos_of_batches(run: Run, numbers: Sequence[int]) -> list[int]:
    """Indices of the demos whose samples are in the batches with these numbers."""
    size, seed = run.cfg.training.batch_size, run.cfg.seed
    samples = np.concatenate([run.train_set.order(size, seed, n) for n in numbers])
    ends = np.cumsum([meta.num_samples for meta in run.train_set.metas])
    places = np.searchsorted(ends, samples, side="right")
    return sorted({run.train_set.metas[place].index for place in places})


def _loading(run: Run) -> dict[str, Any]:
    training = run.cfg.training
    return {
        "batch_size": training.batch_size,
        "seed": run.cfg.seed,
        "augment": run.cfg.augment,
        "workers": max(1, training.data_workers),
    }


class _Shard(BatchLoader):
    """Every `processes`-th batch, from `rank`: the part of one process when several train."""

    def __init__(self, rank: int, processes: int, dataset: DemoDataset, **rest: Any):
        super().__init__(dataset, **rest)
        self.rank, self.processes = rank, processes

    def load(self, step: int) -> Batch:
        return super().load(step * self.processes + self.rank)
