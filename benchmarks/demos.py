"""Demos per minute: `python benchmarks/demos.py [task=stack_blocks] [robot=hand] [limit=32]`.

Takes the keys of scripts/generate_demos.py, writes
<results_dir>/benchmarks/demos_<task>-<robot>.json.
Generates into a temporary folder, as scripts/generate_demos.py does; the start of the worker
processes is part of the time, so a larger `limit` is closer to a full set.
"""

import logging
import sys
import tempfile

from para.cli import load_config, plainly
from para.data.format import episode_path
from para.data.generate import GenerateConfig, generate
from para.files import atomic_write_json
from para.system import available_cores, provenance


def main() -> None:
    """Generate, measure, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(GenerateConfig, sys.argv[1:])
    cfg.limit, cfg.preview = cfg.limit or 32, False
    with tempfile.TemporaryDirectory() as folder:
        cfg.data_dir = folder
        summary = generate(cfg)
        size = sum(episode_path(summary.folder, m.index).stat().st_size for m in summary.metas)
    frames = sum(meta.num_samples for meta in summary.metas)
    result = {
        **provenance(
            "benchmarks/demos.py",
            [f"task={cfg.task.name}", f"robot={cfg.robot}", f"limit={cfg.limit}"],
        ),
        "dataset": cfg.dataset,
        "task": cfg.task.name,
        "robot": cfg.robot,
        "layout": cfg.layout,
        "image_size": cfg.env.image_size,
        "workers": cfg.workers or available_cores(),
        "n": summary.made,
        "successes": sum(meta.success for meta in summary.metas),
        "seconds": round(summary.seconds, 2),
        "demos_per_minute": round(60 * summary.made / summary.seconds, 1),
        "frames": frames,
        "kilobytes_per_demo": round(size / summary.made / 1e3, 1),
        "kilobytes_per_frame": round(size / frames / 1e3, 2),
    }
    path = f"{cfg.results_dir}/benchmarks/demos_{cfg.task.name}-{cfg.robot}.json"
    atomic_write_json(path, result)
    print(f"{result['demos_per_minute']} demos per minute (n = {summary.made}); {path}")


if __name__ == "__main__":
    plainly(main)
