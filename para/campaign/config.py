"""Every key of scripts/reproduce.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from envs.splits import STARTS
from para.common import CommonConfig
from para.executors import ExecutorConfig
from para.fields import SEEDS, choice, number, require


@dataclass
class ReproduceConfig(CommonConfig):
    """scripts/reproduce.py"""

    script: ClassVar[str] = "reproduce"

    splits: list[str] = MISSING
    """What to test on; campaign=... sets it (configs/campaign)."""
    models: list[str] = MISSING
    """Policies by their names in results: para, act, para_two_stage-svd_tiny."""
    seeds: list[int] = number([0], least=0, most=SEEDS)
    starts: str = choice("final", STARTS)
    """dev | final: decide on dev, publish on final (docs/protocol.md)."""
    precision: str = choice("fp32", ("fp32", "bf16"))
    """Of inference in evaluations: fp32 | bf16."""
    episodes: int | None = number(None, least=1, most=100_000)
    """Episodes per test; null: as many as each split says."""
    executor: ExecutorConfig = MISSING
    """Where the jobs run, `workers` at a time (configs/executor)."""
    website: bool = True
    """Build the website at the end."""

    def rules(self, key: str, run: Any) -> None:
        """An empty campaign is a mistake."""
        for name in ("splits", "models", "seeds"):
            require(bool(getattr(self, name)), f"{name}=[] leaves nothing to do.")
