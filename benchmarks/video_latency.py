"""Latency of one prediction on a video backbone: `python benchmarks/video_latency.py [svd]`.

One pass of the UNet, from a uint8 image to 3D waypoints, random weights, after a warm-up: svd_tiny,
and with the argument svd the true size too (8 GB in bf16 on a GPU; minutes on a CPU). Writes
<results_dir>/benchmarks/video_latency.json.
"""

import logging
import sys
import time

import torch
from latency import made_up_observation, summary, write

from para.cli import load_config, plainly
from para.evaluation.results import MAIN_MODELS
from para.policies.base import INFERENCE_DTYPES, build_policy
from para.runs.config import TrainConfig
from para.system import set_threads
from para.types import Inference

ROUNDS = {"svd_tiny": 30, "svd": 3}


def main() -> None:
    """Measure every model on every backbone and write the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = sys.argv[1:]
    backbones = ["svd_tiny"] + ["svd"] * ("svd" in arguments)
    cfg = load_config(TrainConfig, [word for word in arguments if word != "svd"])
    threads = set_threads(cfg.workers)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for backbone in backbones:
        for model in MAIN_MODELS:
            overrides = [f"backbone={backbone}", f"model={model}", "backbone.weights=random"]
            case = load_config(TrainConfig, overrides)
            policy = build_policy(case.model, case.backbone, case.env.image_size).to(device)
            seen = [made_up_observation(case.env.image_size)]
            for precision in INFERENCE_DTYPES:
                milliseconds = []
                for turn in range(ROUNDS[backbone] + 1):
                    start = time.perf_counter()
                    policy.predict(seen, Inference(precision=precision))
                    if turn:  # the first is a warm-up
                        milliseconds.append(1000 * (time.perf_counter() - start))
                row = {
                    "backbone": backbone,
                    "model": model,
                    "precision": precision,
                    "device": device,
                    **summary(milliseconds),
                }
                rows.append(row)
                logging.info("%s", row)
    write(f"{cfg.results_dir}/benchmarks/video_latency.json", threads, rows)


if __name__ == "__main__":
    plainly(main)
