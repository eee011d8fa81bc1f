"""Evaluate trained policies: `python scripts/eval.py`, `para-eval`."""

from pathlib import Path

from para.cli import para_main
from para.evaluation.config import EvalConfig


@para_main(
    EvalConfig,
    examples=[
        "model=para",
        "split=vp_default_to_all video=4",
        "split=lr model=regression robot=hand tests=[ood] episodes=20 video=0",
    ],
)
def main(cfg: EvalConfig) -> None:
    """Evaluate every trained policy of a split, or the one named, on identical starts.

    Writes results/<setting>/<profile>/<split>/<model>-<backbone>/seed<k>.json. A killed evaluation
    goes on with the same command.
    """
    from rich.console import Console

    from para.evaluation.report import comparisons, log_to_wandb, rate_table, theta_table
    from para.evaluation.runner import evaluate
    from para.figures.recorder import VideoRecorder
    from para.figures.success_map import success_map
    from para.runs.folders import setting_of

    done = evaluate(cfg, VideoRecorder)
    console = Console()
    console.print(rate_table(done.results, cfg.split))
    if table := theta_table(done.results, cfg.split):
        console.print(table)
    for line in comparisons(done.results, done.paths):
        console.print(line, highlight=False)
    log_to_wandb(cfg, done.results)

    figures = []
    test = "ood" if "ood" in cfg.tests else "sanity"
    place = Path(cfg.outputs_dir) / "figures" / setting_of(cfg).name / cfg.profile
    stem = place / f"{cfg.split.name}_success_map"
    if all(any(e["test"] == test for e in r["episodes"]) for r in done.results.values()):
        figures = success_map(done.results, cfg.split, stem, test)
    for kind, paths in (
        ("result", done.paths.values()),
        ("video", done.videos),
        ("figure", figures),
    ):
        for path in paths:
            console.print(f"{kind:<7} {path}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
