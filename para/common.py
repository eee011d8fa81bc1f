"""Keys that every script understands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import MISSING, DictConfig, OmegaConf

from envs.base import TASKS, EnvConfig, Task, layout_names, robot_names
from envs.episodes import APPEARANCES, FIXED
from envs.multi_task import LAYOUT
from envs.splits import SPLITS
from para.fields import LOCAL, SEEDS, choice, folder, marked, number
from para.places import shipped


def _task_of(cfg: DictConfig) -> type[Task]:
    # without schemas, as --help composes, a task has no kind yet
    return TASKS[cfg.task.get("kind") or TASKS.load(cfg.task.name).kind]


def _is_of_every_task(cfg: DictConfig) -> bool:
    split = cfg.get("split")
    if not isinstance(split, DictConfig):
        return False
    kind = split.get("kind") or SPLITS.load(split.name).kind
    return bool(SPLITS.config(kind).every_task)


def _usual_layout(*, _root_: DictConfig) -> str:
    return LAYOUT if _is_of_every_task(_root_) else _task_of(_root_).layouts[0]


def _usual_dataset(*, _root_: DictConfig) -> str:
    return _task_of(_root_).datasets[0]


def _if_turns(yes: Any, no: Any, *, _root_: DictConfig) -> Any:
    return yes if _is_of_every_task(_root_) or _task_of(_root_).turns else no


def _if_varied(yes: Any, no: Any, *, _root_: DictConfig) -> Any:
    return no if _root_.get("appearance", FIXED) == FIXED else yes


def _if_recoloured(yes: Any, no: Any, *, _root_: DictConfig) -> Any:
    named = getattr(_task_of(_root_), "named_by_colour", False)
    return no if named or _is_of_every_task(_root_) else _if_varied(yes, no, _root_=_root_)


def _of_task(table: DictConfig, *, _root_: DictConfig) -> Any:
    task = _task_of(_root_)
    kinds = {
        "every_task": _is_of_every_task(_root_),
        "turns": task.turns,
        "varied": _if_varied(True, False, _root_=_root_),
        "told": bool(task.namings),
    }
    return next((table[kind] for kind, is_one in kinds.items() if is_one), table["others"])


def _of_model(table: DictConfig, *, _root_: DictConfig) -> Any:
    # without schemas, as --help composes, a model has no kind yet
    kind = _root_.model.get("kind") or _root_.model.name
    return table[kind] if kind in table else table["others"]


# What YAML files say that depends on the chosen task or model: a task's usual layout and data set,
# a value for tasks that turn the hand (envs.base.Task.turns) with another for those that do not,
# one for varied looks with another for fixed ones (and the same where no object is named by its
# colour), and a value of a table: for all tasks at once, tasks that turn the hand, varied looks and
# tasks whose instruction names objects (the first that holds), or for kinds of models.
OmegaConf.register_new_resolver("usual_layout", _usual_layout, replace=True)
OmegaConf.register_new_resolver("usual_dataset", _usual_dataset, replace=True)
OmegaConf.register_new_resolver("if_turns", _if_turns, replace=True)
OmegaConf.register_new_resolver("if_varied", _if_varied, replace=True)
OmegaConf.register_new_resolver("if_recoloured", _if_recoloured, replace=True)
OmegaConf.register_new_resolver("of_task", _of_task, replace=True)
OmegaConf.register_new_resolver("of_model", _of_model, replace=True)


@dataclass
class CommonConfig:
    """Keys that every script understands; each script's own dataclass adds its own."""

    script: ClassVar[str] = "doctor"
    """Name of para/commands/<script>.py, scripts/<script>.py and configs/<script>.yaml."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Modules to import before the schema of a component is looked up, and not sooner."""

    seed: int = number(0, least=0, most=SEEDS)
    """Of everything random in training; starts of an evaluation do not depend on it."""
    task: Any = MISSING
    robot: str = choice("panda", robot_names)
    """panda | hand."""
    layout: str = choice("together", layout_names)
    """together | independent: do the task's objects move together?
    The YAML files of the scripts take the task's usual one."""
    appearance: str = choice(FIXED, APPEARANCES)
    """fixed | varied: do colours, textures, shapes and light differ between episodes?"""
    profile: str = MISSING
    """Name of the profile; chosen with profile=..."""
    env: EnvConfig = field(default_factory=EnvConfig)
    plugins: list[str] = marked(LOCAL, list)
    """Packages whose components are added: plugins=[my_package]."""
    data_dir: str = folder("data", mark=LOCAL)
    runs_dir: str = folder("runs", mark=LOCAL)
    results_dir: str = folder("outputs/results", mark=LOCAL)
    """What is measured here: evaluations and benchmarks write to it."""
    reference_dir: str | None = folder(None, mark=LOCAL)
    """The committed campaign; null: results/, which comes with the code. It is shown beside
    results_dir and mixed into nothing; only results_dir=results writes to it."""
    outputs_dir: str = folder("outputs", mark=LOCAL)
    """Pictures and videos."""
    workers: int | None = number(None, least=1, most=1024, mark=LOCAL)
    """Parallel processes, or threads in training; null: the cores that are available (and free)."""

    @classmethod
    def completed(cls, overrides: list[str], plugins: Sequence[str] = ()) -> list[str]:
        """Overrides of a command line, with those that follow from them: a file may say more.

        Args:
            overrides: Of the command line.
            plugins: Names of the plug-ins that it, or the first YAML file, asks for.
        """
        return overrides

    @property
    def reference(self) -> Path:
        """Folder of the committed campaign."""
        return Path(self.reference_dir) if self.reference_dir else shipped("results")

    @property
    def is_reference(self) -> bool:
        """Is the committed campaign itself made?"""
        return self.reference.resolve() == Path(self.results_dir).resolve()
