"""Result files: one JSON per (setting, profile, split, policy, seed), the source of every number.

Schema 2 (fields are added, never renamed or removed; schema 1 is read through `convert`):

    schema, split, model, seed, created, git          what was evaluated, when, with which code
    environment {task, robot, layout, stages}         stages in order, success last
    robot, layout, profile
    backbone    {name, init}                          init: random | pretrained | file
    training    {minutes, steps, demos, ...}
    hardware    {...}
    config      {evaluation, training}                resolved, as plain data
    evaluation  {key, seconds}                        key: what the outcome depends on, as a hash
    episodes    [{index, seed, test, condition, stage, success, steps, place_error_m, seconds,
                  plans, misses, objects}, ...]

`condition` holds task, objects (name -> x, y [m], yaw [rad]), position (their mean x and y [m]),
theta_deg, phi_deg, distractors (a number), seed. `test` is ood | sanity; `steps` are control steps
of 20 ms; `objects` of an episode are final positions (x, y, z) [m] by name; `seconds` is wall time
and, like created, hardware and minutes, the only thing that differs between two runs of the same
evaluation. Where a file lies is said by `para.runs.identity.ResultId`, and `read_result` checks it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from envs.splits import TESTS
from para.errors import ResultError
from para.evaluation.convert import from_schema_1
from para.files import atomic_write_json
from para.places import typed
from para.runs.identity import ResultId, Setting
from para.statistics import Comparison, Rate, mcnemar

SCHEMA = 2
FILE_NAMES = {"ood": "test", "sanity": "sanity"}
"""Name of a test in the names of videos and figures."""

MAIN_MODELS = ("para", "regression")
"""The two policies that every comparison shows, in this order."""

Result = dict[str, Any]

_NUMBER = (int, float)
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "split": str,
    "model": str,
    "seed": int,
    "created": str,
    "git": str,
    "profile": str,
    "environment": dict,
    "backbone": dict,
    "training": dict,
    "hardware": dict,
    "config": dict,
    "episodes": list,
}
_EPISODE_FIELDS: dict[str, type | tuple[type, ...]] = {
    "index": int,
    "seed": int,
    "test": str,
    "condition": dict,
    "stage": str,
    "success": bool,
    "steps": int,
    "place_error_m": _NUMBER,
    "seconds": _NUMBER,
}


def result_id(result: Result) -> ResultId:
    """What a result is of."""
    environment, backbone = result["environment"], result["backbone"]["name"]
    return ResultId(
        Setting(environment["task"], environment["robot"], environment["layout"]),
        *(result["profile"], result["split"]),
        *(result["model"].removesuffix(f"-{backbone}"), backbone, result["seed"]),
    )


def write_result(path: Path | str, result: Result) -> None:
    """Validate a result and write it atomically."""
    _validate(result, str(path))
    atomic_write_json(path, result)


def read_result(path: Path | str) -> Result:
    """Read and validate a result file; `ResultError` names the file and what is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ResultError(f"Cannot read result {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ResultError(f"{path} is not a result file: it is not text.") from error
    try:
        result = json.loads(text)
    except json.JSONDecodeError as error:
        raise ResultError(
            f"{path} is damaged: {error}. Delete it and evaluate again with {typed('eval')}."
        ) from error
    if isinstance(result, dict) and result.get("schema") == 1:
        try:
            result = from_schema_1(result)
        except (KeyError, TypeError, AttributeError) as error:
            raise ResultError(
                f"{path} is not a usable result: it says schema 1, but cannot be read as such "
                f"({type(error).__name__}: {error}). Delete it and evaluate again."
            ) from error
    _validate(result, str(path))
    return result


def model_order(label: str) -> tuple[int, str]:
    """Sort key of policies: the main ones first, then the others by name."""
    order = MAIN_MODELS.index(label) if label in MAIN_MODELS else len(MAIN_MODELS)
    return order, label


def physics_version(result: Result) -> int:
    """Version of the simulated world: results of different ones are never paired or pooled."""
    return result["environment"].get("version", 1)


def total_steps(result: Result) -> int:
    """Optimiser steps of all stages: those of the policy's run, and of those that it began with."""
    stage = result["config"].get("training", {}).get("stage") or {}
    return result["training"]["steps"] + int(stage.get("after_steps") or 0)


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


def compare(first: Result, second: Result, test: str = "ood") -> Comparison:
    """Exact McNemar test of two results on the episodes that both have run.

    Raises:
        ResultError: Episodes of the same index did not start from the same condition.
    """
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


def _validate(result: Any, source: str) -> None:
    def require(condition: bool, message: str) -> None:
        if not condition:
            raise ResultError(
                f"{source} is not a usable result: {message}. Delete it and evaluate again with "
                f"{typed('eval')}."
            )

    require(isinstance(result, dict) and "schema" in result, "it has no schema number")
    if result["schema"] != SCHEMA:
        raise ResultError(
            f"{source} has schema {result['schema']!r}; this version reads schemas 1 and {SCHEMA}. "
            f"Evaluate again with {typed('eval')}, or move the file out of the results folder."
        )
    _require_fields(result, _FIELDS, "", require)
    require({"name", "init"} <= result["backbone"].keys(), "backbone needs name and init")
    require({"minutes", "steps", "demos"} <= result["training"].keys(), "training is incomplete")
    environment = result["environment"]
    require(
        {"task", "robot", "layout", "stages"} <= environment.keys(), "environment is incomplete"
    )
    stages = environment["stages"]
    require(isinstance(stages, list) and bool(stages), f"stages are {stages!r}")
    seen = set()
    for number, episode in enumerate(result["episodes"]):
        require(isinstance(episode, dict), f"episode {number} is not an object")
        _require_fields(episode, _EPISODE_FIELDS, f" of episode {number}", require)
        require(episode["test"] in TESTS, f"episode {number}: test {episode['test']!r}")
        require(episode["stage"] in stages, f"episode {number}: stage {episode['stage']!r}")
        require(
            episode["success"] == (episode["stage"] == stages[-1]),
            f"episode {number}: success {episode['success']} in stage {episode['stage']}",
        )
        missing = _CONDITION_FIELDS - episode["condition"].keys()
        require(not missing, f"condition of episode {number} has no {', '.join(sorted(missing))}")
        require((episode["test"], episode["index"]) not in seen, f"episode {number} is there twice")
        seen.add((episode["test"], episode["index"]))


_CONDITION_FIELDS = {"task", "objects", "position", "theta_deg", "phi_deg", "distractors"}


def _require_fields(values: dict, fields: dict, where: str, require: Any) -> None:
    for name, kind in fields.items():
        require(name in values, f"{name}{where} is missing")
        value = values[name]
        good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        require(good, f"{name}{where} is {value!r}")
        if isinstance(value, float):
            require(math.isfinite(value), f"{name}{where} is {value!r}")
