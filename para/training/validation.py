"""Watching the policy on held-out demos of the training distribution; chooses nothing."""

from __future__ import annotations

import math

import numpy as np
import torch

from para.training import pictures
from para.training.devices import to_device
from para.training.learner import Learner
from para.training.log import Row
from para.training.state import Run

_SAMPLES = 64
_PICTURES = 8


@torch.no_grad()
def validate(run: Run, learner: Learner, draw: bool) -> tuple[Row, np.ndarray | None]:
    """Loss and 3D error of the averaged policy on held-out demos.

    Args:
        run: Has the demos.
        learner: Has the policy; all processes must call this.
        draw: Also draw some heatmaps.

    Returns:
        val_loss, and val_error_mm (mean distance of waypoints from the demo's, mm) if the policy
        acts and any of them has a place, with val_missed, the number of those without, if any; and
        (H, W, 3) uint8 heatmaps over their images, None if it has none or `draw` is False.
    """
    held_out, accelerator = run.held_out, learner.accelerator
    if held_out is None or not learner.has_part:
        return {}, None
    policy = learner.average.module.eval()
    count = min(len(held_out), _SAMPLES)
    samples = np.linspace(0, len(held_out) - 1, count).round().astype(int)
    loss, misses, distances, observations, chunks = 0.0, 0, [], [], []
    for part in np.array_split(samples, math.ceil(count / run.cfg.training.batch_size)):
        batch = held_out.batch(part)
        torch.manual_seed(0)  # the same noise whenever it is asked
        with accelerator.autocast():
            value = policy.loss(to_device(batch, accelerator.device))["loss"]
        loss += float(value) * len(part) / count
        if policy.cfg.acts:
            observations += pictures.observations_of(batch, held_out.instructions(part))
            chunks += policy.predict(observations[-len(part) :])
            positions = np.stack([chunk.positions for chunk in chunks[-len(part) :]])
            distance = np.linalg.norm(positions - batch["waypoints"].numpy(), axis=-1)
            missed = np.stack([chunk.missed for chunk in chunks[-len(part) :]])
            real = ~batch["padded"].numpy()
            distances.append(distance[real & ~missed])
            misses += int((real & missed).sum())
    if not policy.cfg.acts:
        return {"val_loss": loss}, None
    numbers: Row = {"val_loss": loss}
    if len(known := np.concatenate(distances)):
        numbers["val_error_mm"] = 1e3 * float(known.mean())
    if misses:
        numbers["val_missed"] = misses
    few = np.linspace(0, count - 1, min(_PICTURES, count)).astype(int)
    picture = (
        pictures.draw_heatmaps([observations[i] for i in few], [chunks[i] for i in few])
        if draw
        else None
    )
    return numbers, picture
