"""The picture of the tasks: a row of moments of an expert that succeeds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from para.figures import task_sheet


def test_a_row_shows_an_episode_from_start_to_end(monkeypatch):
    monkeypatch.setattr(task_sheet, "SIDE", 48)
    monkeypatch.setattr(task_sheet, "CAMERA", replace(task_sheet.CAMERA, image_size=48))
    row = task_sheet.task_row("stack_blocks", robot="hand")
    step = 48 + task_sheet.GAP
    assert row.shape == (48, task_sheet.MOMENTS * step - task_sheet.GAP, 3)
    frames = [row[:, k * step :][:, :48].astype(int) for k in range(task_sheet.MOMENTS)]
    changes = [np.abs(a - b).max() for a, b in pairwise(frames)]
    assert min(changes) > 40  # in every frame something has moved
