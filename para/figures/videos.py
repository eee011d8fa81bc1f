"""Videos of recorded episodes: pairs on the same start, grids over viewpoints, heatmaps, demos.

All show the scene twice as fast as it happened. Which episodes are shown is decided by rules
(`PAIR_RULE`, `SANITY_RULE`, `GRID_RULE`), never by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from para.errors import ResultError
from para.evaluation.results import FILE_NAMES
from para.figures.build import Film, Media
from para.figures.charts import SPLIT_TITLES
from para.figures.episodes import EpisodeTask
from para.figures.sources import MAIN_MODELS, NotRun, Result, Sources, run_command
from para.figures.style import DARK, FAIL_RED, STAGE_MEANING, SUCCESS_GREEN, model_style
from para.files import atomic_write
from para.types import Inference
from para.video import draw_text, probe_video, write_video

PAIR_RULE = "the first start on which PARA and ACT end differently, else the first start"
SANITY_RULE = "the first start"
GRID_RULE = (
    "up to five of the tested angles in each direction, evenly spread; at each viewpoint the first "
    "test start"
)
FPS = 25
STRIDE = 4
"""Control steps of 20 ms per frame: twice as fast as it happened."""
GRID_FPS, GRID_STRIDE = 10, 10
CLIP, CELL = 384, 160
"""Size of a clip, and of a cell of a grid [px]."""
CLIP_BYTES, GRID_BYTES = 400_000, 3_000_000
HOLD_S = 1.5
"""The last frame, with the outcome, stays for this long."""

_TEST_NAMES = {("nf", "sanity"): "sanity2", ("distractor", "ood"): "contrast"}
"""Where the published media call a test otherwise."""


# --- which episodes ------------------------------------------------------------------------------


def pair_results(sources: Sources, split: str) -> list[Result]:
    """The result file of each policy on `split` with the lowest seed that most of them have."""
    found = {m: sources.results.select(split, m) for m in MAIN_MODELS}
    seeds = [r.seed for results in found.values() for r in results]
    if not seeds:
        raise NotRun(f"Split {split!r} was not run.", run_command(split))
    seed = min(seeds, key=lambda s: (-seeds.count(s), s))
    return [r for results in found.values() for r in results if r.seed == seed]


def choose_start(results: Sequence[Result], test: str) -> int:
    """Index of the episode to show: `PAIR_RULE` out of distribution, else `SANITY_RULE`."""
    outcomes = [{e["index"]: e["success"] for e in r.episodes(test)} for r in results]
    shared = sorted(set.intersection(*(set(o) for o in outcomes)))
    if not shared:
        raise NotRun(
            f"Test {test!r} of split {results[0].split!r} was not run.",
            run_command(results[0].split),
        )
    if test == "ood":
        for index in shared:
            if len({o[index] for o in outcomes}) > 1:
                return index
    return shared[0]


def choose_grid(result: Result) -> tuple[list[float], list[float], dict[tuple[int, int], int]]:
    """Angles theta of the rows, phi of the columns [deg], and (row, column) -> episode index."""
    first: dict[tuple[float, float], int] = {}
    for episode in result.episodes("ood"):
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
    return thetas, phis, cells


def _spread(values: list[float], most: int = 5) -> list[float]:
    if len(values) <= most:
        return values
    return [values[round(i)] for i in np.linspace(0, len(values) - 1, most)]


def recorded_configs(result: Result) -> tuple[dict[str, Any], dict[str, Any]]:
    """How `result` was evaluated and trained; `NotRun` where it does not say."""
    config = result.data["config"]
    if not {"evaluation", "training"} <= config.keys():
        command = f"{run_command(result.split, result.model)} fresh=true"
        raise NotRun(f"{result.path} does not say how to run its episodes again.", command)
    return config["evaluation"], config["training"]


def run_folder(sources: Sources, result: Result) -> Path:
    """The training run that `result` evaluated.

    Raises:
        NotRun: It is not on this machine.
        ResultError: It has been trained again since.
    """
    from para.runs.folders import find_runs
    from para.runs.policy_file import read_policy_meta

    evaluated, trained = recorded_configs(result)
    folders = find_runs(
        sources.runs_dir,
        evaluated["profile"],
        trained["split"]["train_set"],
        evaluated["robot"],
        evaluated["layout"],
        model=trained["model"]["name"],
        backbone=trained["backbone"]["name"],
        seed=result.seed,
    )
    if not folders:
        raise NotRun(
            f"The checkpoint of {result.model} on {result.split} is not in {sources.runs_dir}.",
            run_command(result.split, trained["model"]["name"]),
        )
    meta = read_policy_meta(folders[0])
    now, then = meta.get("training", {}), result.data["training"]
    if any(now.get(name) != then[name] for name in ("steps", "minutes")):
        raise ResultError(
            f"{result.path} evaluated another training run than the one in {folders[0]} (then "
            f"{then['steps']} steps in {then['minutes']} min, now {now.get('steps')} in "
            f"{now.get('minutes')}). Evaluate again: python scripts/eval.py "
            f"model={trained['model']['name']} split={result.split}"
        )
    return folders[0]


def episode_task(
    sources: Sources, result: Result, test: str, index: int, size: int, stride: int, **more: Any
) -> EpisodeTask:
    """The recorded episode `index` as a task, with the chunk that it was evaluated in."""
    evaluated, _ = recorded_configs(result)
    episodes = result.episodes(test)
    batch = evaluated["batch"]
    chunk = [e for e in episodes if e["index"] // batch == index // batch]
    record = next(e for e in chunk if e["index"] == index)
    return EpisodeTask(
        source=str(result.path),
        run_dir=str(run_folder(sources, result)),
        robot=evaluated["robot"],
        layout=evaluated["layout"],
        env=dict(evaluated["env"]),
        conditions=tuple(start_condition(e["condition"]) for e in chunk),
        place=chunk.index(record),
        index=index,
        test=test,
        stage=record["stage"],
        steps=record["steps"],
        inference=Inference(
            **{k: evaluated[k] for k in ("execute", "subcell", "precision") if k in evaluated}
        ),
        size=size,
        stride=stride,
        overlay=more.get("overlay", False),
        out="",
    )


def start_condition(record: dict[str, Any]) -> dict[str, Any]:
    """A result's condition, of any schema, as `envs.base.Condition.from_dict` takes it."""
    from envs.table.legacy import convert_condition

    return convert_condition(record)


# --- inputs of the assets ------------------------------------------------------------------------


def video_inputs(sources: Sources, split: str, models: Sequence[str] = MAIN_MODELS) -> list[Path]:
    """Result files and weights behind the videos of `split`."""
    results = [r for r in pair_results(sources, split) if r.model in models]
    if not results:
        raise NotRun(
            f"{model_style(models[0]).label} was not run on {split}.", run_command(split, models[0])
        )
    weights = [run_folder(sources, r) / "policy.safetensors" for r in results]
    return [*(r.path for r in results), *weights]


# --- pairs ---------------------------------------------------------------------------------------


def pair(sources: Sources, split: str, test: str) -> Film:
    """Every policy on the same start of a test, one video each, all of the same length."""
    results = pair_results(sources, split)
    index = choose_start(results, test)
    rule = PAIR_RULE if test == "ood" else SANITY_RULE
    tasks = [episode_task(sources, r, test, index, CLIP, STRIDE) for r in results]

    def compose(films: Sequence[np.ndarray], folder: Path) -> list[Media]:
        word = _TEST_NAMES.get((split, test), FILE_NAMES[test])
        names = [
            f"{r.model}_{split}_{word}_ep{index:03d}_{_outcome(task)}"
            for r, task in zip(results, tasks, strict=True)
        ]
        where = f"the {FILE_NAMES[test]} of {SPLIT_TITLES[split]}"
        data = {"split": split, "rule": rule}
        return side_by_side(results, tasks, films, folder, names, where, data)

    missing = [m for m in MAIN_MODELS if m not in {r.model for r in results}]
    notes = tuple(f"{model_style(m).label} was not run on {split}." for m in missing)
    return Film(tuple(tasks), compose, notes)


def side_by_side(
    results: Sequence[Result],
    tasks: Sequence[EpisodeTask],
    films: Sequence[np.ndarray],
    folder: Path,
    names: Sequence[str],
    where: str,
    data: dict[str, Any],
) -> list[Media]:
    """One video per policy on the same start, all of the same length.

    Files are named `<name>.mp4`; `where` says in words which test it is, and `data` is noted with
    each video.
    """
    longest = max(len(frames) for frames in films)
    made = []
    for result, task, frames, name in zip(results, tasks, films, names, strict=True):
        style = model_style(result.model)
        clip = _clip(frames, longest, style.label, style.colour, task.stage)
        alt = f"{style.label} on start {task.index} of {where}: {STAGE_MEANING[task.stage]}."
        facts = {
            "model": result.model,
            "seed": result.seed,
            "test": task.test,
            "index": task.index,
            "outcome": _outcome(task),
            "stage": task.stage,
        }
        path = folder / f"{name}.mp4"
        made.append(save_video(path, clip, FPS, CLIP_BYTES, alt, data | facts))
    return made


def _outcome(task: EpisodeTask) -> str:
    return "success" if task.stage == "PLACE" else "fail"


def _clip(
    frames: np.ndarray, length: int, label: str, colour: str, stage: str | None
) -> Iterable[np.ndarray]:
    """Frames with the policy's name, held to `length`, and the outcome at the end."""
    for i in range(length):
        frame = frames[min(i, len(frames) - 1)].copy()
        _name_plate(frame, label, colour)
        if stage and i >= len(frames) - 1:
            _mark_outcome(frame, stage)
        yield frame
    for _ in range(round(HOLD_S * FPS)):
        yield frame


def _name_plate(frame: np.ndarray, label: str, colour: str) -> None:
    """The policy's name on a dark plate with a bar in its colour, in the upper left corner."""
    width = 24 + 12 * len(label)
    frame[12:40, 12 : 12 + width] = rgb(DARK.surface)
    frame[12:40, 12:18] = rgb(colour)
    draw_text(frame, label, (25, 26), size=16, bold=True, anchor="lm")


def _mark_outcome(frame: np.ndarray, stage: str) -> None:
    """A coloured frame, and a plate with a mark and the outcome in words."""
    colour = rgb(SUCCESS_GREEN if stage == "PLACE" else FAIL_RED)
    height, width = frame.shape[:2]
    cv2.rectangle(frame, (2, 2), (width - 3, height - 3), colour, 5)
    text = STAGE_MEANING[stage].replace(" (success)", "")
    top, plate = height - 44, 52 + 9 * len(text)
    frame[top : height - 12, 12 : 12 + plate] = colour
    _mark(frame, (30, top + 16), 9, stage == "PLACE")
    draw_text(frame, text, (50, top + 16), size=16, bold=True, anchor="lm")


def _mark(frame: np.ndarray, centre: tuple[int, int], radius: int, success: bool) -> None:
    """A white check mark or cross."""
    x, y = centre
    r, thick = radius, max(2, radius // 3)
    if success:
        lines = [(-r, 0, -r // 3, int(0.7 * r)), (-r // 3, int(0.7 * r), r, int(-0.8 * r))]
    else:
        s = int(0.8 * r)
        lines = [(-s, -s, s, s), (-s, s, s, -s)]
    for x0, y0, x1, y1 in lines:
        start, end = (x + x0, y + y0), (x + x1, y + y1)
        cv2.line(frame, start, end, (255, 255, 255), thick, cv2.LINE_AA)


def rgb(colour: str) -> tuple[int, int, int]:
    return tuple(round(255 * c) for c in to_rgb(colour))


# --- grids ---------------------------------------------------------------------------------------

_LEFT, _TOP, _GAP = 58, 76, 4


def grid(sources: Sources, split: str, model: str) -> Film:
    """Rollouts at viewpoints over the whole test, all at once; rows theta, columns phi."""
    results = [r for r in pair_results(sources, split) if r.model == model]
    if not results:
        raise NotRun(
            f"{model_style(model).label} was not run on {split}.", run_command(split, model)
        )
    result = results[0]
    thetas, phis, cells = choose_grid(result)
    tasks = {
        cell: episode_task(sources, result, "ood", index, CELL, GRID_STRIDE)
        for cell, index in cells.items()
    }
    placed = sum(t.stage == "PLACE" for t in tasks.values())
    total = [e["success"] for e in result.episodes("ood")]
    style = model_style(model)

    def compose(films: Sequence[np.ndarray], folder: Path) -> list[Media]:
        longest = max(len(frames) for frames in films)
        board = _board(style.label, style.colour, split, thetas, phis, placed, len(cells))

        def frames() -> Iterable[np.ndarray]:
            for i in range(longest + round(HOLD_S * GRID_FPS)):
                picture = board.copy()
                for (row, column), task, film in zip(tasks, tasks.values(), films, strict=True):
                    cell = film[min(i, len(film) - 1)]
                    if i >= len(film) - 1:
                        cell = _finished_cell(cell, task.stage == "PLACE")
                    y, x = _TOP + row * (CELL + _GAP), _LEFT + column * (CELL + _GAP)
                    picture[y : y + CELL, x : x + CELL] = cell
                yield picture

        alt = (
            f"Grid of {style.label} rollouts, {SPLIT_TITLES[split]}: rows are theta "
            f"{', '.join(f'{t:.0f}' for t in thetas)} degrees, columns phi "
            f"{', '.join(f'{p:.0f}' for p in phis)} degrees. {placed} of {len(cells)} are placed; "
            f"{sum(total)} of {len(total)} in the whole test."
        )
        data = {
            "split": split,
            "model": model,
            "seed": result.seed,
            "test": "ood",
            "rule": GRID_RULE,
            "shown": len(cells),
            "placed": placed,
            "episodes": {f"{r},{c}": index for (r, c), index in cells.items()},
        }
        path = folder / f"{split}_{model}_rollout_grid.mp4"
        return [save_video(path, frames(), GRID_FPS, GRID_BYTES, alt, data)]

    return Film(tuple(tasks.values()), compose)


def _board(
    label: str,
    colour: str,
    split: str,
    thetas: Sequence[float],
    phis: Sequence[float],
    placed: int,
    shown: int,
) -> np.ndarray:
    """The empty grid with its headings."""
    width = _LEFT + len(phis) * (CELL + _GAP) + _GAP
    height = _TOP + len(thetas) * (CELL + _GAP) + _GAP
    board = np.empty((height + height % 2, width + width % 2, 3), np.uint8)
    board[:] = rgb(DARK.surface)
    board[12:38, 10:16] = rgb(colour)
    draw_text(board, label, (24, 25), size=22, bold=True, anchor="lm")
    x = 40 + 17 * len(label)
    draw_text(board, SPLIT_TITLES[split], (x, 26), size=17, colour=rgb(DARK.muted), anchor="lm")
    result = f"placed {placed} of {shown}"
    draw_text(board, result, (width - 12, 26), size=17, bold=True, anchor="rm")
    for j, phi in enumerate(phis):
        x = _LEFT + j * (CELL + _GAP) + CELL // 2
        draw_text(board, f"φ {phi:.0f}°", (x, _TOP - 14), size=15, anchor="mm")
    for i, theta in enumerate(thetas):
        y = _TOP + i * (CELL + _GAP) + CELL // 2
        draw_text(board, f"θ {theta:.0f}°", (_LEFT // 2, y), size=15, anchor="mm")
    return board


def _finished_cell(cell: np.ndarray, success: bool) -> np.ndarray:
    """A finished rollout: framed and marked, dimmed where it failed."""
    colour = rgb(SUCCESS_GREEN if success else FAIL_RED)
    cell = cell.copy() if success else (cell * 0.55).astype(np.uint8)
    cv2.rectangle(cell, (1, 1), (CELL - 2, CELL - 2), colour, 4)
    centre = (CELL - 24, CELL - 24)
    cv2.circle(cell, centre, 17, colour, cv2.FILLED, cv2.LINE_AA)
    _mark(cell, centre, 9, success)
    return cell


# --- heatmaps and demos --------------------------------------------------------------------------


def heatmaps(sources: Sources, split: str) -> Film:
    """The scene beside what PARA sees and where it goes, on the start that the pair shows."""
    results = pair_results(sources, split)
    index = choose_start(results, "ood")
    para = [r for r in results if r.model == "para"]
    if not para:
        raise NotRun(f"PARA was not run on {split}.", run_command(split, "para"))
    size = 288
    task = episode_task(sources, para[0], "ood", index, size, STRIDE, overlay=True)

    def compose(films: Sequence[np.ndarray], folder: Path) -> list[Media]:
        (frames,) = films
        style = model_style("para")
        alt = (
            f"Left: PARA on test start {index} of {SPLIT_TITLES[split]}, "
            f"{STAGE_MEANING[task.stage]}. Right: the policy's input with the heatmap of the "
            "waypoint that it moves to."
        )
        data = {
            "split": split,
            "model": "para",
            "test": "heatmap",
            "index": index,
            "stage": task.stage,
            "rule": PAIR_RULE,
        }
        clip = _clip(frames, len(frames), style.label, style.colour, task.stage)
        path = folder / f"para_{split}_heatmap_ep{index:03d}.mp4"
        return [save_video(path, clip, FPS, CLIP_BYTES, alt, data)]

    return Film((task,), compose)


DEMOS = (0, 128, 255)


def demo_files(sources: Sources) -> list[Path]:
    """The demos that are shown; `NotRun` if they were not generated."""
    from envs.base import setting_name
    from envs.table.legacy import TASK
    from para.data.format import dataset_dir, episode_path

    setting = setting_name(TASK, "panda", "together")
    folders = sorted((sources.data_dir / setting).glob("objpos-[0-9]*px"))
    folder = folders[0] if folders else dataset_dir(sources.data_dir, setting, "objpos", 128)
    paths = [episode_path(folder, index) for index in DEMOS]
    if not all(path.is_file() for path in paths):
        raise NotRun(
            "The objpos demo set was not made.", "python scripts/generate_demos.py dataset=objpos"
        )
    return paths


def train_demos(sources: Sources) -> Film:
    """Demos 0, 128 and 255 of the training grid, filmed again in better quality."""
    from para.data.format import check_episode

    tasks = []
    for path in demo_files(sources):
        meta = check_episode(path)
        tasks.append(
            EpisodeTask(
                source=str(path),
                run_dir=None,
                robot=meta.robot,
                layout=meta.layout,
                env=dict(meta.env),
                conditions=(meta.condition,),
                place=0,
                index=meta.index,
                test="demo",
                stage="PLACE" if meta.success else "GRASP",
                steps=0,
                inference=Inference(),
                size=CLIP,
                stride=STRIDE,
                overlay=False,
                out="",
            )
        )

    def compose(films: Sequence[np.ndarray], folder: Path) -> list[Media]:
        made = []
        for task, frames in zip(tasks, films, strict=True):
            clip = _clip(frames, len(frames), f"Demo {task.index}", DARK.muted, None)
            alt = f"Training demonstration {task.index} of the 16 x 16 grid, by the expert."
            data = {"test": "demo", "index": task.index}
            path = folder / f"train_demo_{task.index}.mp4"
            made.append(save_video(path, clip, FPS, CLIP_BYTES, alt, data))
        return made

    return Film(tuple(tasks), compose)


# --- files ---------------------------------------------------------------------------------------


def save_video(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: int,
    most_bytes: int,
    alt: str,
    data: dict[str, Any],
) -> Media:
    """Write a video of at most `most_bytes`, and its last frame as a poster."""
    frames = list(frames)
    for crf in (22, 25, 28, 31, 35, 40):
        write_video(path, frames, fps=fps, crf=crf)
        if path.stat().st_size <= most_bytes:
            break
    poster = path.with_suffix(".jpg")
    with atomic_write(poster) as aside:
        Image.fromarray(frames[-1]).save(aside, "JPEG", quality=82, optimize=True)
    info = probe_video(path)
    return Media(path.name, info.width, info.height, alt, {"poster": poster.name}, data)
