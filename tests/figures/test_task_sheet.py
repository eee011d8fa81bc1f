"""The pictures of the tasks: moments of an expert that succeeds, and LIBERO's scenes, swapped."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from envs.base import load_task
from para.figures import swap_sheet, task_sheet


@pytest.mark.long
def test_a_row_shows_an_episode_from_start_to_end(monkeypatch):
    monkeypatch.setattr(task_sheet, "SIDE", 48)
    monkeypatch.setattr(task_sheet, "CAMERA", replace(task_sheet.CAMERA, image_size=48))
    row = task_sheet.task_row("stack_blocks", robot="hand")
    step = 48 + task_sheet.GAP
    assert row.shape == (48, task_sheet.MOMENTS * step - task_sheet.GAP, 3)
    frames = [row[:, k * step :][:, :48].astype(int) for k in range(task_sheet.MOMENTS)]
    changes = [np.abs(a - b).max() for a, b in pairwise(frames)]
    assert min(changes) > 40  # in every frame something has moved


@pytest.mark.long
def test_a_scene_stands_over_its_swap(monkeypatch):
    monkeypatch.setattr(swap_sheet, "SIDE", 96)
    both = swap_sheet.pair(load_task("libero_spatial_3")).astype(int)
    assert both.shape == (192, 96, 3)
    usual, swapped = both[40:96], both[136:]  # below what is written
    changed = np.abs(usual - swapped).max(-1) > 60
    assert 0.05 < changed.mean() < 0.6
