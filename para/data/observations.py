"""Samples of demos as what a policy sees when it acts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from para.camera import Camera
from para.doubles import double_array
from para.types import Observation


def observations_of(
    batch: dict[str, Tensor], instructions: Sequence[str] | None = None
) -> list[Observation]:
    """The samples of a batch (para/data/dataset.py) as what a policy sees when it acts.

    `instructions`: of the samples, `DemoDataset.instructions`; None: none is told.
    """
    images = (batch["image"].clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    height, width = images.shape[1:3]
    arrays = {k: double_array(batch[k]) for k in ("intrinsics", "T_world_camera")}
    ee_position = double_array(batch["ee_position"])
    gripper = batch["gripper"].cpu().numpy()
    return [
        Observation(
            image=images[i],
            camera=Camera(arrays["intrinsics"][i], arrays["T_world_camera"][i], width, height),
            ee_position=ee_position[i],
            gripper=float(gripper[i]),
            instruction=instructions[i] if instructions else "",
        )
        for i in range(len(images))
    ]
