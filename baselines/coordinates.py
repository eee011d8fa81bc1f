"""What opponents share whose answer is a list of numbers: three coordinates and the gripper.

In which frame (world, camera, image) and whether they see the rays of the camera are two facts of
a class; what they are told and what they answer is then the same everywhere: end effector and
waypoints in that frame, normalised.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from baselines.rays import CHANNELS as RAY_CHANNELS
from baselines.rays import RayEncoder
from para.backbones import BackboneConfig, build_backbone
from para.backbones.conv import POOLED_CELLS
from para.camera import Camera
from para.doubles import double_on_cpu, doubles_of
from para.heads.targets import masked_mean
from para.policies.base import Policy, PolicyConfig
from para.types import ActionChunk, Inference, Observation


@dataclass
class CoordinatesConfig(PolicyConfig):
    """What these policies are told."""

    rotations: bool = False
    """Regress rotations too: of a hand in the world, or as it is seen by a camera that is told."""

    @property
    def predicts_rotation(self) -> bool:
        """See `PolicyConfig`."""
        return self.rotations


@dataclass(frozen=True)
class Seen:
    """What a policy is told at one instant.

    Attributes:
        images: (B, 3, H, W) in [0, 1].
        camera: Of the images, (B,); read only by policies that are told it.
        state: (B, 4) normalised end-effector position in the policy's frame, and gripper.
        told: (B, N) features of the instruction, of a policy that listens.
    """

    images: Tensor
    camera: Camera
    state: Tensor
    told: Tensor | None = None


class CoordinatesPolicy(Policy):
    """Normalised coordinates of its frame, gripper and rotations from an image and the state.

    Labels that the frame cannot hold (pixels outside the image) are masked and counted.

    Args:
        cfg: The model.
        backbone_cfg: The backbone (configs/backbone).
        image_size: H = W of the images [px].
        spatial: Read every cell of the backbone's map; else its one pooled feature.
        cells: h = w of the map; None: of the backbone's last stage.

    Attributes:
        sees_rays: The rays of the image's camera are an input.
    """

    sees_rays: ClassVar[bool] = False

    def __init__(
        self,
        cfg: CoordinatesConfig,
        backbone_cfg: BackboneConfig,
        image_size: int,
        *,
        spatial: bool,
        cells: int | None = None,
    ):
        super().__init__(cfg, image_size)
        self.spatial = spatial
        self.backbone = build_backbone(backbone_cfg, image_size, cells)
        self.feature_channels = (
            self.backbone.out_channels if spatial else self.backbone.pooled_channels
        )
        self.rays = None
        if self.sees_rays:
            cells = self.backbone.map_size if spatial else (POOLED_CELLS, POOLED_CELLS)
            self.rays = RayEncoder(cells)
            self.feature_channels += RAY_CHANNELS * (1 if spatial else POOLED_CELLS**2)
        self.action_size = 3 + 1 + (4 if cfg.rotations else 0)

    @abstractmethod
    def actions(self, seen: Seen) -> Tensor:
        """Normalised actions (B, T, 4 or 8): coordinates, P(open) as a number, rotations.

        A rotation is roll, pitch, and cosine and sine of twice the hand's turn, since half a turn
        more is the same gripper: its yaw, or its turn in the image (`Camera.turn_in_image`) where
        the policy is told the camera, so that the label follows a camera that moved.
        """

    def features(self, seen: Seen) -> Tensor:
        """What there is to read (B, N, feature_channels): the cells, or one pooled feature."""
        cells, pooled = self.backbone(seen.images)
        parts = [cells if self.spatial else pooled]
        if self.rays is not None:
            with torch.autocast(seen.images.device.type, enabled=False):
                camera = self.frame.of_camera(seen.camera)
            rays = self.rays(camera)
            parts.append(rays if self.spatial else rays.flatten(1))
        features = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        return features.flatten(2).transpose(1, 2) if self.spatial else features[:, None]

    def seen(self, batch: Mapping[str, Tensor]) -> Seen:
        """What a training batch shows."""
        matrices = (batch[name].float() for name in ("intrinsics", "T_world_camera"))
        camera = Camera(*matrices, self.image_size, self.image_size)
        state = self._state(camera, batch["ee_position"].float(), batch["gripper"].float())
        return Seen(batch["image"], camera, state, batch.get("instruction"))

    def targets(self, batch: Mapping[str, Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
        """Normalised actions (B, T, 4 or 8) of a training batch; (B, T) bool: can be learned."""
        with torch.autocast(camera.intrinsics.device.type, enabled=False):
            waypoints, visible = self.frame.encode(camera, batch["waypoints"].float())
        waypoints = (waypoints - self.waypoint_mean) / self.waypoint_std
        actions = [waypoints, batch["waypoint_gripper"].float()[..., None]]
        if self.cfg.rotations:
            actions.append(self._encode_turns(batch, camera))
        return torch.cat(actions, -1), visible

    @torch.no_grad()
    def errors(
        self, actions: Tensor, batch: Mapping[str, Tensor], camera: Camera
    ) -> dict[str, Tensor]:
        """Metrics of normalised actions (B, T, 4 or 8)."""
        with torch.autocast(camera.intrinsics.device.type, enabled=False):
            positions, _ = self.frame.decode(camera, self._coordinates(actions))
            _, visible = self.frame.encode(camera, batch["waypoints"].float())
        missed = positions.isnan().any(-1) & visible
        distance = (positions - batch["waypoints"]).norm(dim=-1)
        wrong = (actions[..., 3] > 0.5) != (batch["waypoint_gripper"] > 0.5)
        return {
            "position_error_mm": 1000 * masked_mean(distance, visible & ~missed),
            "gripper_error": masked_mean(wrong.float(), visible),
            "missed": missed.sum(),
        }

    def _state(self, camera: Camera, ee_position: Tensor, gripper: Tensor) -> Tensor:
        """Normalised proprioception (B, 4)."""
        with torch.autocast(camera.intrinsics.device.type, enabled=False):
            position, _ = self.frame.encode(camera, ee_position)
        position = (position - self.ee_mean) / self.ee_std
        return torch.cat([position, 2 * gripper[:, None] - 1], 1)

    def _encode_turns(self, batch: Mapping[str, Tensor], camera: Camera) -> Tensor:
        """Rotations (B, T, 4) of a training batch, as in `actions`."""
        rotations = batch["waypoint_rotation"].float()
        turns = rotations[..., 2]
        if self.told_camera:
            with torch.autocast(turns.device.type, enabled=False):
                turns = camera.turn_in_image(batch["waypoints"].float(), turns)
        circle = torch.stack([torch.cos(2 * turns), torch.sin(2 * turns)], -1)
        return torch.cat([rotations[..., :2], circle], -1)

    def _decode_turns(self, encoded: Tensor, positions: Tensor, camera: Camera) -> Tensor:
        """Euler angles (B, T, 3) [rad] of what `actions` says (B, T, 4), at positions (B, T, 3)."""
        # arctan2, not atan2: para/export/model.py replaces that one, for ONNX
        turns = torch.arctan2(encoded[..., 3], encoded[..., 2]) / 2
        if self.told_camera:
            turns = camera.turn_in_world(positions, turns)
        return torch.cat([encoded[..., :2], turns[..., None]], -1)

    def _coordinates(self, actions: Tensor) -> Tensor:
        return actions[..., :3] * self.waypoint_std + self.waypoint_mean

    def _predict(
        self, images: Tensor, observations: Sequence[Observation], inference: Inference
    ) -> list[ActionChunk]:
        exact = _camera_of(observations)
        matrices = (m.float().to(images.device) for m in (exact.intrinsics, exact.T_world_camera))
        camera = Camera(*matrices, exact.width, exact.height)
        state = self._state(camera, *self._states(observations))
        actions = self.actions(Seen(images, camera, state, self._told(observations)))
        positions, pixels = self.frame.decode(exact, double_on_cpu(self._coordinates(actions)))
        # labels are the commands "open" and "close": what is commanded is one of the two
        gripper = (actions[..., 3] > 0.5).float().cpu().numpy()
        rotations = None
        if self.cfg.rotations:
            rotations = self._decode_turns(
                double_on_cpu(actions[..., 4:]), positions, exact
            ).numpy()
        return [
            ActionChunk(
                positions=positions[i].numpy(),
                gripper=gripper[i],
                rotations=None if rotations is None else rotations[i],
                pixels=None if pixels is None else pixels[i].numpy(),
            )
            for i in range(len(observations))
        ]


def _camera_of(observations: Sequence[Observation]) -> Camera:
    """The cameras of observations as one batch, in 64 bits on the CPU."""
    first = observations[0].camera
    cameras = [(o.camera.intrinsics, o.camera.T_world_camera) for o in observations]
    matrices = (doubles_of(np.stack(part)) for part in zip(*cameras, strict=True))
    return Camera(*matrices, first.width, first.height)
