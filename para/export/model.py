"""A policy as one file that needs no PARA: ONNX, or PyTorch's exported program.

In: image (B, H, W, 3) uint8 RGB, intrinsics (B, 3, 3) [px], T_world_camera (B, 4, 4) [m],
ee_position (B, 3) [m], gripper (B,). Out: positions (B, T, 3) [m], NaN where a ray meets its height
nowhere; gripper (B, T), 1 open or 0 closed; pixels (B, T, 2); heatmaps (B, T, h, w); rotations
(B, T, 3) [rad] of policies that turn the hand. Policies that regress coordinates have no heatmaps,
and pixels where they answer with some. Backbone, heads, decoding and unprojection are inside, the
last in 64 bits; any batch size goes.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from baselines.coordinates import Seen
from baselines.detr import WaypointRegressor
from para.camera import Camera
from para.errors import ConfigError, one_line
from para.export.config import ExportConfig
from para.export.halves import halve
from para.extras import require_packages
from para.files import atomic_write
from para.policies.base import Policy
from para.policies.frames import IMAGE
from para.policies.para import ParaPolicy
from para.pretrained import policy_folder
from para.runs.policy_file import load_policy
from para.types import ActionChunk, Inference, Observation

INPUTS = ("image", "intrinsics", "T_world_camera", "ee_position", "gripper")
OUTPUTS = ("positions", "gripper_command", "pixels", "heatmaps", "rotations")
"""The first two of every policy; see the module's docstring."""
OPSET = 18


class Exportable(nn.Module):
    """A pixel-aligned policy from image to waypoints, in tensors only.

    Args:
        policy: The policy.
        subcell: Decode finer than a cell.
        told: (1, N) features of its instruction; None where it is told none.

    Attributes:
        outputs: Names of what it answers, in order.
        strict: How torch.export reads it.
    """

    outputs: Sequence[str] = OUTPUTS
    strict: ClassVar[bool] = False

    def __init__(self, policy: ParaPolicy, subcell: bool, told: Tensor | None):
        super().__init__()
        self.policy, self.subcell = policy, subcell
        self.register_buffer("told", told)
        if not policy.cfg.predicts_rotation:
            self.outputs = OUTPUTS[:-1]

    def forward(
        self,
        image: Tensor,
        intrinsics: Tensor,
        T_world_camera: Tensor,
        ee_position: Tensor,
        gripper: Tensor,
    ) -> tuple[Tensor, ...]:
        """See the module's docstring; matrices and positions may be of 32 or 64 bits."""
        policy = self.policy
        size = policy.image_size
        camera = Camera(intrinsics.double(), T_world_camera.double(), size, size)
        pixels, depth = camera.project(ee_position.double())
        ee_cells = policy._ee_cells(pixels.float(), depth.float())
        images = image.permute(0, 3, 1, 2).float() / 255
        told = None if self.told is None else self.told.expand(image.shape[0], -1)
        state = ee_cells, ee_position.float(), gripper.float()
        features = policy._features(images, *state, told)
        decoded = policy.head.decode(features, subcell=self.subcell)
        pixels = policy._pixels(decoded.cells).double()
        positions = policy.unproject(camera, pixels, decoded.heights.double())
        command = (decoded.gripper > 0.5).float()
        found = positions.float(), command, pixels.float(), decoded.heatmaps
        if decoded.rotations is None:
            return found
        yaw = camera.turn_in_world(positions, decoded.rotations[..., 2].double())
        rotations = torch.cat([decoded.rotations[..., :2], yaw[..., None].float()], -1)
        return *found, rotations


class ExportableRegressor(nn.Module):
    """A policy that regresses coordinates, as `Exportable`: it has no heatmaps.

    Args:
        policy: The policy.
        told: (1, N) features of its instruction; None where it is told none.
    """

    strict: ClassVar[bool] = True
    """From bytecode, in which `len` of a tensor stays the size of any batch."""

    def __init__(self, policy: WaypointRegressor, told: Tensor | None):
        super().__init__()
        self.policy = policy
        self.register_buffer("told", told)
        self.outputs: Sequence[str] = (
            *OUTPUTS[:2],
            *(["pixels"] if policy.frame is IMAGE else []),
            *(["rotations"] if policy.cfg.predicts_rotation else []),
        )

    def forward(
        self,
        image: Tensor,
        intrinsics: Tensor,
        T_world_camera: Tensor,
        ee_position: Tensor,
        gripper: Tensor,
    ) -> tuple[Tensor, ...]:
        """See the module's docstring; matrices and positions may be of 32 or 64 bits."""
        policy = self.policy
        size = policy.image_size
        camera = Camera(intrinsics.float(), T_world_camera.float(), size, size)
        exact = Camera(intrinsics.double(), T_world_camera.double(), size, size)
        images = image.permute(0, 3, 1, 2).float() / 255
        told = None if self.told is None else self.told.expand(image.shape[0], -1)
        state = policy._state(camera, ee_position.float(), gripper.float())
        actions = policy.actions(Seen(images, camera, state, told))
        positions, pixels = policy.frame.decode(exact, policy._coordinates(actions).double())
        found = [positions.float(), (actions[..., 3] > 0.5).float()]
        if pixels is not None:
            found.append(pixels.float())
        if policy.cfg.predicts_rotation:
            turned = policy._decode_turns(actions[..., 4:].double(), positions, exact)
            found.append(turned.float())
        return tuple(found)


class OnnxPolicy:
    """An exported file, asked as a policy is (`para.evaluation.rollout.Predicts`).

    Args:
        path: The file.
        threads: Of ONNX Runtime.
    """

    def __init__(self, path: Path | str, threads: int = 1):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._names = [output.name for output in self._session.get_outputs()]
        self._read = [read.name for read in self._session.get_inputs()]

    def predict(
        self, observations: Sequence[Observation], inference: Inference | None = None
    ) -> list[ActionChunk]:
        """A plan for each observation; how it decodes was decided when it was exported."""
        feed = dict(zip(INPUTS, arrays(observations), strict=True))
        values = self._session.run(None, {name: feed[name] for name in self._read})
        found = dict(zip(self._names, values, strict=True))

        def of(name: str, i: int) -> np.ndarray | None:
            return found[name][i] if name in found else None

        return [
            ActionChunk(
                found["positions"][i].astype(np.float64),
                found["gripper_command"][i],
                of("rotations", i),
                of("heatmaps", i),
                of("pixels", i),
            )
            for i in range(len(observations))
        ]


def arrays(observations: Sequence[Observation]) -> tuple[np.ndarray, ...]:
    """Observations as what an exported file is fed with, in the order of INPUTS."""
    return (
        np.stack([seen.image for seen in observations]),
        np.stack([seen.camera.intrinsics for seen in observations]).astype(np.float64),
        np.stack([seen.camera.T_world_camera for seen in observations]).astype(np.float64),
        np.stack([seen.ee_position for seen in observations]).astype(np.float64),
        np.array([seen.gripper for seen in observations], np.float64),
    )


def export(cfg: ExportConfig) -> Path:
    """Write the file that `cfg` asks for.

    Raises:
        CheckpointError: There is no such policy, or it is damaged.
        ConfigError: It is of a kind that draws random numbers, or needs an instruction, or has
            parts that cannot be exported; or packages are missing.
    """
    if cfg.format == "onnx":
        require_packages("export", "onnx", "onnxruntime", "onnxscript")
    folder = policy_folder(cfg.policy)
    policy, meta = load_policy(folder)
    module = exportable(policy, cfg.subcell, _told(policy, cfg))
    if module is None:
        raise ConfigError(
            f"{folder} is of model={meta['config']['model']['name']}: what is exported answers "
            "without drawing random numbers, pixel-aligned policies (model=para, para_volume, "
            "keypoint) and those that regress (model=regression, act, ...)."
        )
    example = _example(policy.image_size)
    with torch.no_grad(), _exportable_operators(module, example), _silence():
        try:
            program = torch.export.export(
                module,
                example,
                dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in example),
                strict=module.strict,
            )
        except Exception as error:
            raise ConfigError(
                f"{folder}: its backbone or head has parts that torch.export does not know "
                f"({type(error).__name__}: {one_line(error, 300)})."
            ) from error
        with atomic_write(cfg.path) as aside:
            if cfg.format == "torch_export":
                torch.export.save(program, str(aside))
            else:
                _write_onnx(program, example, module.outputs, meta, cfg, aside)
    return cfg.path


def exportable(
    policy: Policy, subcell: bool = True, told: Tensor | None = None
) -> Exportable | ExportableRegressor | None:
    """The policy in tensors only, ready to be exported; None where there is no such form."""
    module: Exportable | ExportableRegressor
    if isinstance(policy, ParaPolicy):
        module = Exportable(policy, subcell, told)
    elif isinstance(policy, WaypointRegressor):
        module = ExportableRegressor(policy, told)
    else:
        return None
    return module.eval().requires_grad_(False)


def _write_onnx(
    program: torch.export.ExportedProgram,
    example: tuple[Tensor, ...],
    outputs: Sequence[str],
    meta: dict[str, Any],
    cfg: ExportConfig,
    path: Path,
) -> None:
    import onnx

    made = torch.onnx.export(
        program,
        example,
        input_names=list(INPUTS),
        output_names=list(outputs),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    model = made.model_proto
    model.producer_name = "para"
    for node in model.graph.node:  # where in whose files it was traced
        del node.metadata_props[:]
    if cfg.half:
        halve(model)
    about = {
        "policy": meta["config"]["model"]["name"],
        "sha256": meta["sha256"],
        "image_size": meta["config"]["env"]["image_size"],
        "instruction": cfg.instruction or "",
        "frame": "world: metres, z up, the table is z = 0; camera axes as OpenCV's",
    }
    onnx.helper.set_model_props(model, {k: json.dumps(v) for k, v in about.items()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _told(policy: Policy, cfg: ExportConfig) -> Tensor | None:
    if policy.text is None:
        return None
    if cfg.instruction is None:
        raise ConfigError(
            f"policy={cfg.policy} is told what to do, and an exported one is always told the same: "
            "add instruction='...'."
        )
    return policy.text.features([cfg.instruction])


def _example(size: int) -> tuple[Tensor, ...]:
    """Two observations of the same camera; two, since a batch of one means something else."""
    camera = Camera.look_at((0.96, 0, 1.15), (0, 0, 0), 45, size, size)
    seen = Observation(np.zeros((size, size, 3), np.uint8), camera, np.array([0.0, 0.0, 0.2]), 1.0)
    return tuple(torch.from_numpy(array) for array in arrays([seen, seen]))


@contextmanager
def _exportable_operators(module: nn.Module, example: tuple[Tensor, ...]) -> Iterator[None]:
    """ONNX has no matrix inverses: those of 3 x 3 are written out, those of constants computed.

    The constants, by shape, are those of a real run. ONNX Runtime has no arc tangent of 64 bits.
    """
    inv, pinv, arctan2 = torch.linalg.inv, torch.linalg.pinv, torch.arctan2
    constants: dict[tuple[int, ...], np.ndarray] = {}

    def recorded(matrix: Tensor) -> Tensor:
        found = pinv(matrix)
        constants[tuple(matrix.shape)] = found.numpy()
        return found

    try:
        torch.linalg.pinv = recorded
        module(*example)
        torch.linalg.inv = _inverse
        torch.arctan2 = lambda y, x: arctan2(y.float(), x.float()).to(y.dtype)
        torch.linalg.pinv = lambda matrix: torch.tensor(
            constants[tuple(matrix.shape)].tolist(), dtype=matrix.dtype
        )
        yield
    finally:
        torch.linalg.inv, torch.linalg.pinv, torch.arctan2 = inv, pinv, arctan2


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of (..., 3, 3): the adjugate over the determinant, rows by cross products."""
    a, b, c = matrix.unbind(-1)  # columns
    rows = [torch.linalg.cross(*pair) for pair in ((b, c), (c, a), (a, b))]
    determinant = (a * rows[0]).sum(-1)
    return torch.stack(rows, -2) / determinant[..., None, None]


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter tells its developers much."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
