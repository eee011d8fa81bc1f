"""PARA: where in the image, then how high; the pixel's ray meets that height in a waypoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import MISSING
from torch import Tensor, nn

from para.backbones import BackboneConfig, build_backbone
from para.camera import Array, Camera
from para.doubles import double_array
from para.fields import number, require
from para.heads import HEADS, Decoded, HeadConfig, Labels, frame_weights
from para.heads.base import COUNTED
from para.heads.targets import masked_mean
from para.policies.base import DEFAULT, POLICIES, WARPS, Policy, PolicyConfig
from para.text.film import FilmBlock
from para.types import ActionChunk, Inference, Observation

_OFF_THE_MAP = -2.0
"""A cell coordinate that no cell of the map is near."""


@dataclass
class ParaConfig(PolicyConfig):
    """Pixel-aligned policy: heatmap, height bins at a pixel, ray meets plane."""

    kind: str = "para"
    head: Any = MISSING
    """Where and how high: a component of its own (configs/model/head)."""
    heatmap_size: int = number(32, least=2, most=1024)
    """Cells per side of the heatmap; configs/profile sets it (32 laptop, 64 paper)."""
    height_window: float = number(0.5, least=0, most=1024)
    """Heights are supervised at 3 x 3 points around the true pixel, this far apart [cells]."""
    ee_pixel: bool = True
    """Tell the feature map where in the image the end effector is."""

    @property
    def predicts_rotation(self) -> bool:
        """See `PolicyConfig`."""
        return self.head.rotation_bins > 0

    def rules(self, key: str, run: Any) -> None:
        """Cells are not smaller than pixels."""
        require(
            self.heatmap_size <= run.env.image_size,
            f"{key}.heatmap_size={self.heatmap_size} cells must be at most "
            f"env.image_size={run.env.image_size} px.",
        )


@POLICIES.register("para", ParaConfig)
class ParaPolicy(Policy):
    """Backbone, end-effector embedding, pixel-aligned head; all geometry through `Camera`.

    Labels outside the image are masked and counted ("masked"). Labels above or below the height
    bins are clamped to the nearest bin and counted ("clamped"). A predicted pixel whose ray misses
    its height (see `Camera.unproject_to_height`) is no point: it is flagged (`ActionChunk.missed`),
    and counted in the metrics ("missed"), whose position error is that of the others.

    Args:
        cfg: The model (configs/model/para.yaml).
        backbone_cfg: The backbone (configs/backbone).
        image_size: H = W of the images [px].

    Raises:
        ConfigError: The head's `along` is not decided.
    """

    told_camera: ClassVar[bool] = True
    follows: ClassVar[frozenset[str]] = WARPS

    def __init__(self, cfg: ParaConfig, backbone_cfg: BackboneConfig, image_size: int):
        super().__init__(cfg, image_size)
        head: HeadConfig = cfg.head
        require(
            head.along in COUNTED,
            f"model.head.along={head.along} is decided by training, of the cameras of its demos. "
            f"A policy that is built without needs one of {', '.join(COUNTED)}.",
        )
        self.backbone = build_backbone(backbone_cfg, image_size, cfg.heatmap_size)
        channels = self.backbone.out_channels
        timing = None
        if frames := self.backbone.frames:
            strides = (cfg.waypoint_stride, frames, self.backbone.frame_stride)
            timing = frame_weights(cfg.horizon, *strides)
        self.head = HEADS[head.kind](head, cfg.horizon, channels, timing)
        steps = torch.tensor([-cfg.height_window, 0.0, cfg.height_window])
        around = torch.cartesian_prod(steps, steps)
        self.register_buffer("read_offsets", around, persistent=False)
        # everywhere: how high the end effector is, and how open
        self.state_embedding = nn.Linear(2, channels)
        # at the end effector's pixel: here it is; and everywhere: what the map shows there
        self.ee_embedding = nn.Linear(2, channels) if cfg.ee_pixel else None
        self.ee_context = (
            nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels))
            if cfg.ee_pixel
            else None
        )
        self.film: FilmBlock | None = None

    def _listen(self, channels: int) -> None:
        """See `Policy`: the instruction modulates the map."""
        self.film = FilmBlock(self.backbone.out_channels, channels)

    def loss(self, batch: Mapping[str, Tensor], *, metrics: bool = False) -> dict[str, Tensor]:
        """See `Policy.loss`. Parts in nats above the least possible: 0 is a perfect prediction."""
        cfg = self.cfg
        with torch.autocast(batch["image"].device.type, enabled=False):
            camera = self._camera(batch["intrinsics"].float(), batch["T_world_camera"].float())
            ee_position = batch["ee_position"].float()
            waypoints = batch["waypoints"].float()
            ee_cells = self._ee_cells(*camera.project(ee_position))
            pixels, depth = camera.project(waypoints)
            visible = camera.in_view(pixels, depth)
            heights = self._along(camera, waypoints)
            cells = torch.where(visible[..., None], self._cells(pixels), 0)
            read_cells = cells[:, :, None] + self.read_offsets
            nearest = camera.nearest_on_rays(self._pixels(read_cells), waypoints[:, :, None])
            rotations = batch["waypoint_rotation"].float()
            turns = camera.turn_in_image(waypoints, rotations[..., 2])
            labels = Labels(
                cells=cells,
                heights=heights,
                read_cells=read_cells,
                read_heights=self._along(camera, nearest),
                gripper=batch["waypoint_gripper"].float(),
                rotations=torch.cat([rotations[..., :2], turns[..., None]], -1),
                visible=visible,
            )
        state = ee_cells, ee_position, batch["gripper"].float()
        features = self._features(batch["image"], *state, batch.get("instruction"))
        parts = self.head.loss(features, labels)
        low, high = cfg.head.span
        outside = (heights < low) | (heights > high)
        scalars = {
            "loss": torch.stack(list(parts.values())).sum(),
            **parts,
            "masked": (~visible).sum(),
            "clamped": (outside & visible).sum(),
        }
        if metrics:
            scalars |= self._metrics(features.detach(), camera, labels, waypoints)
        return scalars

    @torch.no_grad()
    def _metrics(
        self, features: Tensor, camera: Camera, labels: Labels, waypoints: Tensor
    ) -> dict[str, Tensor]:
        decoded = self.head.decode(features, subcell=DEFAULT.subcell)
        with torch.autocast(features.device.type, enabled=False):
            pixels = self._pixels(decoded.cells)
            positions = self.unproject(camera, pixels, decoded.heights)
            pixel_error = (pixels - self._pixels(labels.cells)).norm(dim=-1)
            position_error = (positions - waypoints).norm(dim=-1)
        count = labels.visible.sum().clamp(min=1)
        missed = positions.isnan().any(-1) & labels.visible
        wrong = (decoded.gripper > 0.5) != (labels.gripper > 0.5)
        return {
            "pixel_error_px": (pixel_error * labels.visible).sum() / count,
            "position_error_mm": 1000 * masked_mean(position_error, labels.visible & ~missed),
            "gripper_error": (wrong & labels.visible).sum() / count,
            "missed": missed.sum(),
        }

    def _predict(
        self, images: Tensor, observations: Sequence[Observation], inference: Inference
    ) -> list[ActionChunk]:
        ee_position, gripper = self._states(observations)
        projected = [o.camera.project(np.asarray(o.ee_position)) for o in observations]
        ee_pixels, depth = (
            np.stack(part).astype(np.float32) for part in zip(*projected, strict=True)
        )
        ee_cells = self._ee_cells(torch.from_numpy(ee_pixels), torch.from_numpy(depth))
        ee_cells = ee_cells.to(ee_position.device)
        told = self._told(observations)
        features = self._features(images, ee_cells, ee_position, gripper, told)
        decoded = self.head.decode(features, subcell=inference.subcell)
        return self._chunks(decoded, observations)

    def _chunks(self, decoded: Decoded, observations: Sequence[Observation]) -> list[ActionChunk]:
        """Unproject in double precision, each observation with its own camera."""
        pixels = double_array(self._pixels(decoded.cells))
        heights = double_array(decoded.heights)
        # labels are the commands "open" and "close": what is commanded is one of the two
        gripper = (decoded.gripper > 0.5).float().cpu().numpy()
        heatmaps = decoded.heatmaps.float().cpu().numpy()
        cameras = [observation.camera for observation in observations]
        positions = [
            self.unproject(camera, pixels[i], heights[i]) for i, camera in enumerate(cameras)
        ]
        rotations = None if decoded.rotations is None else double_array(decoded.rotations)
        if rotations is not None:
            for i, camera in enumerate(cameras):
                rotations[i, :, 2] = camera.turn_in_world(positions[i], rotations[i, :, 2])
        return [
            ActionChunk(
                positions=positions[i],
                gripper=gripper[i],
                rotations=None if rotations is None else rotations[i],
                heatmaps=heatmaps[i],
                pixels=pixels[i],
            )
            for i in range(len(observations))
        ]

    def _features(
        self,
        images: Tensor,
        ee_cells: Tensor,
        ee_position: Tensor,
        gripper: Tensor,
        told: Tensor | None,
    ) -> Tensor:
        """Images (B, 3, H, W), end effector (cells (B, 2), metres (B, 3)) -> what the head reads.

        `told`: features of the instructions (B, N), of a policy that listens.
        That is one map (B, C, h, w), or (B, F, C, h, w) with the end effector of now in each.
        """
        features, _ = self.backbone(images)
        if features.ndim == 4:
            features = features if self.film is None else self.film(features, told)
            return self._with_state(features, ee_cells, ee_position, gripper)
        count = features.shape[1]
        frames = features.flatten(0, 1)
        if self.film is not None:
            frames = self.film(frames, told.repeat_interleave(count, 0))
        states = (x.repeat_interleave(count, 0) for x in (ee_cells, ee_position, gripper))
        return self._with_state(frames, *states).unflatten(0, (-1, count))

    def _with_state(
        self, features: Tensor, ee_cells: Tensor, ee_position: Tensor, gripper: Tensor
    ) -> Tensor:
        """Add the embeddings of where the end effector is, how high and how open."""
        size = features.shape[2:]
        height = (ee_position[:, 2:] - self.ee_mean[2]) / self.ee_std[2]
        state = torch.cat([height, 2 * gripper[:, None] - 1], 1)
        everywhere = self.state_embedding(state)
        if self.ee_embedding is None:
            return features + everywhere[:, :, None, None]
        place = self._splat(ee_cells, size).to(features.dtype)
        everywhere = everywhere + self.ee_context(torch.einsum("bchw,bhw->bc", features, place))
        # both embeddings in one pass over the map: place x (at the pixel) + 1 x (everywhere)
        embeddings = torch.stack([self.ee_embedding(state), everywhere], 1)
        where = torch.stack([place, torch.ones_like(place)], -1).flatten(1, 2)
        cells = features.permute(0, 2, 3, 1).flatten(1, 2)
        cells = torch.baddbmm(cells, where, embeddings.to(features.dtype))
        return cells.transpose(1, 2).unflatten(2, size)

    @staticmethod
    def _splat(cells: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear weights (B, h, w) of cell coordinates (B, 2); zero far outside the map."""
        rows, columns = (
            (1 - (torch.arange(n, device=cells.device) - c[:, None]).abs()).clamp(min=0)
            for n, c in ((size[0], cells[:, 1]), (size[1], cells[:, 0]))
        )
        return rows[:, :, None] * columns[:, None, :]

    def _along(self, camera: Camera, points: Tensor) -> Tensor:
        """What bins count (`HeadConfig.along`) of world points (..., 3): (...) [m]."""
        if self.cfg.head.along == "height":
            return points[..., 2]
        return camera.behind_origin(points)

    def unproject(self, camera: Camera, pixels: Array, heights: Array) -> Array:
        """Inverse: the points (..., 3) [m] of the rays of pixels (..., 2); NaN where a ray misses.

        Args:
            camera: Of the pixels; matrices and arrays are of one kind.
            pixels: [px].
            heights: (...) what bins count (`HeadConfig.along`) [m].
        """
        if self.cfg.head.along == "height":
            return camera.unproject_to_height(pixels, heights)
        return camera.unproject_behind_origin(pixels, heights)

    def _camera(self, intrinsics: Tensor, T_world_camera: Tensor) -> Camera:
        return Camera(intrinsics, T_world_camera, self.image_size, self.image_size)

    def _cells(self, pixels: Tensor) -> Tensor:
        """Pixel coordinates (..., 2) -> cell coordinates, in which cell centres are integers."""
        return pixels * (self.cfg.heatmap_size / self.image_size) - 0.5

    def _ee_cells(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Cells (B, 2) of the end effector; off the map where it is behind the camera."""
        return torch.where(depth[..., None] > 0, self._cells(pixels), _OFF_THE_MAP)

    def _pixels(self, cells: Tensor) -> Tensor:
        """Inverse of `_cells`."""
        return (cells + 0.5) * (self.image_size / self.cfg.heatmap_size)
