"""Quality of generated clips: `python benchmarks/video_quality.py [split=lr]`.

Generates from the video stages of recipes two_stage and two_stage_long_video, which it trains where
they are missing, with the sampler's last pass at two noise levels. Clips start from demos of the
split's data set that did not train the video model: its held-out demos ("held_out") and those of
other positions ("elsewhere"). Writes <results_dir>/benchmarks/video_quality.json and pictures of
true frames above generated ones.
"""

import logging
import sys
import time

import numpy as np

from envs.base import build_task
from envs.splits import training_indices
from para.cli import load_config, plainly
from para.data.dataset import DemoDataset
from para.data.generate import ensure_dataset
from para.evaluation.video_quality import (
    contact_sheet,
    first_samples,
    generate_clips,
    load_video_backbone,
    quality,
)
from para.files import atomic_write_json
from para.runs.config import TrainConfig
from para.system import provenance, set_threads
from para.training.data import open_datasets
from para.training.loop import train
from para.training.stages import stage_configs
from para.video import write_picture

TIMES = (0.0, 0.3, 0.6)
MOST_DEMOS = 16
PUBLISHED_SIGMA_MIN = 0.002
"""Of Stable Video Diffusion's scheduler."""
VARIANTS = (("two_stage", PUBLISHED_SIGMA_MIN), ("two_stage", None), ("two_stage_long_video", None))
"""Recipe whose first stage generates, noise level of the last pass; None: configs/backbone's."""


def clip_sets(cfg: TrainConfig, clip: tuple[int, int]) -> dict[str, DemoDataset]:
    """Demos that trained no video model of the split, by the kind of their positions."""
    _, held_out = open_datasets(cfg)
    task = build_task(cfg.task)
    demos, metas = ensure_dataset(cfg, cfg.split.dataset_for(task, cfg.layout), cfg.limit)
    trained = set(training_indices(cfg.split, task, cfg.layout))
    others = [meta.index for meta in metas if meta.success and meta.index not in trained]
    sets = {"held_out": held_out} if held_out else {}
    if others:
        few = [others[i] for i in np.linspace(0, len(others) - 1, MOST_DEMOS).astype(int)]
        sets["elsewhere"] = DemoDataset(demos, few, clip=clip)
    return sets


def main() -> None:
    """Generate clips of every variant and write numbers and pictures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = sys.argv[1:]
    result = {**provenance("benchmarks/video_quality.py", arguments), "rows": []}
    for recipe, sigma_min in VARIANTS:
        words = ["backbone=svd_tiny", f"recipe={recipe}", *arguments]
        cfg = stage_configs(load_config(TrainConfig, words))[0]
        trained = train(cfg)
        result["threads"] = set_threads(cfg.workers)
        backbone = load_video_backbone(trained.folder)
        backbone.sigma_min = sigma_min or cfg.backbone.sigma_min
        row = {"steps": trained.steps, "sigma_min": backbone.sigma_min, "sets": {}}
        for name, dataset in clip_sets(cfg, (backbone.frames, backbone.frame_stride)).items():
            start = time.perf_counter()
            true, generated = generate_clips(backbone, dataset, first_samples(dataset, TIMES))
            row["sets"][name] = {
                "demos": len(dataset.metas),
                "seconds": round(time.perf_counter() - start, 1),
                "frames": quality(true, generated),
            }
            picture = f"video_{cfg.split.name}_{name}_{trained.steps}_{backbone.sigma_min}.png"
            write_picture(
                f"{cfg.outputs_dir}/figures/{picture}", contact_sheet(true[:6], generated[:6])
            )
        logging.info("%s", row)
        result["rows"].append(row)
        atomic_write_json(f"{cfg.results_dir}/benchmarks/video_quality.json", result)


if __name__ == "__main__":
    plainly(main)
