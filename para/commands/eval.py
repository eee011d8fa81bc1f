"""Evaluate trained policies: `python scripts/eval.py`, `para-eval`."""

from para.cli import para_main
from para.evaluation.config import EvalConfig


@para_main(
    EvalConfig,
    examples=[
        "policy=para_lr episodes=8",
        "model=para",
        "split=vp_default_to_all video=4",
        "policy=para_lr sweep=calibration",
        "split=own data=data/own/monday",
        "split=lr model=regression robot=hand tests=[ood] episodes=20 video=0",
    ],
)
def main(cfg: EvalConfig) -> None:
    """Evaluate every trained policy of a split, or the one named, on identical starts.

    policy= takes the folder of any policy, or the name of one that comes with the code.

    Writes <results_dir>/<setting>/<profile>/<starts>/<split>/<model>-<backbone>-<augment>/
    seed<k>.json. A killed evaluation goes on with the same command. With split=own data=FOLDER
    nothing is simulated: plans are compared with held-out demos, and filmed.
    """
    from rich.console import Console

    if not cfg.split.simulated:
        from para.figures.held_out import show_held_out

        show_held_out(Console(), cfg)
        return
    from para.evaluation.report import log_to_wandb, print_page
    from para.evaluation.runner import evaluate
    from para.figures.recorder import VideoRecorder
    from para.figures.success_map import map_of_evaluation
    from para.figures.sweep_curves import curves_of_sweep

    done = evaluate(cfg, VideoRecorder)
    draw = curves_of_sweep if cfg.sweep else map_of_evaluation
    print_page(Console(), cfg, done, draw(cfg, done.results))
    log_to_wandb(cfg, done.results)


if __name__ == "__main__":
    main()
