"""Keys that every script understands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from omegaconf import MISSING

from envs.base import EnvConfig, layout_names, robot_names
from para.fields import LOCAL, choice, folder, marked, number


@dataclass
class CommonConfig:
    """Keys that every script understands; each script's own dataclass adds its own."""

    script: ClassVar[str] = "doctor"
    """Name of para/commands/<script>.py, scripts/<script>.py and configs/<script>.yaml."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Modules to import before the schema of a component is looked up, and not sooner."""

    seed: int = number(0, least=0, most=2**32 - 1)
    """Of everything random in training; starts of an evaluation do not depend on it."""
    task: Any = MISSING
    robot: str = choice("panda", robot_names)
    """panda | hand."""
    layout: str = choice("together", layout_names)
    """together | independent: do the task's objects move together?"""
    profile: str = MISSING
    """Name of the profile; chosen with profile=..."""
    env: EnvConfig = field(default_factory=EnvConfig)
    plugins: list[str] = marked(LOCAL, list)
    """Packages whose components are added: plugins=[my_package]."""
    data_dir: str = folder("data", mark=LOCAL)
    runs_dir: str = folder("runs", mark=LOCAL)
    results_dir: str = folder("outputs/results", mark=LOCAL)
    """What is measured here: evaluations and benchmarks write to it."""
    reference_dir: str = folder("results", mark=LOCAL)
    """The committed campaign: read and shown beside, never written and never mixed in. Only
    results_dir=results makes it anew."""
    outputs_dir: str = folder("outputs", mark=LOCAL)
    """Pictures and videos."""
    workers: int | None = number(None, least=1, most=1024, mark=LOCAL)
    """Parallel processes, or threads in training; null: the cores that are available (and free)."""
