"""Every key of scripts/eval.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from omegaconf import MISSING

from envs.base import TASKS, load_task
from envs.splits import STARTS, TESTS
from para.common import CommonConfig
from para.compose import given
from para.fields import choice, folder, number, require, word
from para.search_path import load_plugins
from para.types import Inference


@dataclass
class EvalConfig(CommonConfig):
    """scripts/eval.py"""

    script: ClassVar[str] = "eval"
    packages: ClassVar[tuple[str, ...]] = ("para.executors", "envs.perturbations")

    split: Any = MISSING
    data: str | None = folder(None)
    """Folder of imported demos, for split=own: policies are compared with what they show."""
    model: str | None = word(None)
    """Model to evaluate; null: every trained model of the split. Also colour, replay, mean: floors
    that learn nothing; and expert, the ceiling (baselines/floors.py)."""
    policy: str | None = None
    """Folder of a policy, wherever it lies, or name of one that comes with the code; null: all of
    runs_dir. Task, robot, layout, profile, seed, camera and split are its own unless given."""
    backbone: str | None = word(None)
    """Backbone to evaluate; null: every trained one."""
    augment: str | None = word(None)
    """Augmentation that the policies follow; null: every one that was trained with."""
    starts: str = choice(STARTS[0], STARTS)
    """dev | final: decide on dev, publish on final (docs/protocol.md)."""
    sweep: Any = None
    """What goes wrong (configs/sweep), level by level on the same starts; null: nothing."""
    tests: list[str] = choice(list(TESTS), TESTS)
    episodes: int | None = number(None, least=1, most=100_000)
    """Episodes per test; null: as many as the split says."""
    batch: int = number(8, least=1, most=4096)
    """Episodes that one process runs in lock step, so that inference is batched."""
    execute: int = number(4, least=1, most=1000)
    """Waypoints executed before planning again."""
    subcell: bool = True
    """Refine the argmax by a local soft-argmax, for pixels and for heights."""
    ensemble: bool = False
    """Average each plan with what earlier ones predicted for the same waypoints (temporal
    ensembling, Zhao et al., 2023); they overlap where `execute` is below the model's horizon."""
    align_view: bool = False
    """Show policies each view turned, shifted and zoomed towards the usual one, camera and all
    (`para.evaluation.aligned`). Their results go to <results_dir>/aligned."""
    tta: int = number(1, least=1, most=256)
    """Test-time augmentation: looks at each image, shifted, turned and zoomed, that a plan is the
    median of (`para.policies.tta`); 1: the image as it is. Policies that were not trained on images
    that move with the camera get 1."""
    precision: str = choice("fp32", ("fp32", "bf16"))
    """Of inference: fp32 | bf16 (autocast; twice as fast for video backbones on a CPU)."""
    video: int = number(1, least=0, most=100_000)
    """Rollout videos to save per model and test."""
    fresh: bool = False
    """Forget episodes that were evaluated before."""
    executor: Any = None
    """Where chunks of episodes run, `workers` at a time (configs/executor)."""
    wandb: str = choice("off", ("off", "offline", "online"))
    """off | offline | online."""

    @classmethod
    def completed(cls, overrides: list[str], plugins: Sequence[str] = ()) -> list[str]:
        """With what the chosen policy was trained in, where the command line does not say it."""
        said = given(overrides)
        if said.get("sweep") is not None:
            usual = {"tests": "[ood]", "video": "0"}
            overrides = [*(f"{k}={v}" for k, v in usual.items() if k not in said), *overrides]
        if said.get("policy") is None:
            return overrides
        from para.evaluation.chosen import trained_in  # not before: torch comes with it

        load_plugins(plugins)
        own = trained_in(str(said["policy"]))
        task = said.get("task", own["task"])
        if task in TASKS.options() and own["layout"] not in load_task(task).layouts:
            del own["layout"]  # what is wrong is the task, and that is said
        return [*(f"{key}={value}" for key, value in own.items() if key not in said), *overrides]

    @property
    def inference(self) -> Inference:
        """How the policies are run."""
        return Inference(**{field.name: getattr(self, field.name) for field in fields(Inference)})

    def rules(self, key: str, run: Any) -> None:
        """Something is tested, once."""
        require(
            self.sweep is None or self.video == 0,
            f"video={self.video} films ordinary evaluations: use video=0 with sweep=.",
        )
        require(
            self.sweep is None or self.split.simulated,
            f"sweep= disturbs simulated episodes, and split={self.split.name} has none.",
        )
        require(
            not self.align_view or self.split.simulated,
            f"align_view=true turns simulated views, and split={self.split.name} has none.",
        )
        require(bool(self.tests), "tests=[] leaves nothing to evaluate; use [ood,sanity].")
        require(
            len(set(self.tests)) == len(self.tests),
            f"tests={self.tests} names a test twice; use [ood,sanity].",
        )
