"""Result files: one JSON per (setting, profile, starts, split, policy, seed), all numbers' source.

What they hold: para/evaluation/schema.py. Where a file lies is said by
`para.runs.identity.ResultId`, and `StoredResult.read` checks it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baselines.floors import FLOORS
from envs.episodes import FIXED
from envs.splits import STARTS
from para.data.config import named
from para.errors import ResultError, one_line
from para.evaluation.convert import from_schema_1
from para.evaluation.schema import ResultRecord
from para.files import MOST_BYTES, atomic_write_json, read_json, seal
from para.places import typed
from para.runs.identity import ResultId, Setting
from para.statistics import Comparison, Rate, mcnemar

SCHEMA = 2
FILE_NAMES = {"ood": "test", "sanity": "sanity"}
"""Name of a test in the names of videos and figures."""

MAIN_MODELS = ("para", "regression")
"""The two policies that every comparison shows, in this order."""

Result = dict[str, Any]


def setting_of_result(result: Result) -> Setting:
    """What its episodes were made in; where a file says no appearance it is `FIXED`."""
    environment = result["environment"]
    parts = (environment[part] for part in ("task", "robot", "layout"))
    return Setting(*parts, environment.get("appearance", FIXED))


def result_id(result: Result) -> ResultId:
    """What a result is of."""
    backbone = result["backbone"]["name"]
    model = result["model"].partition("@")[0].removesuffix(f"-{backbone}")
    return ResultId(
        setting_of_result(result),
        *(result["profile"], starts_of(result), result["split"]),
        *(model, backbone, augment_of(result), result["seed"]),
    )


def starts_of(result: Result) -> str:
    """dev | final: which draw of the tests; files of before there were two have the first."""
    return result.get("starts", STARTS[0])


def augment_of(result: Result) -> str:
    """Name of the augmentation, as far as the policy followed it."""
    recorded = result["config"].get("training", {}).get("augment") or {}
    return result.get("augment") or named(recorded)["name"]


def write_result(path: Path | str, result: Result) -> None:
    """Validate a result and write it atomically, with the checksum of its content.

    Raises:
        ResultError: It is no result, or so large that it could not be read again.
    """
    _validate(result, str(path))
    sealed = seal(result)
    if len(json.dumps(sealed, indent=1)) > MOST_BYTES:
        raise ResultError(
            f"{path} would be larger than {MOST_BYTES // 2**20} MiB. Evaluate fewer episodes."
        )
    atomic_write_json(path, sealed)


def read_result(path: Path | str) -> Result:
    """Read and validate a result file; `ResultError` names the file and what is wrong with it."""
    result = read_json(path, ResultError, _way_on())
    if _schema(result) == 1:
        try:
            result = from_schema_1(result)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ResultError(
                f"{path} is not a usable result: it says schema 1, but cannot be read as such "
                f"({type(error).__name__}: {error}). {_way_on()}"
            ) from error
    _validate(result, str(path))
    return result


def _way_on() -> str:
    return f"Delete it and evaluate again with {typed('eval')}."


def model_order(label: str) -> tuple[int, str]:
    """Sort key of policies: the main ones first, others by name, floors, the ceiling."""
    last = [*MAIN_MODELS, "", *FLOORS]
    order = last.index(label if label in last else "")
    return order, label


def world(result: Result) -> tuple[int, bool]:
    """What results must share to be paired or pooled: physics, and which draw of the tests.

    Of several worlds the greatest is the one to show: the newest, and final starts above dev ones.
    """
    return physics_version(result), starts_of(result) == "final"


def world_words(world: tuple[int, bool]) -> str:
    """What `world` gives in words: physics 2, final starts."""
    version, final = world
    return f"physics {version}, {'final' if final else 'dev'} starts"


def physics_version(result: Result) -> int:
    """Version of the simulated world: results of different ones are never paired or pooled."""
    return result["environment"].get("version", 1)


def total_steps(result: Result) -> int:
    """Optimiser steps of all stages: those of the policy's run, and of those that it began with."""
    stage = result["config"].get("training", {}).get("stage") or {}
    return result["training"]["steps"] + int(stage.get("after_steps") or 0)


def training_precision(result: Result) -> str:
    """What the optimisation computed in, bf16 or fp32; empty where nothing says so."""
    return str(result["config"].get("training", {}).get("training", {}).get("precision", ""))


def stage_steps(result: Result) -> str:
    """Optimiser steps of the earlier stages and of the policy's own run: "600 + 200", or "800"."""
    steps = result["training"]["steps"]
    earlier = total_steps(result) - steps
    return f"{earlier} + {steps}" if earlier else str(steps)


def total_minutes(result: Result) -> float:
    """Training time of all stages [min]."""
    minutes, training = 0.0, result["training"]
    while training:
        minutes += training["minutes"]
        start = training.get("start") or {}
        training = start and start["training"] | {"start": start["start"]}
    return minutes


def reads_video(result: Result) -> bool:
    """Is the policy's backbone a video model?"""
    backbone = result["config"].get("training", {}).get("backbone") or {}
    return backbone.get("kind") == "video"


def outcomes(result: Result, test: str) -> list[bool]:
    """Success of each episode of a test, by index."""
    return [episode["success"] for episode in _episodes(result, test)]


def success_rate(result: Result, test: str = "ood") -> Rate:
    """Success rate of a test; n = 0 ("not run") if the result has no such episodes."""
    return Rate.of(outcomes(result, test))


def stage_counts(result: Result, test: str = "ood") -> dict[str, int]:
    """Number of episodes that ended in each of the task's stages, success last."""
    counts = Counter(episode["stage"] for episode in _episodes(result, test))
    return {stage: counts[stage] for stage in result["environment"]["stages"]}


def rates_by_theta(result: Result, test: str = "ood") -> dict[float, Rate]:
    """Success rate at each polar angle [deg] of the viewpoint, in increasing order."""
    groups: dict[float, list[bool]] = {}
    for episode in _episodes(result, test):
        groups.setdefault(episode["condition"]["theta_deg"], []).append(episode["success"])
    return {theta: Rate.of(groups[theta]) for theta in sorted(groups)}


def rates_by_level(results: Sequence[Result], test: str = "ood") -> dict[tuple[str, float], Rate]:
    """Success rate at each level of a sweep, as evaluated: (what, level), undisturbed ("", 0).

    Args:
        results: One per training seed, on the same starts.
        test: ood | sanity.
    """
    groups: dict[tuple[str, float], list[list[bool]]] = {}
    for k, result in enumerate(results):
        for episode in _episodes(result, test):
            level = next(iter(episode["condition"].get("perturbed", {}).items()), ("", 0.0))
            group = groups.setdefault(level, [[] for _ in results])
            group[k].append(episode["success"])
    return {level: Rate.over_seeds(successes) for level, successes in groups.items()}


def compare(first: Result, second: Result, test: str = "ood") -> Comparison:
    """Exact McNemar test of two results on the episodes that both have run.

    Raises:
        ResultError: Episodes of the same index did not start from the same condition, or the
            simulated world was another one.
    """
    versions = physics_version(first), physics_version(second)
    if starts_of(first) != starts_of(second):
        raise ResultError(
            f"{first['model']} was evaluated on {starts_of(first)} starts, {second['model']} on "
            f"{starts_of(second)} ones: they cannot be compared. Evaluate both with the same "
            "starts=..."
        )
    if versions[0] != versions[1]:
        raise ResultError(
            f"{first['model']} was evaluated with physics {versions[0]}, {second['model']} with "
            f"physics {versions[1]}: they cannot be compared. Evaluate the older one again."
        )
    ours = {episode["index"]: episode for episode in _episodes(first, test)}
    theirs = {episode["index"]: episode for episode in _episodes(second, test)}
    common = sorted(ours.keys() & theirs.keys())
    for index in common:
        if ours[index]["condition"] != theirs[index]["condition"]:
            raise ResultError(
                f"{first['model']} and {second['model']} were not tested on the same starts: "
                f"episode {index} of {first['split']} {test} differs. Evaluate both again."
            )
    return mcnemar([ours[i]["success"] for i in common], [theirs[i]["success"] for i in common])


def _episodes(result: Result, test: str) -> list[dict[str, Any]]:
    chosen = (episode for episode in result["episodes"] if episode["test"] == test)
    return sorted(chosen, key=lambda episode: episode["index"])


def _validate(result: Result, source: str) -> None:
    if _schema(result) != SCHEMA:
        has = (
            f"has schema {one_line(result['schema'])}"
            if "schema" in result
            else "has no schema number"
        )
        raise ResultError(
            f"{source} {has}; this version reads schemas 1 and {SCHEMA}. Evaluate again with "
            f"{typed('eval')}, or move the file out of the results folder."
        )
    try:
        ResultRecord.check(result)
    except ValueError as error:
        raise ResultError(f"{source} is not a usable result: {error}. {_way_on()}") from error


def _schema(result: Result) -> int | None:
    number = result.get("schema")
    return number if type(number) is int else None


def benchmark(results_dir: Path, name: str) -> dict[str, Any] | None:
    """What benchmarks/<name>.py wrote, if it was run."""
    path = results_dir / "benchmarks" / f"{name}.json"
    if not os.path.lexists(path):
        return None
    return read_json(path, ResultError, f"Run: python benchmarks/{name}.py")
