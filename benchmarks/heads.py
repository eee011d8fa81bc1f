"""What the pixel-aligned head costs: `python benchmarks/heads.py [workers=THREADS]`.

Compares training steps (forward, backward, AdamW) of the backbone alone, of PARA and of its
full-volume variant: interleaved, so that a busy machine slows all alike; ratios are medians over
rounds. Peak memory is that of a step in a process of its own, above the process before the step.
Weights are random: nothing is downloaded. Writes <results_dir>/benchmarks/heads.json.
"""

import gc
import logging
import statistics
import sys
import threading
import time
from collections.abc import Callable

import psutil
import torch

from para.backbones import build_backbone
from para.camera import Camera
from para.cli import load_config, plainly
from para.executors import LocalExecutor, stateless
from para.files import atomic_write_json
from para.policies.base import build_policy
from para.runs.config import TrainConfig
from para.system import available_cores, provenance
from para.training.precision import has_bf16

VARIANTS = ("backbone", "para", "para_volume")
PROFILES = {"laptop": {"batch": 32, "rounds": 12}, "paper": {"batch": 2, "rounds": 4}}


def main() -> None:
    """Measure both profiles and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(TrainConfig, sys.argv[1:])
    threads = cfg.workers or available_cores()
    torch.set_num_threads(threads)
    rows = {}
    for profile, size in PROFILES.items():
        rows[profile] = row = compare(profile, **size)
        for variant in VARIANTS:
            setup = stateless(peak_megabytes, profile, variant)
            ((_, memory),) = LocalExecutor(workers=1).run(setup, [size["batch"]])
            row[variant]["peak_megabytes"] = memory
            logging.info("%-8s %-12s %s", profile, variant, row[variant])
    result = {
        **provenance("benchmarks/heads.py", sys.argv[1:]),
        "threads": threads,
        "precision": "bf16" if has_bf16() else "fp32",
        "profiles": rows,
    }
    atomic_write_json(f"{cfg.results_dir}/benchmarks/heads.json", result)


def compare(profile: str, batch: int, rounds: int) -> dict[str, object]:
    """Times of one training step of each variant [s], and ratios to the backbone's."""
    torch.manual_seed(0)
    steps = {variant: training_step(profile, variant, batch) for variant in VARIANTS}
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for step in steps.values():
        step()  # warm-up
    for _ in range(rounds):
        for variant, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[variant].append(time.perf_counter() - start)
    cfg = config(profile, "para")
    row: dict[str, object] = {
        "backbone_name": cfg.backbone.name,
        "image_size": cfg.env.image_size,
        "heatmap_size": cfg.model.heatmap_size,
        "batch_size": batch,
        "n": rounds,
    }
    for variant, times in seconds.items():
        ratios = [a / b for a, b in zip(times, seconds["backbone"], strict=True)]
        row[variant] = {
            "seconds": round(statistics.median(times), 4),
            "fastest_seconds": round(min(times), 4),
            "samples_per_s": round(batch / statistics.median(times), 1),
            "ratio_to_backbone": round(statistics.median(ratios), 3),
        }
    return row


def config(profile: str, model: str) -> TrainConfig:
    """The profile's training configuration, with random weights."""
    return load_config(
        TrainConfig, [f"profile={profile}", f"model={model}", "backbone.weights=random"]
    )


def training_step(profile: str, variant: str, batch_size: int) -> Callable[[], None]:
    """A function that does one training step."""
    cfg = config(profile, "para" if variant == "backbone" else variant)
    size, horizon = cfg.env.image_size, cfg.model.horizon
    batch = made_up_batch(batch_size, horizon, size)
    if variant == "backbone":
        model = build_backbone(cfg.backbone, size, cfg.model.heatmap_size)

        def loss() -> torch.Tensor:
            features, pooled = model(batch["image"])
            return features.float().square().mean() + pooled.float().square().mean()

    else:
        model = build_policy(cfg.model, cfg.backbone, size)

        def loss() -> torch.Tensor:
            return model.loss(batch)["loss"]

    model.to(memory_format=torch.channels_last)  # as training has them
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def made_up_batch(batch: int, horizon: int, size: int) -> dict[str, torch.Tensor]:
    """Random images; waypoints over the table, all in view."""
    camera = Camera.look_at((0.96, 0, 1.15), (0, 0, 0), 45, size, size)
    low, high = torch.tensor([-0.19, -0.3, 0.0]), torch.tensor([0.19, 0.3, 0.3])
    return {
        "image": torch.rand(batch, 3, size, size).contiguous(memory_format=torch.channels_last),
        "intrinsics": torch.from_numpy(camera.intrinsics).float().expand(batch, 3, 3),
        "T_world_camera": torch.from_numpy(camera.T_world_camera).float().expand(batch, 4, 4),
        "ee_position": low + (high - low) * torch.rand(batch, 3),
        "gripper": torch.rand(batch),
        "waypoints": low + (high - low) * torch.rand(batch, horizon, 3),
        "waypoint_gripper": torch.rand(batch, horizon).round(),
        "waypoint_rotation": torch.zeros(batch, horizon, 3),
        "padded": torch.zeros(batch, horizon, dtype=torch.bool),
    }


def peak_megabytes(profile: str, variant: str, batch: int) -> int:
    """Peak resident memory of two training steps above what the process held before them."""
    torch.set_num_threads(1)
    step = training_step(profile, variant, batch)
    gc.collect()
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    peak = before

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    step()
    step()
    done.set()
    watcher.join()
    return round((peak - before) / 1e6)


if __name__ == "__main__":
    plainly(main)
