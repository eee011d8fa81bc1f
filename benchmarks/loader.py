"""Training samples per second of the loader alone: `python benchmarks/loader.py [dataset=...]`.

Takes the keys of scripts/generate_demos.py, writes <results_dir>/benchmarks/loader-<data
set>.json. One thread. "laptop" is the augmentation of profile=laptop. Rates are given per second of
wall time and per second of CPU time: on a busy machine the second says more.
"""

import dataclasses
import logging
import sys
import time

import psutil
import torch

from para.cli import load_config, plainly
from para.data.config import AugmentConfig
from para.data.dataset import BatchLoader, DemoDataset
from para.data.generate import GenerateConfig, ensure_dataset
from para.files import atomic_write_json
from para.runs.config import TrainConfig
from para.system import provenance

BATCH, BATCHES = 32, 300
GEOMETRY = {"crop": 0.1, "shift": 0.05, "scale": 0.1, "rotate_deg": 5.0, "camera_rotate_deg": 3.0}


def main() -> None:
    """Measure opening a data set, the loader and its memory."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(GenerateConfig, sys.argv[1:])
    laptop = load_config(TrainConfig, ["profile=laptop"]).augment
    cases = {
        "none": None,
        "laptop": laptop,
        "geometry": AugmentConfig(**GEOMETRY),
        "everything": dataclasses.replace(laptop, **GEOMETRY, noise=0.02),
    }
    torch.set_num_threads(1)
    start = time.perf_counter()
    folder, metas = ensure_dataset(cfg, cfg.dataset, cfg.limit)
    checked = time.perf_counter()
    dataset = DemoDataset(folder, [meta.index for meta in metas])
    opened = time.perf_counter()
    uncached = DemoDataset(folder, [meta.index for meta in metas], cache_bytes=0)

    def rate(data: DemoDataset, augment: AugmentConfig | None, batches: int) -> dict[str, float]:
        loader = BatchLoader(data, BATCH, seed=0, augment=augment)
        wall, cpu = time.perf_counter(), time.process_time()
        for step in range(batches):
            loader.load(step)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        samples = BATCH * batches
        return {"samples_per_s": round(samples / wall), "per_cpu_s": round(samples / cpu)}

    epoch = -(-len(dataset) // BATCH)
    rates = {"first epoch": rate(dataset, cases["none"], epoch)}
    rates |= {name: rate(dataset, augment, BATCHES) for name, augment in cases.items()}
    rates["nothing cached, laptop"] = rate(uncached, cases["laptop"], BATCHES // 3)
    del uncached
    result = {
        **provenance("benchmarks/loader.py", [f"dataset={cfg.dataset}", f"robot={cfg.robot}"]),
        "dataset": folder.name,
        "demos": len(metas),
        "frames": len(dataset),
        "image_size": cfg.env.image_size,
        "batch_size": BATCH,
        "n": BATCH * BATCHES,
        "threads": 1,
        "check_seconds": round(checked - start, 2),
        "open_seconds": round(opened - checked, 2),
        "resident_megabytes": round(psutil.Process().memory_info().rss / 1e6),
        "rates": rates,
    }
    path = f"{cfg.results_dir}/benchmarks/loader-{folder.name}.json"
    atomic_write_json(path, result)
    for name, row in rates.items():
        print(f"{name:<24} {row['samples_per_s']:>6} samples/s {row['per_cpu_s']:>6} per CPU s")
    print(path)


if __name__ == "__main__":
    plainly(main)
