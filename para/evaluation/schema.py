"""What a result file holds, and the check of it.

Schema 2: fields are added, never renamed or removed; schema 1 is read through `convert`. `steps`
of an episode are control steps of 20 ms; lengths are metres, angles degrees (yaw: radians), times
seconds (training: minutes). `seconds` is wall time and, like created, hardware and minutes, the
only thing that differs between two runs of the same evaluation. `checksum` is that of the content
(`para.files.seal`); files of before there were checksums have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from para.records import Amount, Count, Hardware, Record, Text

Length = Annotated[float, Field(ge=-1000, le=1000)]
Angle = Annotated[float, Field(ge=-360, le=360)]
Xy = Annotated[list[Length], Field(min_length=2, max_length=2)]
Triple = Annotated[list[Length], Field(min_length=3, max_length=3)]


class StartRecord(Record):
    """The condition that an episode began with: `envs.base.Condition`, and its position."""

    task: Text
    objects: dict[str, Triple]
    """Name -> x, y [m], yaw [rad]."""
    position: Xy
    """Mean of the objects' x and y."""
    theta_deg: Annotated[float, Field(ge=0, le=180)]
    phi_deg: Angle
    distractors: Count
    seed: Count
    perturbed: dict[str, float] | None = None
    """What goes wrong, and by how much: envs/perturbations.py."""
    appearance: Literal["fixed", "varied", "unseen"] = "fixed"
    look: Count = 0
    """Decides colours, textures, shapes and light, where the appearance is not fixed."""
    origin: Text | None = None
    """Where the rest of the scene comes from: of LIBERO, <suite>/<initial state>."""

    @model_validator(mode="after")
    def _is_consistent(self) -> StartRecord:
        """The position is that of the objects, where they are told."""
        for axis, name in enumerate("xy") if self.objects else ():
            mean = sum(pose[axis] for pose in self.objects.values()) / len(self.objects)
            if abs(mean - self.position[axis]) > 1e-4:
                raise ValueError(f"position has {name} = {self.position[axis]}, objects {mean:.4f}")
        return self


class EpisodeRecord(Record):
    """One episode."""

    index: Count
    """Within its test: 0, 1, 2, ..."""
    seed: Count
    test: Literal["ood", "sanity"]
    condition: StartRecord
    stage: Text
    success: bool
    """It ended in the last stage."""
    steps: Count
    place_error_m: Amount
    seconds: Amount
    plans: Count | None = None
    misses: Count | None = None
    objects: dict[str, Triple] | None = None
    """Name -> x, y, z at the end."""


class EnvironmentRecord(Record):
    """What the episodes were made in."""

    task: Text
    robot: Text
    layout: Text
    appearance: Literal["fixed", "varied"] = "fixed"
    stages: list[Text] = Field(min_length=1)
    """In order, success last."""
    version: int = Field(1, ge=1)
    """Of the simulated world, `envs.base.Task.version`; 1 where a file has none."""
    sources: dict[str, str] | None = None
    """Files of others that starts are made of (`envs.base.Task.sources`): name -> SHA-256."""


class BackboneRecord(Record):
    """The policy's backbone."""

    name: Text
    init: Text
    """random | pretrained | file."""


class TrainingRecord(Record):
    """What the policy was given; one that other stages came before tells theirs in `start`."""

    steps: Count
    minutes: Amount
    demos: Count
    samples_per_s: Amount | None = None
    finished: bool | None = None
    git: str | None = None
    start: EarlierStage | None = None


class EarlierStage(Record):
    """The run that a stage of training began with."""

    run: Text
    training: TrainingRecord
    sha256: Text
    start: EarlierStage | None = None


class StageRecord(Record):
    """What the configuration of a stage says of those before it."""

    after_steps: Count | None = None


class KindRecord(Record):
    """The configuration of a component."""

    kind: Text | None = None


class TrainedWithRecord(Record):
    """The configuration of the training, as far as it is read."""

    stage: StageRecord | None = None
    backbone: KindRecord | None = None
    model: dict[str, Any] | None = None
    split: dict[str, Any] | None = None
    augment: dict[str, Any] | None = None


class EvaluatedWithRecord(Record):
    """The configuration of the evaluation, as far as it is read."""

    batch: int | None = Field(None, ge=1)
    execute: int | None = Field(None, ge=1)
    subcell: bool | None = None
    precision: Literal["fp32", "bf16"] | None = None
    env: dict[str, Any] | None = None


class ConfigRecord(Record):
    """Resolved configurations, as plain data."""

    evaluation: EvaluatedWithRecord = Field(default_factory=EvaluatedWithRecord)
    training: TrainedWithRecord = Field(default_factory=TrainedWithRecord)


class EarlierEvaluation(Record):
    """A result on final starts that stood here before: they should be looked at once."""

    created: Text
    git: Text
    key: Text


class EvaluationRecord(Record):
    """Of the evaluation as a whole."""

    key: Text
    """What the outcome depends on, as a hash."""
    seconds: Amount = 0.0
    earlier: list[EarlierEvaluation] = Field(default_factory=list)
    """Of the same policy's name on final starts: each of them is a look at what should decide."""


class ResultRecord(Record):
    """A whole result file."""

    split: Text
    starts: Literal["dev", "final"] = "dev"
    """Which draw of the tests; files of before there were two have the first."""
    model: Text
    seed: Count
    created: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d")
    git: Text
    environment: EnvironmentRecord
    profile: Text
    backbone: BackboneRecord
    augment: Text | None = None
    """What the policy followed of its augmentation; where it is missing, `config.training` says."""
    training: TrainingRecord
    hardware: Hardware
    config: ConfigRecord
    evaluation: EvaluationRecord = Field(None)
    versions: dict[str, str] | None = None
    episodes: list[EpisodeRecord] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> ResultRecord:
        """Outcomes are those of the task's stages, and the episodes of a test are all there."""
        known: dict[str, set[int]] = {}
        for number, episode in enumerate(self.episodes):
            check_outcome(episode, self.environment.stages, f"episodes.{number}: ")
            of_test = known.setdefault(episode.test, set())
            if episode.index in of_test:
                raise ValueError(f"episode {episode.index} of {episode.test} is there twice")
            of_test.add(episode.index)
        for test, indices in known.items():
            if missing := set(range(max(indices))) - indices:
                raise ValueError(f"episode {min(missing)} of {test} is missing")
        return self


def check_outcome(episode: EpisodeRecord, stages: Sequence[str], where: str = "") -> None:
    """Raise ValueError unless an episode ended in one of `stages`, and `success` says which."""
    if episode.stage not in stages:
        raise ValueError(f"{where}stage {episode.stage!r} is none of {', '.join(stages)}")
    if episode.success != (episode.stage == stages[-1]):
        raise ValueError(f"{where}success is {episode.success} in stage {episode.stage}")
