"""Train a policy: `python scripts/train.py model=para`."""

from para.cli import command, para_main
from para.config import TrainConfig


@para_main(
    "train",
    TrainConfig,
    examples=[
        "model=para",
        "model=act split=nf seed=1 budget_minutes=10",
        "profile=paper backbone=dinov2_vits14 training.batch_size=16 wandb=offline",
    ],
)
def main(cfg: TrainConfig) -> None:
    """Train a policy on the demos of a split, generating them first where they are missing.

    A killed or interrupted run goes on with the same command; a finished one is not repeated.
    """
    from para.training.trainer import train

    print(train(cfg).report())
    print(f"Evaluate it:\n  {command('eval', cfg)}")


if __name__ == "__main__":
    main()
