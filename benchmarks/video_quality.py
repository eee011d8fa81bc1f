"""Quality of generated clips: `python benchmarks/video_quality.py split=lr [model=para_two_stage]`.

Clips start from demos of the split's data set that did not train the video model: its held-out
demos ("held_out") and those of other positions ("elsewhere"). Writes
results/benchmarks/video_quality.json and pictures of true frames above generated ones.
"""

import logging
import sys
import time

import numpy as np

from envs.splits import training_indices
from para.cli import load_config
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
from para.system import provenance, set_threads
from para.training.checkpoint import run_dir
from para.training.pictures import save_picture
from para.training.trainer import open_datasets

TIMES = (0.0, 0.3, 0.6)
MOST_DEMOS = 16


def main() -> None:
    """Generate clips for both kinds of demos and write numbers and pictures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config("train", ["backbone=svd_tiny", "model=video", *sys.argv[1:]])
    folder = run_dir(cfg)
    backbone = load_video_backbone(folder)
    threads = set_threads(cfg.workers)
    clip = (backbone.frames, backbone.frame_stride)
    _, held_out = open_datasets(cfg)
    demos, metas = ensure_dataset(cfg, cfg.split.dataset, cfg.limit)
    trained = set(training_indices(cfg.split, cfg.layout))
    others = [meta.index for meta in metas if meta.success and meta.index not in trained]
    few = [others[i] for i in np.linspace(0, len(others) - 1, MOST_DEMOS).astype(int)] * bool(
        others
    )
    sets = {
        "held_out": held_out,
        "elsewhere": DemoDataset(demos, few, clip=clip) if few else None,
    }
    result = {
        **provenance("benchmarks/video_quality.py", sys.argv[1:]),
        "threads": threads,
        "run": "/".join(folder.parts[-4:]),
        "sets": {},
    }
    for name, dataset in sets.items():
        if dataset is None:
            continue
        start = time.perf_counter()
        true, generated = generate_clips(backbone, dataset, first_samples(dataset, TIMES))
        result["sets"][name] = {
            "demos": len(dataset.metas),
            "seconds": round(time.perf_counter() - start, 1),
            "frames": quality(true, generated),
        }
        logging.info("%s: %s", name, result["sets"][name])
        picture = contact_sheet(true[:6], generated[:6])
        save_picture(f"{cfg.outputs_dir}/figures/video_{cfg.split.name}_{name}.png", picture)
    atomic_write_json(f"{cfg.results_dir}/benchmarks/video_quality.json", result)


if __name__ == "__main__":
    main()
