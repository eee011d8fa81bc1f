"""A policy as one file that needs no PARA: ONNX, or PyTorch's exported program.

In: image (B, H, W, 3) uint8 RGB, intrinsics (B, 3, 3) [px], T_world_camera (B, 4, 4) [m],
ee_position (B, 3) [m], gripper (B,). Out: positions (B, T, 3) [m], NaN where a ray meets its height
nowhere; gripper (B, T), 1 open or 0 closed; pixels (B, T, 2); heatmaps (B, T, h, w); rotations
(B, T, 3) [rad] of policies that turn the hand. Backbone, heads, decoding and unprojection are
inside, the last in 64 bits; any batch size goes.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from para.camera import Camera
from para.errors import ConfigError, one_line
from para.export.config import ExportConfig
from para.extras import require_packages
from para.files import atomic_write
from para.policies.para import ParaPolicy
from para.pretrained import policy_folder
from para.runs.policy_file import load_policy
from para.types import ActionChunk, Inference, Observation

INPUTS = ("image", "intrinsics", "T_world_camera", "ee_position", "gripper")
OUTPUTS = ("positions", "gripper_command", "pixels", "heatmaps", "rotations")
"""The last where the policy turns the hand."""
OPSET = 18


class Exportable(nn.Module):
    """A pixel-aligned policy from image to waypoints, in tensors only.

    Args:
        policy: The policy.
        subcell: Decode finer than a cell.
        told: (1, N) features of its instruction; None where it is told none.
    """

    def __init__(self, policy: ParaPolicy, subcell: bool, told: Tensor | None):
        super().__init__()
        self.policy, self.subcell = policy, subcell
        self.register_buffer("told", told)

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
        positions = camera.unproject_to_height(pixels, decoded.heights.double())
        command = (decoded.gripper > 0.5).float()
        found = positions.float(), command, pixels.float(), decoded.heatmaps
        if decoded.rotations is None:
            return found
        yaw = camera.turn_in_world(positions, decoded.rotations[..., 2].double())
        rotations = torch.cat([decoded.rotations[..., :2], yaw[..., None].float()], -1)
        return *found, rotations


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

    def predict(
        self, observations: Sequence[Observation], inference: Inference | None = None
    ) -> list[ActionChunk]:
        """A plan for each observation; how it decodes was decided when it was exported."""
        feed = dict(zip(INPUTS, arrays(observations), strict=True))
        found = dict(zip(self._names, self._session.run(None, feed), strict=True))
        turned = found.get("rotations")
        return [
            ActionChunk(
                found["positions"][i].astype(np.float64),
                found["gripper_command"][i],
                None if turned is None else turned[i],
                found["heatmaps"][i],
                found["pixels"][i],
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
        ConfigError: It is not pixel-aligned, or needs an instruction, or has parts that cannot be
            exported; or packages are missing.
    """
    if cfg.format == "onnx":
        require_packages("export", "onnx", "onnxruntime", "onnxscript")
    folder = policy_folder(cfg.policy)
    policy, meta = load_policy(folder)
    if not isinstance(policy, ParaPolicy):
        raise ConfigError(
            f"{folder} is of model={meta['config']['model']['name']}: pixel-aligned policies are "
            "exported (model=para, para_volume, keypoint)."
        )
    module = Exportable(policy, cfg.subcell, _told(policy, cfg)).eval().requires_grad_(False)
    example = _example(policy.image_size)
    with torch.no_grad(), _exportable_operators(module, example), _silence():
        try:
            program = torch.export.export(
                module,
                example,
                dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in example),
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
                _write_onnx(program, example, meta, cfg, aside)
    return cfg.path


def _write_onnx(
    program: torch.export.ExportedProgram,
    example: tuple[Tensor, ...],
    meta: dict[str, Any],
    cfg: ExportConfig,
    path: Path,
) -> None:
    import onnx

    made = torch.onnx.export(
        program,
        example,
        input_names=list(INPUTS),
        output_names=list(OUTPUTS[: len(program.graph_signature.user_outputs)]),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    model = made.model_proto
    model.producer_name = "para"
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


def _told(policy: ParaPolicy, cfg: ExportConfig) -> Tensor | None:
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
