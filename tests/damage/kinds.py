"""The kinds of files that PARA writes and reads again: an intact one of each, and its reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from para.data.format import check_dataset, episode_path
from para.errors import ResultError
from para.evaluation.journal import Journal
from para.evaluation.result_set import ResultSet
from para.evaluation.results import write_result
from para.files import atomic_write_json, seal
from para.policies.base import build_policy
from para.runs.config import TrainConfig
from para.runs.folders import run_dir
from para.runs.log import read_log
from para.runs.policy_file import (
    load_policy,
    policy_config,
    read_policy_meta,
    require_weights,
    save_policy,
)
from para.training.checkpoint import load_checkpoint, save_checkpoint
from para.training.claims import claimed
from para.training.log import RunLog
from tests.damage.alterations import Alteration, of_bytes, of_json, of_lines, of_place
from tests.data.synthetic_demos import make_dataset
from tests.results_fixture import make_result, result_path
from tests.runs_fixture import policy_meta
from tests.training.tiny import tiny_config

STAGES = ("MISS", "GRASP", "PLACE")
STEPS = 60
JOURNAL = "unfinished.jsonl"
KEYS: dict[str, Callable[[bytes, bool], Iterator[Alteration]]] = {
    "json": of_json,
    "lines": of_lines,
}
"""How the keys of a kind of file are altered; others have none."""
NOTHING = ("missing", "empty file")
"""Alterations that leave what is there before anything was written."""
EPISODE = ("*condition.objects.*.0 negative", "*condition.phi_deg negative")
"""A yaw or an azimuth."""
RESULT = (
    *(
        "missing",
        "config.*",
        "hardware.* missing",
        "hardware.* null",
        "*evaluation missing",
        "evaluation.seconds missing",
    ),
    *("environment.stages.0 missing", *EPISODE),
)
POLICY = (
    *("config.* missing", "config.*_dir *", "config.workers null", "config.model.title null"),
    *("config.limit null", "config.env.camera_elevation_deg negative"),
    *("config.model.head.height_min negative", "environment missing", "losses.*", "start null"),
    *("hardware.* missing", "hardware.* null"),
)
"""What files of before there was a key lack has its default; a run may have no start or limit."""
CONFIG = ("*_dir *", "plugins*", "* missing")
"""Where files lie and how much is logged is no part of what is trained; null is what is missing."""
STATE = (
    *("window.sums.*", "loss_means.*", "optimizer_groups.0 missing"),
    "optimizer_groups.0.params.0 missing",
)


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: For tables.
        make: Makes an intact file, and what belongs to it, in a folder; returns its path.
        read: Reads it through what PARA reads it with; the folder is the one that was made.
        form: json | lines | other.
        sealed: Does it have a checksum?
        free: Alterations (patterns of their names) that leave another sound value, or that are
            no damage, as that the file is not there.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    form: str = "json"
    sealed: bool = True
    free: tuple[str, ...] = ()

    def may_be(self, alteration: Alteration) -> bool:
        """Can an intact file look as this alteration leaves it?"""
        unseen = alteration.forged or not self.sealed
        flipped = unseen and alteration.name.startswith("bit of byte")
        return flipped or (
            (unseen or alteration.name in NOTHING)
            and any(fnmatch(alteration.name.removeprefix("line 2: "), each) for each in self.free)
        )

    def alterations(self, content: bytes, rng: np.random.Generator) -> list[Alteration]:
        """Everything that is done to a file with this content."""
        keys = KEYS[self.form](content, self.sealed) if self.form in KEYS else ()
        return list(chain(of_place(), of_bytes(content, rng), keys))


def _result(folder: Path) -> Path:
    for seed in (0, 1):
        result = make_result("lr", seed=seed, ood=3, sanity=2)
        result["backbone"]["name"] = "resnet10"
        result["hardware"] = {"cpu": "A CPU", "cores": 2, "memory_gb": 8.0, "gpus": ["A GPU"]}
        result["config"] |= {"evaluation": {"batch": 8}, "training": {"stage": None}}
        result["evaluation"] = {"key": "0123456789abcdef", "seconds": 9.5}
        path = result_path(folder, result)
        write_result(path, result)
    return path


def _old_result(folder: Path) -> Path:
    path = _result(folder)
    content = json.loads(path.read_text())
    del content["checksum"]
    path.write_text(json.dumps(content))
    return path


def _read_results(folder: Path) -> Any:
    """All results by their files; the damaged one must be named, and its neighbour there."""
    found = ResultSet.load(folder)
    names = [str(result.path.relative_to(folder)) for result in found.results]
    if found.left_out:
        assert any(name.endswith("seed0.json") for name in names), "the neighbour is gone, too"
        (item,) = found.left_out
        raise ResultError(f"{item.name}: {item.reason}")
    return dict(zip(names, [result.data for result in found.results], strict=True))


def _journal(folder: Path) -> Path:
    path, episodes = folder / JOURNAL, make_result("lr", ood=6, sanity=0)["episodes"]
    journal = Journal(path, "key", STAGES)
    for chunk in range(3):
        journal.add("ood", chunk, episodes[2 * chunk : 2 * chunk + 2])
    return path


def _read_journal(folder: Path) -> Any:
    return Journal(folder / JOURNAL, "key", STAGES).chunks


def _checkpoint(folder: Path) -> Path:
    group = {"params": [0], "lr": 0.1, "peak_lr": 0.1, "betas": [0.9, 0.999], "eps": 1e-8}
    for step in (30, 40):
        weights = {"w": torch.full((3, 2), step / 3)}
        parts = {"policy": weights, "ema": weights, "optimizer": weights}
        state = {
            "step": step,
            "seconds": 1.5 * step,
            "window": {"steps": 1, "seconds": 0.5, "sums": {"loss": 2.0}},
            "threads": 1,
            "loss_means": {"policy": 1.5},
            "optimizer_groups": [group | {"weight_decay": 0.0}],
            "scaler": None,
        }
        save_checkpoint(folder, parts, state)
    return folder / "checkpoint" / "state.json"


@cache
def _composed() -> TrainConfig:
    return tiny_config(Path())


def _tiny(folder: Path) -> TrainConfig:
    return replace(_composed(), runs_dir=str(folder))


def _policy(folder: Path) -> Path:
    cfg = _tiny(folder)
    place = run_dir(cfg)
    torch.manual_seed(0)
    weights = build_policy(cfg.model, cfg.backbone, cfg.env.image_size).state_dict()
    start = {"run": "video-tiny/seed0", "training": policy_meta(cfg)["training"]}
    start |= {"sha256": "0" * 64, "start": None}
    save_policy(place, weights, policy_meta(cfg, start=start))
    return place / "policy.json"


def _weights(folder: Path) -> Path:
    return _policy(folder).with_name("policy.safetensors")


def _read_meta(folder: Path) -> Any:
    """All that evaluation does with policy.json before it builds the policy."""
    place = run_dir(_tiny(folder))
    meta = read_policy_meta(place)
    policy_config(place, meta)
    require_weights(place, meta)
    return meta


def _read_policy(folder: Path) -> Any:
    policy, meta = load_policy(run_dir(_tiny(folder)))
    return meta, {name: tensor.tolist() for name, tensor in policy.state_dict().items()}


def _config(folder: Path) -> Path:
    """A config.json beside the policy.json that has the same, and a checkpoint."""
    path = _policy(folder).with_name("config.json")
    path.with_name("checkpoint").mkdir()
    config = json.loads(path.with_name("policy.json").read_text())["config"]
    atomic_write_json(path, seal(config))
    return path


def _lone_config(folder: Path) -> Path:
    path = _config(folder)
    path.with_name("policy.json").unlink()
    return path


def _read_config(folder: Path) -> Any:
    """What training does before it goes on: is it a run of this configuration, is it finished?"""
    cfg, this = _tiny(folder), SimpleNamespace(is_main_process=True)
    with claimed(run_dir(cfg), cfg, this, wait=False) as finished:
        return finished is not None


def _log(folder: Path) -> Path:
    log = RunLog(folder, 0)
    for step in (20, 40, 60):
        log.write({"step": step, "loss": 3 / step, "val_loss": 4 / step, "minutes": step / 100})
    return log.path


def _demo(folder: Path) -> Path:
    return episode_path(make_dataset(folder, episodes=3, frames=4, size=16), 1)


KINDS = (
    Kind("result", _result, _read_results, free=RESULT),
    Kind("result without checksum", _old_result, _read_results, sealed=False, free=RESULT),
    Kind(
        "journal",
        _journal,
        _read_journal,
        "lines",
        free=("missing", "episodes.0 missing", *EPISODE),
    ),
    Kind("state.json", _checkpoint, lambda f: load_checkpoint(f, STEPS)[1], free=STATE),
    Kind("policy.json", _policy, _read_meta, free=POLICY),
    Kind("policy.safetensors", _weights, _read_policy, "other"),
    Kind("config.json", _config, _read_config, free=CONFIG),
    Kind("config.json, no policy", _lone_config, _read_config, free=CONFIG),
    Kind("log.jsonl", _log, read_log, "lines", free=(*NOTHING, "* missing", "* negative")),
    Kind("demo", _demo, lambda f: check_dataset(f, range(3)), "other"),
)
