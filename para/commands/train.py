"""Train a policy: `python scripts/train.py`, `para-train`."""

from para.cli import para_main, say
from para.runs.config import TrainConfig


@para_main(
    TrainConfig,
    examples=[
        "model=para",
        "model=regression split=nf seed=1 budget_minutes=10",
        "backbone=svd_tiny recipe=two_stage recipe.stages.video.steps=2000",
        "profile=paper backbone=dinov2_vits14 training.batch_size=16 wandb=offline",
    ],
)
def main(cfg: TrainConfig) -> None:
    """Train a policy on the demos of a split, generating them first where they are missing.

    A killed or interrupted run goes on with the same command; a finished one is not repeated.
    """
    from para.runs.commands import command
    from para.training.loop import train
    from para.training.stages import stage_configs

    say(train(cfg).report())
    if cfg.model.acts:
        say(f"Evaluate it:\n  {command('eval', stage_configs(cfg)[-1])}")


if __name__ == "__main__":
    main()
