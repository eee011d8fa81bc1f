"""Every key of scripts/reproduce.py, and what a campaign (configs/figure, configs/table) is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from omegaconf import MISSING

from envs.base import layout_names
from envs.episodes import APPEARANCES
from envs.splits import STARTS
from para.common import CommonConfig
from para.fields import SEEDS, choice, number, require, word


@dataclass
class PartConfig:
    """A part of a campaign: every policy on every split, with every seed."""

    splits: list[str] = MISSING
    models: list[str] = MISSING
    """Policies by their names in results: para, act, para_two_stage-svd_tiny."""
    augments: list[str] | None = word(None)
    """Augmentations that are asked for (configs/augment); null: the usual one. What a policy cannot
    follow of one is left out, as in training."""
    tasks: list[str] | None = None
    """null: the one that the script is told."""
    layouts: list[str] | None = choice(None, layout_names)
    """null: the one that the script is told; another task's usual one."""
    appearance: str | None = choice(None, APPEARANCES)
    """null: the one that the script is told."""
    sweeps: list[str] | None = word(None)
    """What goes wrong (configs/sweep): each is an evaluation of its own; null: nothing does."""
    seeds: list[int] = number([0], least=0, most=SEEDS)
    precision: str | None = choice(None, ("fp32", "bf16"))
    """null: what the script is told."""
    episodes: int | None = number(None, least=1, most=100_000)
    """null: what the script is told."""


@dataclass
class CampaignConfig:
    """All that one figure or table needs."""

    parts: list[PartConfig] = MISSING


@dataclass
class ReproduceConfig(CommonConfig):
    """scripts/reproduce.py"""

    script: ClassVar[str] = "reproduce"
    packages: ClassVar[tuple[str, ...]] = ("para.executors",)

    campaigns: dict[str, CampaignConfig] = field(default_factory=dict)
    """What is made, by name; figure=... and table=... set it. Nothing named: all of them."""
    splits: list[str] | None = None
    """Only these splits; where neither figure nor table is named, a campaign of its own."""
    models: list[str] | None = None
    """Only these policies, by their names in results: para, act, para_two_stage-svd_tiny."""
    seeds: list[int] | None = number(None, least=0, most=SEEDS)
    """Only these training seeds."""
    starts: str = choice("final", STARTS)
    """dev | final: decide on dev, publish on final (docs/protocol.md)."""
    precision: str = choice("fp32", ("fp32", "bf16"))
    """Of inference in evaluations: fp32 | bf16."""
    episodes: int | None = number(None, least=1, most=100_000)
    """Episodes per test; null: as many as each split says."""
    executor: Any = MISSING
    """Where the jobs run, `workers` at a time (configs/executor)."""
    website: bool = True
    """Build the website at the end."""
    dry_run: bool = False
    """Only say what would be done, and how many core-hours that is."""

    def rules(self, key: str, run: Any) -> None:
        """An empty campaign is a mistake."""
        for name in ("splits", "models", "seeds"):
            require(getattr(self, name) != [], f"{name}=[] leaves nothing to do.")
