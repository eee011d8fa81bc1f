"""What one GPU makes of a training step: `python benchmarks/gpu.py [key=value]`.

Each case is the trainer's own step, from random weights (nothing is downloaded), first with one
batch that lies on the GPU, then with the loader's batches. Beside the times stand the memory that
the step took at most, and its arithmetic as a share of the GPU's own limit: floating-point
operations as PyTorch counts them (forward and backward, what is computed twice to save memory
counts twice) over the time and over the rate of a large matrix product in bf16, measured here.
What fails, for lack of memory say, is a row that says so. The demos, 16 of them, are made where
they are missing. Writes <results_dir>/benchmarks/gpu.json after every case.
"""

from __future__ import annotations

import gc
import itertools
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.latency import made_up_observation, summary
from para.cli import load_config, plainly
from para.files import atomic_write_json
from para.runs.config import TrainConfig
from para.system import provenance
from para.training.along import decided
from para.training.data import Numbered, numbered_batches, open_datasets
from para.training.devices import start_accelerator, to_device
from para.training.learner import Learner, build_learner
from para.training.precision import precise
from para.training.stages import stage_configs
from para.training.state import Progress, Run
from para.training.step import optimise
from para.types import Inference

_VIDEO = "profile=paper model=para backbone=svd backbone.weights=random"
CASES = {
    "resnet10, 128 px, batch 32: para": "profile=laptop model=para",
    "resnet10, 128 px, batch 256: para": "profile=laptop model=para training.batch_size=256",
    "ViT-S/14, 448 px, batch 32: para": "profile=paper model=para",
    "ViT-S/14, 448 px, batch 32: regression": "profile=paper model=regression",
    "ViT-S/14, 448 px, batch 128: para": "profile=paper model=para training.batch_size=128",
    "SVD, 320 x 576, 7 frames, batch 1: joint": f"{_VIDEO} recipe=joint_svd",
    "SVD, 320 x 576, 7 frames, batch 4: joint": (
        f"{_VIDEO} recipe=joint_svd recipe.stages.joint.batch_size=4"
    ),
}
STEPS, WARM_UP, SECONDS = 30, 3, 4.0
"""Most steps of a measurement, those before it that do not count, and its longest duration [s]."""


def main() -> None:
    """Measure every case; what is measured is written at once."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    told = [*sys.argv[1:], "limit=16"]
    cfg = load_config(TrainConfig, told)
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py measures a GPU, and PyTorch finds none here.")
    limits = {"bf16_tflops": matrix_product_tflops(), "copy_tb_s": copy_tb_s()}
    rows: list[dict[str, Any]] = []
    for name, words in CASES.items():
        row: dict[str, Any] = {"case": name, "keys": words}
        try:
            row |= measure([*words.split(), "backbone.weights=random", *told])
            row["share_of_limit"] = round(row["tflops"] / limits["bf16_tflops"], 3)
        except torch.OutOfMemoryError as error:
            row["failed"] = str(error).splitlines()[0]
        gc.collect()
        torch.cuda.empty_cache()
        rows.append(row)
        logging.getLogger("para").info("%s", row)
        result = {
            **provenance("benchmarks/gpu.py", sys.argv[1:]),
            "torch": torch.__version__,
            "memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1),
            "limits": limits,
            "cases": rows,
        }
        atomic_write_json(f"{cfg.results_dir}/benchmarks/gpu.json", result)


def measure(arguments: list[str]) -> dict[str, Any]:
    """Times, memory and arithmetic of the steps of one training, and of its policy's answers."""
    cfg = stage_configs(load_config(TrainConfig, arguments))[-1]
    if cfg.stage:  # what comes before it is not trained
        cfg = replace(cfg, stage=replace(cfg.stage, after=None))
    datasets = open_datasets(cfg)
    cfg = precise(decided(cfg, datasets))
    with tempfile.TemporaryDirectory() as folder:
        run = Run(cfg, Path(folder), *datasets)
        accelerator = start_accelerator(cfg.training)
        learner = build_learner(run, accelerator, None)
        with closing(numbered_batches(run, accelerator, 0)) as batches:
            number, batch = next(batches)
            batch = to_device(batch, accelerator.device)
            operations = floating_point_operations(learner, batch)
            torch.cuda.reset_peak_memory_stats()
            fixed = step_seconds(run, learner, itertools.repeat((number, batch)))
            peak = torch.cuda.max_memory_allocated()
            loaded = step_seconds(run, learner, batches)
    size = cfg.training.batch_size
    return {
        "precision": cfg.training.precision,
        "parameters": sum(p.numel() for p in learner.policy.parameters()),
        "trained": sum(p.numel() for p in learner.policy.parameters() if p.requires_grad),
        "step_ms": round(1000 * statistics.median(fixed), 2),
        "n": len(fixed),
        "samples_per_s": round(size / statistics.median(fixed), 1),
        "samples_per_s_with_loader": round(size * len(loaded) / sum(loaded), 1),
        "peak_gb": round(peak / 1e9, 2),
        "tflop_per_step": round(operations / 1e12, 3),
        "tflops": round(operations / 1e12 / statistics.median(fixed), 1),
        "prediction": prediction_ms(learner, cfg.env.image_size),
    }


def step_seconds(run: Run, learner: Learner, batches: Numbered) -> list[float]:
    """Durations of optimiser steps [s]; each ends with its loss on the CPU, so it is over."""
    progress = Progress(threads=torch.get_num_threads())
    seconds: list[float] = []
    while len(seconds) < STEPS and sum(seconds) < SECONDS:
        start = time.perf_counter()
        optimise(run, learner, progress, batches)
        progress.step += 1
        if progress.step > WARM_UP:
            seconds.append(time.perf_counter() - start)
    return seconds


def floating_point_operations(learner: Learner, batch: dict[str, torch.Tensor]) -> int:
    """Of the forward and backward pass of one batch."""
    learner.model.train()
    with FlopCounterMode(display=False) as counter:
        with learner.accelerator.autocast():
            loss = learner.model(batch)["loss"]
        learner.accelerator.backward(loss)
    learner.optimizer.zero_grad()
    return counter.get_total_flops()


def prediction_ms(learner: Learner, image_size: int) -> dict[str, float]:
    """From one uint8 image in the CPU's memory to 3D waypoints there, in bf16."""
    observations = [made_up_observation(image_size)]
    milliseconds: list[float] = []
    while len(milliseconds) < WARM_UP + STEPS and sum(milliseconds) < 1000 * SECONDS:
        start = time.perf_counter()
        learner.policy.predict(observations, Inference(precision="bf16"))
        milliseconds.append(1000 * (time.perf_counter() - start))
    return summary(milliseconds[WARM_UP:])


# --- what the GPU can do -------------------------------------------------------------------------


def matrix_product_tflops(size: int = 8192) -> float:
    """Rate of a product of two random square matrices in bf16 [TFLOP/s]."""
    left, right = torch.randn(2, size, size, device="cuda", dtype=torch.bfloat16)
    return round(2 * size**3 / median_seconds(lambda: left @ right) / 1e12, 1)


def copy_tb_s(size: int = 2**30) -> float:
    """Rate of a copy within the GPU's memory, what is read and what is written counted [TB/s]."""
    source = torch.randint(0, 256, (size,), device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    return round(2 * size / median_seconds(lambda: target.copy_(source)) / 1e12, 2)


def median_seconds(work: Callable[[], object]) -> float:
    """Median duration of `work` on the GPU [s], by its own clock, after a warm-up."""
    seconds = []
    for turn in range(13):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        if turn >= WARM_UP:
            seconds.append(start.elapsed_time(end) / 1000)
    return statistics.median(seconds)


if __name__ == "__main__":
    plainly(main)
