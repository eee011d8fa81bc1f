"""Keys that every script understands."""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from envs.base import EnvConfig, layout_names, robot_names
from para.fields import LOCAL, choice, marked, number, require


@dataclass
class CommonConfig:
    """Keys that every script understands; each script's own dataclass adds its own."""

    script: ClassVar[str] = "doctor"
    """Name of scripts/<script>.py and configs/<script>.yaml."""
    components: ClassVar[tuple[str, ...]] = ("task",)
    """Keys that hold registered components, each with a schema of its own."""

    seed: int = 0
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
    data_dir: str = marked(LOCAL, "data")
    runs_dir: str = marked(LOCAL, "runs")
    results_dir: str = marked(LOCAL, "results")
    outputs_dir: str = marked(LOCAL, "outputs")
    """Pictures and videos."""
    workers: int | None = number(None, least=1, mark=LOCAL)
    """Parallel processes, or threads in training; null: the cores that are available (and free)."""

    def rules(self, key: str, run: Any) -> None:
        """Every component has a schema."""
        for name in self.components:
            require(
                is_dataclass(getattr(self, name)),
                f"{name}: its YAML file names no schema. Begin it with: defaults: [KIND_schema, "
                "_self_].",
            )
