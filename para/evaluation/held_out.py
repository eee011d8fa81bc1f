"""Policies on imported demos (split=own): how far their waypoints are from what was shown.

No simulator can start such demos, so nothing succeeds or fails here: a waypoint's error is its
distance from the demo's [mm], and that of the two in the image [px]. It chooses nothing, and says
less than a rollout: a policy with small errors may still miss a grasp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import bootstrap

from para.camera import Camera
from para.data.dataset import DemoDataset
from para.data.observations import observations_of
from para.data.own import OwnSet, open_own
from para.doubles import double_array
from para.errors import CheckpointError, ConfigError
from para.evaluation.config import EvalConfig
from para.evaluation.trained import training_command, usable
from para.files import atomic_write_json
from para.policies.base import Policy
from para.pretrained import policy_folder
from para.runs.config import TrainConfig
from para.runs.folders import find_runs, run_id, trained_setting
from para.runs.labels import run_label
from para.runs.policy_file import load_policy, policy_config, read_policy_meta
from para.types import ActionChunk, Observation

BATCH = 32
"""Frames that are predicted together."""

Frame = tuple[Observation, ActionChunk, np.ndarray]
"""What a policy saw, what it planned, and the waypoints (T, 3) that the demo shows [m]."""


@dataclass(frozen=True)
class Errors:
    """Of all waypoints of all frames of some demos that lie within them.

    Attributes:
        label: Name of the policy.
        folder: Where it lies.
        demos: Indices of the demos.
        frames: How many.
        mm: Mean distance of waypoints [mm].
        interval_mm: 95 % of it: bootstrap over demos; None with one.
        median_mm: Median distance [mm].
        p95_mm: 95th percentile [mm].
        px: Mean distance in the policy's image [px].
        image_size: Side of that image [px].
        still_mm: Mean distance of the waypoints from the hand [mm]: the error of a policy that
            says "stay where you are".
        gripper: Part of the waypoints whose opening is on the right side of one half.
        missed: Waypoints without a place: their ray meets their height nowhere.
        by_waypoint_mm: Mean distance of the first, second, ... waypoint [mm].
        by_demo_mm: Mean distance in each demo [mm].
    """

    label: str
    folder: str
    demos: list[int]
    frames: int
    mm: float
    interval_mm: list[float] | None
    median_mm: float
    p95_mm: float
    px: float
    image_size: int
    still_mm: float
    gripper: float
    missed: int
    by_waypoint_mm: list[float]
    by_demo_mm: list[float]


@dataclass(frozen=True)
class HeldOut:
    """A policy, and the demos that it has never seen."""

    label: str
    folder: Path
    path: Path
    """Where its errors are written."""
    trained: TrainConfig
    policy: Policy
    demos: tuple[int, ...]
    data: Path

    def frames(self, demo: int, cfg: EvalConfig) -> Iterator[Frame]:
        """All frames of one demo, in order."""
        for batch, observations, chunks in self._predicted(self._dataset([demo]), cfg):
            yield from zip(observations, chunks, batch["waypoints"].numpy(), strict=True)

    def errors(self, cfg: EvalConfig) -> Errors:
        """Its errors on all its demos."""
        distances, pixels, still, gripper, missed, real = ([] for _ in range(6))
        dataset = self._dataset(self.demos)
        for batch, observations, chunks in self._predicted(dataset, cfg):
            truth = double_array(batch["waypoints"])
            planned = np.stack([chunk.positions for chunk in chunks])
            distances.append(np.linalg.norm(planned - truth, axis=-1))
            pixels.append(_apart(observations, planned, truth))
            here = double_array(batch["ee_position"])[:, None]
            still.append(np.linalg.norm(truth - here, axis=-1))
            opening = np.stack([chunk.gripper for chunk in chunks]) > 0.5
            gripper.append(opening == (batch["waypoint_gripper"].numpy() > 0.5))
            missed.append(np.stack([chunk.missed for chunk in chunks]))
            real.append(~batch["padded"].numpy())
        mm, px, away = (np.concatenate(part) for part in (distances, pixels, still))
        within, lost = np.concatenate(real), np.concatenate(missed)
        good = within & ~lost
        if not good.any():
            raise ConfigError(
                f"{self.folder}: none of its waypoints has a place within the demos: do they look "
                "and last as those that it was trained on?"
            )
        ends = np.cumsum([meta.num_samples for meta in dataset.metas])[:-1]
        parts = zip(np.split(mm, ends), np.split(good, ends), strict=True)
        by_demo = [1e3 * float(m[g].mean()) for m, g in parts if g.any()]
        waypoints = zip(mm.T, good.T, strict=True)
        return Errors(
            label=self.label,
            folder=str(self.folder),
            demos=list(self.demos),
            frames=len(mm),
            mm=1e3 * float(mm[good].mean()),
            interval_mm=_interval(by_demo),
            median_mm=1e3 * float(np.median(mm[good])),
            p95_mm=1e3 * float(np.quantile(mm[good], 0.95)),
            px=float(px[good].mean()),
            image_size=self.trained.env.image_size,
            still_mm=1e3 * float(away[within].mean()),
            gripper=float(np.concatenate(gripper)[within].mean()),
            missed=int((within & lost).sum()),
            by_waypoint_mm=[1e3 * float(m[g].mean()) for m, g in waypoints if g.any()],
            by_demo_mm=by_demo,
        )

    def _dataset(self, demos: Sequence[int]) -> DemoDataset:
        model, size = self.trained.model, self.trained.env.image_size
        shape = (model.horizon, model.waypoint_stride)
        return DemoDataset(self.data, demos, *shape, image_size=size)

    def _predicted(
        self, dataset: DemoDataset, cfg: EvalConfig
    ) -> Iterator[tuple[dict[str, torch.Tensor], list[Observation], list[ActionChunk]]]:
        inference = usable(cfg.inference, self.trained)
        for samples in np.split(np.arange(len(dataset)), range(BATCH, len(dataset), BATCH)):
            batch = dataset.batch(samples)
            observations = observations_of(batch, dataset.instructions(samples))
            yield batch, observations, self.policy.predict(observations, inference)


def held_out_policies(cfg: EvalConfig) -> list[HeldOut]:
    """The policies that were trained on `cfg.data`, or the one that `cfg.policy` names.

    A policy that was trained on these demos is tried on those that its training held out; any other
    (one of a simulator) on all of them.

    Raises:
        CheckpointError: There is none; names the training command.
        ConfigError: It was trained on other imported demos, or sees all of these in training.
        DataError: There are no demos.
    """
    own = open_own(str(cfg.data))
    if cfg.policy is not None:
        return [_held_out(cfg, own, policy_folder(cfg.policy))]
    folders = find_runs(
        *(cfg.runs_dir, trained_setting(cfg), cfg.profile, cfg.split.train_set),
        *(cfg.model, cfg.backbone, cfg.augment, cfg.seed),
    )
    if not folders:
        raise CheckpointError(
            f"No policy was trained on data={cfg.data} in {cfg.runs_dir} (profile {cfg.profile}, "
            f"seed {cfg.seed}). Train one first:\n  {training_command(cfg)} data={cfg.data}"
        )
    return [_held_out(cfg, own, folder) for folder in folders]


def write_errors(policy: HeldOut, errors: Errors) -> Path:
    """Write what was measured; returns the file."""
    atomic_write_json(policy.path, asdict(errors) | {"data": str(policy.data)})
    return policy.path


def _held_out(cfg: EvalConfig, own: OwnSet, folder: Path) -> HeldOut:
    trained = policy_config(folder, read_policy_meta(folder))
    if not trained.model.acts:
        raise ConfigError(f"{folder} only prepares other policies: there is nothing to evaluate.")
    demos = list(own.indices)
    if not trained.split.simulated:
        if trained.split.digest != own.digest:
            raise ConfigError(
                f"{folder} was trained on other demos than data={cfg.data} holds now, so nobody "
                "knows which of them it has seen. Train again with fresh=true, or give the data "
                "that it was trained on."
            )
        demos = own.divided(trained.training.validation_demos, trained.limit)[1]
    if not demos:
        raise ConfigError(
            f"{folder} was trained on all demos of data={cfg.data}: none is held out. Train with "
            "training.validation_demos=1 or more, on two demos at least."
        )
    identity = run_id(trained)
    place = Path(cfg.outputs_dir, "held_out", trained_setting(cfg).name, trained.profile)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return HeldOut(
        label=run_label(identity, trained.model.kind),
        folder=folder,
        path=(place / identity.leaf).with_suffix(".json"),
        trained=trained,
        policy=load_policy(folder)[0].to(device),
        demos=tuple(demos),
        data=own.folder,
    )


def _interval(means: Sequence[float]) -> list[float] | None:
    """95 % of their mean, by the percentile bootstrap; None of one."""
    if len(means) < 2:
        return None
    rng = np.random.default_rng(0)
    found = bootstrap((means,), np.mean, method="percentile", rng=rng).confidence_interval
    return [float(found.low), float(found.high)]


def _apart(
    observations: Sequence[Observation], planned: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """Distances (B, T) in the image of waypoints (B, T, 3) from the true ones [px]."""
    first = observations[0].camera
    cameras = Camera(
        np.stack([seen.camera.intrinsics for seen in observations]),
        np.stack([seen.camera.T_world_camera for seen in observations]),
        *(first.width, first.height),
    )
    pixels = [cameras.project(points)[0] for points in (planned, truth)]
    return np.linalg.norm(pixels[0] - pixels[1], axis=-1)
