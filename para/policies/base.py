"""What every policy is: losses from a batch, action chunks from observations.

Training batch (`para.data.dataset` makes it), torch tensors:
    image (B, 3, H, W) float in [0, 1]; intrinsics (B, 3, 3) [px]; T_world_camera (B, 4, 4);
    ee_position (B, 3) [m]; gripper (B,) in [0, 1];
    waypoints (B, T, 3) [m]; waypoint_gripper (B, T) in [0, 1], commanded;
    waypoint_rotation (B, T, 3) [rad]; padded (B, T) bool. World frame throughout;
    clip (B, F, 3, H, W) float in [0, 1] where a video model learns;
    instruction (B, N) features of what is to be done (para/text), where policies are told it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from omegaconf import MISSING
from torch import Tensor, nn

from para.backbones import BackboneConfig
from para.backbones.weights import load_strict
from para.errors import CheckpointError, ConfigError, ParaError
from para.fields import LOCAL, marked, number, word
from para.policies.frames import WORLD, Frame
from para.policies.tta import NEEDED, agreed, looks
from para.registry import Registry
from para.text import Text, TextConfig, build_text
from para.types import ActionChunk, Inference, Observation

INFERENCE_DTYPES = {"fp32": None, "bf16": torch.bfloat16}
"""`Inference.precision` -> type of autocast."""
DEFAULT = Inference()
STATISTICS = ("ee_mean", "ee_std", "waypoint_mean", "waypoint_std")
"""Names of the normalisation statistics, each (3,), in the units of the policy's frame."""
WARPS = frozenset({"crop", "shift", "scale", "rotate_deg", "camera_rotate_deg"})
"""Keys of the augmentations that move the camera with the image (para/data/config.py)."""


@dataclass
class PolicyConfig:
    """What every policy is told (configs/model)."""

    acts: ClassVar[bool] = True
    """Its policies can `predict`; False for what only prepares other policies."""

    name: str = word(MISSING)
    """Name in run folders, results and figures."""
    kind: str = MISSING
    """The registered component that reads the rest."""
    title: str | None = marked(LOCAL, None)
    """What figures and tables call it; null: its name."""
    horizon: int = number(12, least=1, most=1000)
    """T: waypoints per prediction."""
    waypoint_stride: int = number(3, least=1, most=1000)
    """Demo frames (0.1 s each) between waypoints."""

    @property
    def predicts_rotation(self) -> bool:
        """Does it, as it is configured, say how the hand turns?"""
        return False


class ObservationError(ParaError):
    """Observations that this policy cannot read."""


class Policy(nn.Module, ABC):
    """Base class: holds what all policies share, the normalisation statistics among it.

    Attributes:
        told_camera: It is told the camera's matrices, so its answer follows a camera that moved.
        follows: Which of `WARPS` its labels can follow: after such a warp, what it is to answer is
            still a function of what it is told. The others are switched off when it is trained.
        frame: Of positions, as the policy's statistics have them.
        text: Turns instructions into what it is told; None: it is told none.

    Args:
        cfg: The model's configuration.
        image_size: H = W of the images [px].
    """

    told_camera: ClassVar[bool] = False
    follows: ClassVar[frozenset[str]] = frozenset()
    frame: ClassVar[Frame] = WORLD

    def __init__(self, cfg: PolicyConfig, image_size: int):
        super().__init__()
        self.cfg = cfg
        self.image_size = image_size
        self.text: Text | None = None
        for name in STATISTICS:
            start = torch.zeros(3) if name.endswith("mean") else torch.ones(3)
            self.register_buffer(name, start)

    def fit_normalisation(self, statistics: Mapping[str, Tensor]) -> None:
        """Store mean and standard deviation of end-effector and waypoint positions.

        Args:
            statistics: `STATISTICS`, each (3,), their names after `self.frame.prefix`. They travel
                in the state dict.
        """
        for name in STATISTICS:
            value = torch.as_tensor(statistics[self.frame.prefix + name], dtype=torch.float32)
            if name.endswith("std"):
                value = value.clamp(min=1e-3)
            getattr(self, name).copy_(value)

    def listen(self, text: Text) -> None:
        """Condition on instructions from now on: adds the layers that read their features.

        Raises:
            ConfigError: This policy cannot.
        """
        self.text = text
        self._listen(text.channels)

    def _listen(self, channels: int) -> None:
        """Add layers for instructions of so many features."""
        raise ConfigError(
            f"The demos have several instructions, and model={self.cfg.name} reads none: add "
            "text=none, or choose another model."
        )

    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load a whole state dict, from `source` (named in errors).

        Raises:
            CheckpointError: It belongs to another architecture, or holds numbers of another type
                than were saved; names the keys.
        """
        own = self.state_dict()
        for name in own.keys() & state.keys():
            if state[name].dtype != own[name].dtype:
                raise CheckpointError(
                    f"{source} is damaged: {name} is {state[name].dtype}, not {own[name].dtype}. "
                    "Train again with fresh=true."
                )
        load_strict(self, state, source)

    @abstractmethod
    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """Scalars of a training batch: "loss", its parts, and counts.

        Args:
            batch: See the module's docstring.
            metrics: Also decode the predictions and report their errors ([mm], [px]); costs time.
        """

    def predict(
        self, observations: Sequence[Observation], inference: Inference = DEFAULT
    ) -> list[ActionChunk]:
        """Predict the next waypoints of each observation, in one batch, without gradients.

        The same batch gives the same bits, always; another batch size may move the last bits.

        Args:
            observations: At least one, with images of the size that the policy was built for.
            inference: Precision and decoding.

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
        if inference.tta > 1:
            return self._agreed(observations, inference)
        device = self.ee_mean.device
        images = np.stack([observation.image for observation in observations])
        images = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255
        was_training = self.training
        self.eval()
        dtype = INFERENCE_DTYPES[inference.precision]
        enabled = dtype is not None
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=enabled):
            chunks = self._predict(images, observations, inference)
        self.train(was_training)
        return chunks

    def _agreed(
        self, observations: Sequence[Observation], inference: Inference
    ) -> list[ActionChunk]:
        """`predict` from several looks at each observation."""
        if not self.follows >= NEEDED:
            raise ObservationError(
                f"tta={inference.tta}: model={self.cfg.name} answers in coordinates that do "
                "not follow a shifted, turned and zoomed image. Use tta=1."
            )
        count = inference.tta
        seen = [look for observation in observations for look in looks(observation, count)]
        chunks = self.predict(seen, replace(inference, tta=1))
        return [agreed(chunks[i : i + count]) for i in range(0, len(chunks), count)]

    @abstractmethod
    def _predict(
        self, images: Tensor, observations: Sequence[Observation], inference: Inference
    ) -> list[ActionChunk]:
        """`predict` for images (B, 3, H, W) in [0, 1] on the policy's device."""

    def _told(self, observations: Sequence[Observation]) -> Tensor | None:
        """Features of instructions (B, N) on the policy's device; None where it is told none.

        Raises:
            UnknownNameError: It does not know one of them.
        """
        if self.text is None:
            return None
        told = self.text.features([observation.instruction for observation in observations])
        return told.to(self.ee_mean.device)

    def _states(self, observations: Sequence[Observation]) -> tuple[Tensor, Tensor]:
        """End-effector positions (B, 3) [m] and grippers (B,) on the policy's device."""
        positions = np.stack([observation.ee_position for observation in observations])
        grippers = [float(observation.gripper) for observation in observations]
        device = self.ee_mean.device
        return (
            torch.as_tensor(positions, dtype=torch.float32, device=device),
            torch.tensor(grippers, dtype=torch.float32, device=device),
        )


POLICIES: Registry[Callable[[PolicyConfig, BackboneConfig, int], Policy]] = Registry(
    "policy", "model", packages=("para.policies", "baselines")
)
"""Policies by kind, with arguments (cfg, backbone_cfg, image_size)."""


def build_policy(
    cfg: PolicyConfig,
    backbone_cfg: BackboneConfig,
    image_size: int,
    text_cfg: TextConfig | None = None,
) -> Policy:
    """Build the policy that `cfg.kind` names, for images of image_size x image_size px.

    Args:
        cfg: The model.
        backbone_cfg: The backbone.
        image_size: H = W of the images [px].
        text_cfg: How it is told instructions; None: not at all, and it has no layers for them.

    Raises:
        UnknownNameError: There is no such kind.
        CheckpointError, ConfigError: See `para.backbones.build_backbone` and `Policy.listen`.
    """
    policy = POLICIES[cfg.kind](cfg, backbone_cfg, image_size)
    text = build_text(text_cfg)
    if text and text.channels:
        policy.listen(text)
    return policy
