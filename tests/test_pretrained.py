"""Policies that come with the code: how one is made of a run, and what all of them are."""

from __future__ import annotations

import re

import pytest
import torch

from para import pretrained
from para.errors import CheckpointError, ConfigError
from para.pretrained import ship
from para.runs.policy_file import load_policy
from tests.runs_fixture import save_untrained

SMALL = [
    "profile=smoke",
    "env.image_size=32",
    "heatmap_size=8",
    "data_dir=a_folder_of_this_machine",
    "workers=1",
]


def test_every_policy_that_is_shipped_loads_and_is_small():
    folders = [pretrained.policy_folder(name) for name in pretrained.names()]
    for folder in folders:
        _, meta = load_policy(folder)
        assert meta["finished"]
        assert meta["config"]["model"]["name"] == folder.name
        assert (folder / "README.md").is_file()
    files = [path for folder in folders for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) < ship.MOST_BYTES


def test_a_run_becomes_a_policy_that_is_shipped(tmp_path, monkeypatch):
    run, into = tmp_path / "run", tmp_path / "into"
    save_untrained(run, SMALL)
    monkeypatch.setattr(ship, "STARTS", 2)
    for _ in range(2):  # the second replaces the first
        folder = ship.ship(run, "tiny_lr", into)
    assert [path.name for path in into.iterdir()] == ["tiny_lr"]
    before, after = run / "policy.safetensors", folder / "policy.safetensors"
    assert after.stat().st_size < 0.6 * before.stat().st_size
    assert "this_machine" not in (folder / "policy.json").read_text()

    (one, _), (other, meta) = load_policy(run), load_policy(folder)
    assert meta["config"]["model"]["name"] == "tiny_lr"
    for key, tensor in other.state_dict().items():
        assert tensor.dtype == one.state_dict()[key].dtype
        torch.testing.assert_close(tensor, one.state_dict()[key], rtol=1e-3, atol=1e-6)
    (moved,) = re.findall(r"more than (\S+) mm", (folder / "README.md").read_text())
    assert 0 < float(moved) < 50

    monkeypatch.setattr(pretrained, "FOLDER", into)
    assert pretrained.names() == ["tiny_lr"]


def test_only_finished_small_policies_with_a_name_are_shipped(tmp_path, monkeypatch):
    save_untrained(tmp_path / "unfinished", SMALL, finished=False)
    save_untrained(tmp_path / "run", SMALL)
    into = tmp_path / "into"
    with pytest.raises(CheckpointError, match="no finished policy"):
        ship.ship(tmp_path / "unfinished", "tiny", into)
    with pytest.raises(ConfigError, match="NAME"):
        ship.ship(tmp_path / "run", "../tiny", into)
    monkeypatch.setattr(ship, "MOST_BYTES", 1000)
    monkeypatch.setattr(ship, "first_observations", lambda cfg: [])
    monkeypatch.setattr(ship, "largest_move_mm", lambda *policies: 0.0)
    with pytest.raises(CheckpointError, match="would take"):
        ship.ship(tmp_path / "run", "tiny", into)
    assert not into.exists() or list(into.iterdir()) == []
