"""Which episodes are shown, by rules, and what it takes to run them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from envs.base import EnvConfig, load_task
from envs.splits import load_split
from para.errors import ConfigError, ResultError, one_line
from para.evaluation.result_set import StoredResult
from para.evaluation.results import MAIN_MODELS
from para.fields import check
from para.figures.episodes import EpisodeTask
from para.figures.sources import NotRun, Sources
from para.places import typed
from para.types import Inference

PAIR_RULE = "the first start on which the policies end differently, else the first start"
SANITY_RULE = "the first start"
GRID_RULE = (
    "up to five of the tested angles in each direction, evenly spread; at each viewpoint the first "
    "test start"
)
PLACES = 3
"""Rows and columns of a grid of places."""
FIRST_RULE = "the first nine test starts"
PLACES_RULE = "the test starts nearest to the middles of nine equal parts of the table"


def pair_results(
    sources: Sources, split: str, models: Sequence[str] = MAIN_MODELS
) -> list[StoredResult]:
    """The result file of each policy on `split` with the lowest seed that most of them have."""
    found = {m: sources.results.select(split, m) for m in models}
    seeds = [r.seed for results in found.values() for r in results]
    if not seeds:
        command = sources.command(split, None if models == MAIN_MODELS else models[0])
        raise NotRun(f"Split {split!r} was not run.", command)
    seed = min(seeds, key=lambda s: (-seeds.count(s), s))
    return [r for results in found.values() for r in results if r.seed == seed]


def choose_start(sources: Sources, results: Sequence[StoredResult], test: str) -> int:
    """Index of the episode to show: `PAIR_RULE` out of distribution, else `SANITY_RULE`."""
    outcomes = [{e["index"]: e["success"] for e in r.episodes(test)} for r in results]
    shared = sorted(set.intersection(*(set(o) for o in outcomes)))
    if not shared:
        raise NotRun(
            f"Test {test!r} of split {results[0].split!r} was not run.",
            sources.command(results[0].split),
        )
    if test == "ood":
        for index in shared:
            if len({o[index] for o in outcomes}) > 1:
                return index
    return shared[0]


@dataclass(frozen=True)
class Board:
    """The starts that a grid of rollouts shows.

    Attributes:
        rows: Headings, from the top.
        columns: Headings, from the left.
        cells: (row, column) -> index of the episode.
        rule: How they were chosen.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[int, int], int]
    rule: str


def choose_grid(result: StoredResult) -> Board:
    """Starts over all that the held-out test varies: viewpoints where there are several, else
    places on the table.
    """
    episodes = result.episodes("ood")
    views = {(e["condition"]["theta_deg"], e["condition"]["phi_deg"]) for e in episodes}
    return _views(episodes) if len(views) > 1 else _places(episodes)


def first_starts(result: StoredResult) -> Board:
    """The first nine held-out starts: where neither viewpoints nor places are what varies."""
    indices = [episode["index"] for episode in result.episodes("ood")][: PLACES**2]
    cells = {divmod(k, PLACES): index for k, index in enumerate(indices)}
    rows, columns = (str(PLACES * k) for k in range(PLACES)), (f"+{k}" for k in range(PLACES))
    return Board(tuple(rows), tuple(columns), cells, FIRST_RULE)


def _views(episodes: Sequence[Mapping[str, Any]]) -> Board:
    first: dict[tuple[float, float], int] = {}
    for episode in episodes:
        condition = episode["condition"]
        view = round(condition["theta_deg"], 2), round(condition["phi_deg"], 2)
        first.setdefault(view, episode["index"])
    thetas = _spread(sorted({theta for theta, _ in first}))
    phis = _spread(sorted({phi for _, phi in first}))
    cells = {
        (i, j): first[theta, phi]
        for i, theta in enumerate(thetas)
        for j, phi in enumerate(phis)
        if (theta, phi) in first
    }
    rows, columns = (f"θ {t:.0f}°" for t in thetas), (f"φ {p:.0f}°" for p in phis)
    return Board(tuple(rows), tuple(columns), cells, GRID_RULE)


def _places(episodes: Sequence[Mapping[str, Any]]) -> Board:
    """Rows from the robot away, columns from left to right, as the camera sees the table."""
    positions = np.array([e["condition"]["position"] for e in episodes])  # (N, 2) x, y [m]
    low, high = positions.min(0), positions.max(0)
    xs, ys = (np.linspace(*ends, 2 * PLACES + 1)[1::2] for ends in zip(low, high, strict=True))
    cells, left = {}, [*range(len(episodes))]
    for i, x in enumerate(xs):
        for j, y in enumerate(ys):
            nearest = min(left, key=lambda k: np.hypot(*(positions[k] - (x, y))))
            left.remove(nearest)
            cells[i, j] = episodes[nearest]["index"]
    rows, columns = (f"{100 * x:.0f} cm" for x in xs), (f"{100 * y:+.0f} cm" for y in ys)
    return Board(tuple(rows), tuple(columns), cells, PLACES_RULE)


def _spread(values: list[float], most: int = 5) -> list[float]:
    if len(values) <= most:
        return values
    return [values[round(i)] for i in np.linspace(0, len(values) - 1, most)]


def recorded_configs(
    sources: Sources, result: StoredResult
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How `result` was evaluated and trained; `NotRun` where it does not say."""
    config = result.data["config"]
    evaluation, training = (config.get(name) or {} for name in ("evaluation", "training"))
    split = training.get("split") or {}
    if not (evaluation.get("batch") and evaluation.get("env") and split.get("train_set")):
        command = f"{sources.command(result.split, result.model)} fresh=true"
        raise NotRun(f"{result.path} does not say how to run its episodes again.", command)
    return evaluation, training


def run_folder(sources: Sources, result: StoredResult) -> Path:
    """The training run that `result` evaluated.

    Raises:
        NotRun: It is not on this machine, or has been trained again since.
    """
    from para.runs.folders import find_runs, learned_in
    from para.runs.policy_file import read_policy_meta

    _, trained = recorded_configs(sources, result)
    train_set = trained["split"]["train_set"]
    names = ("model", "backbone", "augment", "seed")
    policy = {name: getattr(result.id, name) for name in names}
    setting = learned_in(sources.setting, load_split(result.split))
    folders = find_runs(sources.runs_dir, setting, sources.profile, train_set, **policy)
    if not folders:
        raise NotRun(
            f"The checkpoint of {result.model} on {result.split} is not in {sources.runs_dir}.",
            sources.command(result.split, result.model),
        )
    meta = read_policy_meta(folders[0])
    now, then = meta.get("training", {}), result.data["training"]
    if any(now.get(name) != then[name] for name in ("steps", "minutes")):
        raise NotRun(
            f"{result.path} evaluated another training run than the one in {folders[0]} (then "
            f"{then['steps']} steps in {then['minutes']} min, now {now.get('steps')} in "
            f"{now.get('minutes')}).",
            f"{typed('eval')} model={result.id.model} split={result.split}",
        )
    return folders[0]


def episode_task(
    sources: Sources,
    result: StoredResult,
    test: str,
    index: int,
    size: int,
    stride: int,
    **more: Any,
) -> EpisodeTask:
    """The recorded episode `index` as a task, with the chunk that it was evaluated in.

    Raises:
        NotRun: Its policy is not on this machine (see `run_folder`), or the simulated world has
            changed since: the episode would go another way.
    """
    simulated = load_task(sources.setting.task).version
    if result.version != simulated:
        raise NotRun(
            f"{result.path} is of physics {result.version} and this code simulates physics "
            f"{simulated}: its episodes cannot be filmed.",
            sources.command(result.split, result.model),
        )
    evaluated, _ = recorded_configs(sources, result)
    episodes = result.episodes(test)
    batch = evaluated["batch"]
    chunk = [e for e in episodes if e["index"] // batch == index // batch]
    record = next(e for e in chunk if e["index"] == index)
    return EpisodeTask(
        source=str(result.path),
        run_dir=str(run_folder(sources, result)),
        robot=result.id.setting.robot,
        layout=result.id.setting.layout,
        env=_environment(result, evaluated["env"]),
        conditions=tuple(e["condition"] for e in chunk),
        place=chunk.index(record),
        index=index,
        test=test,
        stage=record["stage"],
        meaning=sources.stage(record["stage"]).meaning,
        success=record["success"],
        steps=record["steps"],
        inference=Inference(
            **{f.name: evaluated[f.name] for f in fields(Inference) if f.name in evaluated}
        ),
        size=size,
        stride=stride,
        overlay=more.get("overlay", False),
        out="",
    )


def _environment(result: StoredResult, values: dict[str, Any]) -> dict[str, Any]:
    """The `EnvConfig` that `result` was evaluated with, as plain data."""
    try:
        env = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(EnvConfig), values))
        check(env)
    except (OmegaConfBaseException, ConfigError) as error:
        raise ResultError(
            f"{result.path} says that it was evaluated in an environment that there is not: "
            f"{one_line(error)}. Evaluate again: {typed('eval')} model={result.id.model} "
            f"split={result.split}"
        ) from error
    return asdict(env)


def video_inputs(sources: Sources, split: str, models: Sequence[str] = MAIN_MODELS) -> list[Path]:
    """Result files and weights behind the videos of `split`."""
    results = pair_results(sources, split, models)
    weights = [run_folder(sources, r) / "policy.safetensors" for r in results]
    return [*(r.path for r in results), *weights]
