"""What the panel beside an evaluated episode tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.base import EnvConfig, load_task
from para.figures import recorder as module
from para.figures.recorder import VideoRecorder

TOLD = slice(module.VIEW[0] + module.VIEW[2] + 22, module.VIEW[0] + module.VIEW[2] + 40)
"""Rows of the instruction [px]."""


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is written."""
    written: list[str] = []
    draw = module.draw_text

    def noting(picture: np.ndarray, text: str, *args, **options) -> None:
        written.append(text)
        draw(picture, text, *args, **options)

    monkeypatch.setattr(module, "draw_text", noting)
    return written


def test_the_instruction_stands_beside_the_film(tmp_path: Path, words: list[str]):
    task = load_task("pick_named")
    env = task.environment("hand", "independent", EnvConfig(image_size=32))
    start = task.random(np.random.default_rng(0), "independent", named=task.namings[0])
    env.begin(start)
    recorder = VideoRecorder(tmp_path, "film", "para", "a test", "")
    panel = recorder._panel(env)
    assert "put the red bowl on the blue plate" in words
    assert (panel[TOLD] != panel[TOLD].min(axis=(0, 1))).any()
    recorder.discard()


def test_a_long_instruction_takes_two_lines_and_no_more(tmp_path: Path, words: list[str]):
    task = load_task("bowl_on_plate")
    task.instruction = "put the bowl " + "between this and that " * 9
    env = task.environment("hand", "together", EnvConfig(image_size=32))
    env.begin(task.random(np.random.default_rng(0), "together"))
    recorder = VideoRecorder(tmp_path, "film", "para", "a test", "")
    recorder._panel(env)
    (told,) = (text for text in words if text.startswith("put the bowl"))
    assert told.count("\n") == 1
    assert told.endswith(" ...")
    assert max(map(len, told.splitlines())) <= module.TOLD
    recorder.discard()


@pytest.mark.parametrize("model", ["para", "para_lr-resnet18@colour", "diffusion_camera-resnet18"])
def test_the_whole_name_of_a_policy_is_read(tmp_path: Path, model: str):
    env = load_task("bowl_on_plate").environment("hand", "together", EnvConfig(image_size=32))
    env.begin(env.task.random(np.random.default_rng(0), "together"))
    recorder = VideoRecorder(tmp_path, "film", model, "a test", "")
    name = recorder._panel(env)[8:45]
    margin = module.VIEW[1]
    assert (name[:, margin:-margin] != name[0, 0]).any()
    assert (name[:, -margin:] == name[0, 0]).all()
    recorder.discard()
