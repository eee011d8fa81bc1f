"""Demonstrations as training batches.

A batch is a dict of tensors; B samples, T waypoints, world frame, metres, images H x W:

    image             (B, 3, H, W) float32   RGB in [0, 1]
    intrinsics        (B, 3, 3) float32      pixels
    T_world_camera    (B, 4, 4) float32      camera frame to world frame
    ee_position       (B, 3) float32         end effector now
    gripper           (B,) float32           measured opening now, 1 is open
    waypoints         (B, T, 3) float32      end effector k * stride frames ahead, k = 1 ... T
    waypoint_gripper  (B, T) float32         opening commanded at that frame
    waypoint_rotation (B, T, 3) float32      extrinsic xyz Euler angles of the hand relative to
                                             "pointing straight down" [rad]
    padded            (B, T) bool            the waypoint lies past the end of the demo: the last
                                             pose is repeated there
    clip              (B, F, 3, H, W) float32  RGB in [0, 1] of frames 0, s, ... (F - 1) s ahead,
                                             only where a data set is asked for clips; frame 0 is
                                             `image`, and the last frame is repeated past the end
    instruction       (B, N) float32         features of the instruction (para/text), only where a
                                             data set is told how to read instructions

A frame t and a step s determine everything: which samples are in batch s, and how they are
augmented, is a pure function of (seed, s), so a resumed run sees the batches that it would have
seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from envs.base import TASKS, Condition
from para.camera import Camera
from para.data.augment import augment
from para.data.config import AugmentConfig
from para.data.fitting import fitted_episode
from para.data.format import (
    Episode,
    EpisodeMeta,
    decode_image,
    episode_path,
    read_episode,
    regenerate_command,
)
from para.doubles import doubles_of
from para.errors import DataError
from para.policies.frames import FRAMES
from para.seeds import Purpose, generator, torch_seed
from para.text import Text

Batch = dict[str, Tensor]

HAND_DOWN = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
"""Orientation of a hand that points straight down; `waypoint_rotation` is relative to it."""


class DemoDataset:
    """All frames of some successful demos; every frame is a sample.

    Images are kept compressed in memory and decoded on first use; decoded frames are kept as long
    as they fit `cache_bytes`, the others are decoded each time (0.1 ms for 128 x 128).

    Args:
        folder: The data set.
        indices: Episodes to use. Those whose expert failed are left out (see `skipped`).
        horizon: T, waypoints per sample.
        stride: Frames between waypoints.
        clip: F and s of the clips in a batch; None for no clips.
        cache_bytes: Memory for decoded frames.
        text: How instructions are read; None: batches have none.
        more: Further data sets with episodes of them, of other tasks: batches take the same number
            of samples from each, to within one.
        image_size: Fit images of another size to this one, cameras and all; None: they have it.

    Raises:
        DataError: No demos are left, a file is damaged, or image sizes differ.
    """

    def __init__(
        self,
        folder: Path | str,
        indices: Iterable[int],
        horizon: int = 12,
        stride: int = 3,
        clip: tuple[int, int] | None = None,
        cache_bytes: float = 1.5e9,
        text: Text | None = None,
        more: Iterable[tuple[Path | str, Iterable[int]]] = (),
        image_size: int | None = None,
    ):
        cv2.setNumThreads(1)
        used: list[Episode] = []
        self.skipped: list[int] = []
        self._sizes: list[int] = []
        for place, wanted in ((folder, indices), *more):
            good, failed = _read(place, wanted)
            if image_size is not None:
                good = [fitted_episode(episode, image_size) for episode in good]
            used += good
            self.skipped += failed
            self._sizes.append(sum(episode.meta.num_samples for episode in good))
        self.metas = [episode.meta for episode in used]
        self.horizon, self.stride, self.clip = horizon, stride, clip
        lengths = np.array([meta.num_samples for meta in self.metas])
        ends = np.cumsum(lengths)
        self._last = np.repeat(ends - 1, lengths)
        self._demo = np.repeat(np.arange(len(used)), lengths)
        self._instructions = [_instruction(meta) for meta in self.metas]
        self._told = text.features(self._instructions) if text else None

        def stacked(name: str) -> np.ndarray:
            return np.concatenate([episode.arrays[name] for episode in used])

        ee_pose = stacked("obs/ee_pose")
        self._ee_position = ee_pose[:, :3].copy()
        rotation = Rotation.from_quat(ee_pose[:, 3:], scalar_first=True) * HAND_DOWN.inv()
        self._rotation = rotation.as_euler("xyz").astype(np.float32)
        self._gripper = stacked("obs/gripper")
        self._commanded_gripper = stacked("actions")[:, 3].copy()
        self._intrinsics = stacked("obs/intrinsics").astype(np.float32)
        self._T_world_camera = stacked("obs/T_world_camera").astype(np.float32)

        self._encoded = [frame for episode in used for frame in episode.frames]
        shapes = {decode_image(episode.frames[0]).shape for episode in used}
        if len(shapes) != 1:
            raise DataError(f"{folder} mixes image sizes: {sorted(shapes)}.")
        self.image_shape: tuple[int, int, int] = shapes.pop()
        cached = min(len(self), int(cache_bytes // np.prod(self.image_shape)))
        # Pages of an empty array take memory when they are first written, not now.
        self._decoded = np.empty((cached, *self.image_shape), np.uint8)
        self._is_decoded = np.zeros(cached, bool)

    def __len__(self) -> int:
        """Number of samples (frames)."""
        return len(self._last)

    def image(self, sample: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Safe to call from several threads."""
        if sample >= len(self._decoded):
            return decode_image(self._encoded[sample])
        if not self._is_decoded[sample]:
            self._decoded[sample] = decode_image(self._encoded[sample])
            self._is_decoded[sample] = True
        return self._decoded[sample]

    def camera_elevation_deg(self) -> float:
        """How high the cameras stand over the table, as seen from where the hand works [deg].

        The angle between the table's plane (z = 0) and the ray from the camera to the point of it
        that lies below the median position of the hand. Median over the frames of each demo, then
        over demos.
        """
        eyes = self._T_world_camera[:, :3, 3]
        middle = np.median(self._ee_position[:, :2], axis=0)
        away = np.linalg.norm(eyes[:, :2] - middle, axis=1)
        angles = np.degrees(np.arctan2(eyes[:, 2], away))
        return float(np.median([np.median(angles[self._demo == k]) for k in np.unique(self._demo)]))

    def batch(self, samples: np.ndarray) -> Batch:
        """The batch (see module docstring) of sample numbers (B,), not augmented."""
        future, padded = self._future(samples)
        arrays = {
            "intrinsics": self._intrinsics[samples],
            "T_world_camera": self._T_world_camera[samples],
            "ee_position": self._ee_position[samples],
            "gripper": self._gripper[samples],
            "waypoints": self._ee_position[future],
            "waypoint_gripper": self._commanded_gripper[future],
            "waypoint_rotation": self._rotation[future],
            "padded": padded,
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self._told is not None:
            tensors["instruction"] = self._told[self._demo[samples]]
        if self.clip is None:
            return {"image": self._images(samples)} | tensors
        frames, stride = self.clip
        times = samples[:, None] + stride * np.arange(frames)
        times = np.minimum(times, self._last[samples][:, None])
        clip = self._images(times.ravel()).unflatten(0, times.shape)
        return {"image": clip[:, 0].contiguous(), "clip": clip} | tensors

    def order(self, batch_size: int, seed: int, step: int) -> np.ndarray:
        """Sample numbers of a batch, see `batch_samples`; of several data sets in turn."""
        return batch_samples(self._sizes, batch_size, seed, step)

    def instructions(self, samples: np.ndarray) -> list[str]:
        """What is to be done in sample numbers (B,)."""
        return [self._instructions[demo] for demo in self._demo[samples]]

    def _images(self, samples: np.ndarray) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] of sample numbers (B,), channels last in memory."""
        images = np.stack([self.image(sample) for sample in samples])
        return torch.from_numpy(images).to(torch.float32).mul_(1 / 255).permute(0, 3, 1, 2)

    def spread(self, count: int) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] of at most `count` samples, spread evenly over all."""
        samples = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)
        return self._images(samples)

    def stats(self) -> dict[str, Tensor]:
        """Mean and standard deviation of end-effector positions and waypoints, (3,) each.

        Keys: ee_mean, ee_std, waypoint_mean, waypoint_std in the world [m], and the same for each
        other frame (para/policies/frames.py) after its prefix, as `Policy.fit_normalisation` takes
        them. A waypoint is seen by the camera of its sample.
        """
        samples = np.arange(len(self))
        height, width, _ = self.image_shape
        matrices = (self._intrinsics, self._T_world_camera)
        camera = Camera(*(doubles_of(m) for m in matrices), width, height)
        groups = {"ee": self._ee_position, "waypoint": self._ee_position[self._future(samples)[0]]}
        return {
            f"{frame.prefix}{name}_{kind}": torch.from_numpy(
                getattr(coordinates.reshape(-1, 3), kind)(axis=0).astype(np.float32)
            )
            for frame in FRAMES
            for name, positions in groups.items()
            for coordinates in [frame.encode(camera, doubles_of(positions))[0].numpy()]
            for kind in ("mean", "std")
        }

    def _future(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames of the waypoints of samples (B,), clamped to the demo: (B, T) int, (B, T) bool."""
        future = samples[:, None] + self.stride * np.arange(1, self.horizon + 1)
        last = self._last[samples][:, None]
        return np.minimum(future, last), future > last


def _instruction(meta: EpisodeMeta) -> str:
    """What a policy is told in a demo; older files do not say it, and follow from their start."""
    if meta.instruction:
        return meta.instruction
    kind = TASKS.component(str(meta.task.get("kind")))
    return kind.cls(kind.config(**meta.task)).instruct(Condition.from_dict(meta.condition))


def _read(folder: Path | str, indices: Iterable[int]) -> tuple[list[Episode], list[int]]:
    """Successful episodes of a data set, and the indices of the failed ones."""
    episodes = [read_episode(episode_path(folder, index)) for index in indices]
    used = [episode for episode in episodes if episode.meta.success]
    failed = [episode.meta.index for episode in episodes if not episode.meta.success]
    if not used:
        why = f"all {len(failed)} are failed ones" if failed else "none was selected"
        raise DataError(
            f"No demos of {folder} to train on: {why}. Make the set with: "
            f"{regenerate_command(folder)}"
        )
    return used, failed


def batch_samples(sizes: int | Sequence[int], batch_size: int, seed: int, step: int) -> np.ndarray:
    """Sample numbers (batch_size,) of batch `step`: slice of an endless row of permutations.

    Epoch e's permutation depends on (seed, e) only; a batch may span two epochs.

    Args:
        sizes: How many samples there are; or how many of each group, which lie one after the other
            and take turns, each in a row of permutations of its own.
        batch_size: B.
        seed: Decides the permutations.
        step: Number of the batch.
    """
    sizes = [sizes] if isinstance(sizes, int) else sizes
    turn, group = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), len(sizes))
    samples = np.empty(batch_size, np.int64)
    for k, (n, start) in enumerate(zip(sizes, np.cumsum([0, *sizes]), strict=False)):
        epoch, within = np.divmod(turn, n)
        for e in np.unique(epoch[group == k]):
            order = generator(seed, Purpose.ORDER, int(e) * len(sizes) + k).permutation(n)
            here = (group == k) & (epoch == e)
            samples[here] = start + order[within[here]]
    return samples


class BatchLoader:
    """Endless iterator over batches start_step, start_step + 1, ..., made in background threads.

    Decoding and augmentation release the GIL, so threads are enough and share the frames.

    Args:
        dataset: Where the samples come from.
        batch_size: B.
        seed: Decides order and augmentation, together with the step.
        start_step: First batch; give the number of batches that were used before a resume.
        augment: Augmentation; None for none.
        workers: Threads.
        prefetch: Batches prepared ahead, per thread.
    """

    def __init__(
        self,
        dataset: DemoDataset,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        augment: AugmentConfig | None = None,
        workers: int = 1,
        prefetch: int = 3,
    ):
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.start_step, self.augment = start_step, augment
        self.workers, self.prefetch = max(1, workers), prefetch

    def load(self, step: int) -> Batch:
        """Batch `step`: a pure function of (seed, step)."""
        batch = self.dataset.batch(self.dataset.order(self.batch_size, self.seed, step))
        if self.augment is None:
            return batch
        seed = torch_seed(self.seed, Purpose.AUGMENTATION, step)
        return augment(batch, self.augment, torch.Generator().manual_seed(seed))

    def __iter__(self) -> Iterator[Batch]:
        """Batches in order; an exception of a thread is raised here."""
        with ThreadPoolExecutor(self.workers, thread_name_prefix="loader") as pool:
            steps = count(self.start_step)
            ahead = deque(
                pool.submit(self.load, next(steps)) for _ in range(self.workers * self.prefetch)
            )
            try:
                while True:
                    batch = ahead.popleft().result()
                    ahead.append(pool.submit(self.load, next(steps)))
                    yield batch
            finally:
                for future in ahead:
                    future.cancel()
