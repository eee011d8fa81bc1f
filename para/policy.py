"""What every policy is: losses from a batch, action chunks from observations.

Training batch (`para.data.dataset` makes it), torch tensors:
    image (B, 3, H, W) float in [0, 1]; intrinsics (B, 3, 3) [px]; T_world_camera (B, 4, 4);
    ee_position (B, 3) [m]; gripper (B,) in [0, 1];
    waypoints (B, T, 3) [m]; waypoint_gripper (B, T) in [0, 1], commanded;
    waypoint_rotation (B, T, 3) [rad]; padded (B, T) bool. World frame throughout;
    clip (B, F, 3, H, W) float in [0, 1] where a video model learns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from para.backbones.weights import load_strict
from para.config import ModelConfig
from para.errors import ParaError
from para.types import ActionChunk, Observation

INFERENCE_DTYPES = {"fp32": None, "bf16": torch.bfloat16}
"""Value of `precision` in evaluations -> `dtype` of `Policy.predict`."""
STATISTICS = ("ee_mean", "ee_std", "waypoint_mean", "waypoint_std")
"""Names of the normalisation statistics, each (3,) [m]."""


class ObservationError(ParaError):
    """Observations that this policy cannot read."""


class Policy(nn.Module, ABC):
    """Base class: holds what all policies share, the normalisation statistics among it.

    Args:
        cfg: The model's configuration.
        image_size: H = W of the images [px].

    Attributes:
        acts: It can `predict`.
    """

    acts = True

    def __init__(self, cfg: ModelConfig, image_size: int):
        super().__init__()
        self.cfg = cfg
        self.image_size = image_size
        for name in STATISTICS:
            start = torch.zeros(3) if name.endswith("mean") else torch.ones(3)
            self.register_buffer(name, start)

    def fit_normalisation(self, statistics: Mapping[str, Tensor]) -> None:
        """Store mean and standard deviation of end-effector and waypoint positions.

        Args:
            statistics: `STATISTICS`, each (3,) [m], world frame. They travel in the state dict.
        """
        for name in STATISTICS:
            value = torch.as_tensor(statistics[name], dtype=torch.float32)
            if name.endswith("std"):
                value = value.clamp(min=1e-3)
            getattr(self, name).copy_(value)

    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load a whole state dict, from `source` (named in errors).

        Raises:
            CheckpointError: It belongs to another architecture; names the keys.
        """
        load_strict(self, state, source)

    @abstractmethod
    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """Scalars of a training batch: "loss", its parts, and counts.

        Args:
            batch: See the module's docstring.
            metrics: Also decode the predictions and report their errors ([mm], [px]); costs time.
        """

    def predict(
        self, observations: Sequence[Observation], *, dtype: torch.dtype | None = None
    ) -> list[ActionChunk]:
        """Predict the next waypoints of each observation, in one batch, without gradients.

        The same batch gives the same bits, always; another batch size may move the last bits.

        Args:
            observations: At least one, with images of the size that the policy was built for.
            dtype: Run the network under autocast to this type (torch.bfloat16); None: as it is.

        Raises:
            ObservationError: No observations, or images of another size.
        """
        if not observations:
            raise ObservationError("predict: no observations.")
        expected = (self.image_size, self.image_size, 3)
        for observation in observations:
            if observation.image.shape != expected:
                raise ObservationError(
                    f"This policy reads images {expected}, got {observation.image.shape}. Render "
                    f"with image_size={self.image_size}, or resize image and camera together."
                )
        device = self.ee_mean.device
        images = np.stack([observation.image for observation in observations])
        images = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255
        was_training = self.training
        self.eval()
        enabled = dtype is not None
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=enabled):
            chunks = self._predict(images, observations)
        self.train(was_training)
        return chunks

    @abstractmethod
    def _predict(self, images: Tensor, observations: Sequence[Observation]) -> list[ActionChunk]:
        """`predict` for images (B, 3, H, W) in [0, 1] on the policy's device."""

    def _states(self, observations: Sequence[Observation]) -> tuple[Tensor, Tensor]:
        """End-effector positions (B, 3) [m] and grippers (B,) on the policy's device."""
        positions = np.stack([observation.ee_position for observation in observations])
        grippers = [float(observation.gripper) for observation in observations]
        device = self.ee_mean.device
        return (
            torch.as_tensor(positions, dtype=torch.float32, device=device),
            torch.tensor(grippers, dtype=torch.float32, device=device),
        )
