"""Training samples/s by model, threads, precision: `python benchmarks/train_step.py [key=value]`.

Runs the real trainer (loader, augmentation, forward, backward, AdamW, average) at the given
profile, laptop by default, and the loader alone. The first 20 steps are not counted. Demos are
generated where they are missing; what is asked for (workers=, training.precision=) is not varied.
Writes <results_dir>/benchmarks/train_step.json.
"""

import itertools
import logging
import statistics
import sys
import tempfile
import time

import torch

from para.cli import load_config, plainly
from para.data.dataset import BatchLoader
from para.evaluation.results import MAIN_MODELS
from para.files import atomic_write_json
from para.runs.config import AUTO, TrainConfig
from para.system import available_cores, provenance
from para.training.data import open_datasets
from para.training.log import read_log
from para.training.loop import train
from para.training.stages import stage_configs

WINDOW, WINDOWS = 20, 4
"""Steps per measurement, and measurements; the first is the warm-up."""


def main() -> None:
    """Measure training throughput for each model, number of threads and precision."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(TrainConfig, sys.argv[1:])
    datasets = open_datasets(stage_configs(cfg)[-1])
    counts = [cfg.workers] if cfg.workers else range(1, available_cores() + 1)
    usual = cfg.training.precision
    precisions = ["fp32", "bf16"] if usual == AUTO else [usual]
    rows = []
    for model, threads, precision in itertools.product(MAIN_MODELS, counts, precisions):
        with tempfile.TemporaryDirectory() as runs_dir:
            fixed = (
                f"model={model} workers={threads} runs_dir={runs_dir} "
                f"training.precision={precision} "
                f"training.steps={WINDOW * WINDOWS} training.log_every={WINDOW} "
                "training.checkpoint_every=1000000"
            )
            asked = [a for a in sys.argv[1:] if not a.startswith("workers=")]
            run = load_config(TrainConfig, [*asked, *fixed.split()])
            folder = train(run, progress=False, datasets=(datasets[0], None)).folder
            rates = [row["samples_per_s"] for row in read_log(folder) if "loss" in row][1:]
        row = {
            "model": model,
            "threads": threads,
            "precision": precision,
            "samples_per_s": round(statistics.median(rates), 1),
            "lowest": min(rates),
            "highest": max(rates),
            "n": len(rates),
        }
        logging.getLogger("para").info("%s", row)
        rows.append(row)

    torch.set_num_threads(1)
    loader = BatchLoader(datasets[0], cfg.training.batch_size, cfg.seed, augment=cfg.augment)
    passes = 2 * len(datasets[0]) // cfg.training.batch_size  # the first one decodes the images
    half, start = passes // 2, 0.0
    for step in range(passes):
        if step == half:
            start = time.perf_counter()
        loader.load(step)
    rate = (passes - half) * cfg.training.batch_size / (time.perf_counter() - start)

    result = {
        **provenance("benchmarks/train_step.py", sys.argv[1:]),
        "profile": cfg.profile,
        "batch_size": cfg.training.batch_size,
        "image_size": cfg.env.image_size,
        "training": rows,
        "loader_one_thread_samples_per_s": round(rate, 1),
    }
    atomic_write_json(f"{cfg.results_dir}/benchmarks/train_step.json", result)


if __name__ == "__main__":
    plainly(main)
