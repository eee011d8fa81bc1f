"""Keys that every script understands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from omegaconf import MISSING

from envs.base import EnvConfig
from para.fields import LOCAL, choice, marked, number


@dataclass
class CommonConfig:
    """Keys that every script understands; each script's own dataclass adds its own."""

    script: ClassVar[str] = "doctor"
    """Name of scripts/<script>.py and configs/<script>.yaml."""

    seed: int = 0
    """Of everything random in training; starts of an evaluation do not depend on it."""
    robot: str = choice("panda", ("panda", "hand"))
    """panda | hand."""
    layout: str = choice("together", ("together", "independent"))
    """together | independent: do the task's objects move together?"""
    profile: str = MISSING
    """Name of the profile; chosen with profile=..."""
    env: EnvConfig = field(default_factory=EnvConfig)
    plugins: list[str] = marked(LOCAL, list)
    """Packages whose components are added: plugins=[my_package]."""
    data_dir: str = marked(LOCAL, "data")
    runs_dir: str = marked(LOCAL, "runs")
    results_dir: str = marked(LOCAL, "results")
    outputs_dir: str = marked(LOCAL, "outputs")
    """Pictures and videos."""
    workers: int | None = number(None, least=1, mark=LOCAL)
    """Parallel processes, or threads in training; null: the cores that are available (and free)."""
