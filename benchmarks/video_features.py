"""Why frozen video features serve as they do: `python benchmarks/video_features.py [split=lr]`.

Trains heads on a frozen video model, changing one thing at a time: at which noise level and in
which blocks features are read, how long the video model learned, how long the heads learn.
Evaluates each on both tests of the split. Trainings and evaluations are kept in runs/ and outputs/:
a killed call goes on with the same command. Writes <results_dir>/benchmarks/video_features.json.
"""

import logging
import sys
from dataclasses import replace

from para.cli import load_config, plainly
from para.evaluation.config import EvalConfig
from para.evaluation.results import Result, success_rate
from para.evaluation.runner import evaluate
from para.files import atomic_write_json
from para.runs.config import TrainConfig
from para.system import provenance
from para.training.loop import train

VIDEO_STAGES = {"video_short": 100, "video": 600}
"""Steps of first stages: the names are those of recipes, so that their runs are used."""
VARIANTS = {
    "frozen": ("as recipe=frozen", "video", []),
    "sigma1": ("noise level 1 instead of 30", "video", ["backbone.sigma=1"]),
    "sigma5": ("noise level 5", "video", ["backbone.sigma=5"]),
    "sigma200": ("noise level 200", "video", ["backbone.sigma=200"]),
    "coarse": ("up block 1 only", "video", ["backbone.blocks=[1]"]),
    "fine": ("up block 2 only", "video", ["backbone.blocks=[2]"]),
    "heads800": ("heads learn for 800 steps", "video", ["recipe.stages.heads.steps=800"]),
    "video100": ("video learned for 100 steps", "video_short", []),
}
"""Name -> what it changes, name of its video stage, overrides."""


def configuration(name: str, arguments: list[str]) -> TrainConfig:
    """How the policy para_<name>_frozen is trained."""
    _, video, overrides = VARIANTS[name]
    words = ["backbone=svd_tiny", "recipe=frozen", f"model.name=para_{name}"]
    cfg = load_config(TrainConfig, [*words, *overrides, *arguments])
    stages = dict(cfg.recipe.stages)
    first = replace(stages.pop("video"), steps=VIDEO_STAGES[video])
    return replace(cfg, recipe=replace(cfg.recipe, stages={video: first, **stages}))


def numbers(result: Result) -> dict[str, object]:
    """Success on each test, with its interval."""
    rates = {test: success_rate(result, test) for test in ("sanity", "ood")}
    return {
        test: {"successes": rate.successes, "n": rate.n, "wilson95": list(rate.interval)}
        for test, rate in rates.items()
    }


def main() -> None:
    """Train and evaluate all variants."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = sys.argv[1:]
    result = {
        **provenance("benchmarks/video_features.py", arguments),
        "inference": "bf16",
        "rows": [],
    }
    for name, (title, video, _) in VARIANTS.items():
        cfg = configuration(name, arguments)
        trained = train(cfg)
        policy = f"para_{name}_frozen"
        words = [f"model={policy}", "backbone=svd_tiny", "precision=bf16", "video=0"]
        words += [f"split={cfg.split.name}", f"seed={cfg.seed}", f"runs_dir={cfg.runs_dir}"]
        words += [f"outputs_dir={cfg.outputs_dir}", f"data_dir={cfg.data_dir}"]
        words += [f"results_dir={cfg.outputs_dir}/video_features"]
        evaluation = replace(load_config(EvalConfig, words), workers=cfg.workers)
        evaluated = evaluate(evaluation).results[f"{policy}-svd_tiny"]
        row = {
            "name": name,
            "change": title,
            "video_steps": VIDEO_STAGES[video],
            "heads_steps": trained.steps,
            "val_error_mm": trained.validation["val_error_mm"],
            **numbers(evaluated),
        }
        logging.info("%s", row)
        result["rows"].append(row)
        atomic_write_json(f"{cfg.results_dir}/benchmarks/video_features.json", result)


if __name__ == "__main__":
    plainly(main)
