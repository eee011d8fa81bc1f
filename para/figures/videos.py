"""Videos of recorded episodes: pairs on the same start, grids over viewpoints, heatmaps, demos.

All show the scene twice as fast as it happened. Which episodes are shown is decided by rules
(`para.figures.choices`), never by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from envs.base import load_task
from envs.multi_task import LAYOUT, suite
from envs.splits import load_split, training_indices
from envs.table import MAIN_TASK
from para.evaluation.result_set import StoredResult
from para.evaluation.results import FILE_NAMES, MAIN_MODELS
from para.figures.build import Film, Media
from para.figures.choices import (
    PAIR_RULE,
    SANITY_RULE,
    Board,
    choose_grid,
    choose_start,
    episode_task,
    pair_results,
    video_inputs,
)
from para.figures.clips import (
    CLIP,
    CLIP_BYTES,
    FPS,
    HOLD_S,
    STRIDE,
    draw_mark,
    labelled,
    outcome,
    rgb,
    save_video,
    side_by_side,
)
from para.figures.drawing import missing_notes
from para.figures.episodes import EpisodeTask
from para.figures.sources import NotRun, Sources
from para.figures.splits import split_title
from para.figures.style import DARK, FAIL_RED, SUCCESS_GREEN, ModelStyle, model_style
from para.places import typed
from para.runs.identity import Setting
from para.types import Inference
from para.video import draw_text, text_width

GRID_FPS, GRID_STRIDE = 10, 10
CELL = 160
"""Size of a cell of a grid [px]."""
TASK_STARTS = 3
"""Rollouts of each task in the grid of tasks."""
GRID_BYTES = 3_000_000

_TEST_NAMES = {("nf", "sanity"): "sanity2", ("distractor", "ood"): "contrast"}
"""Where the published media call a test otherwise."""


# --- pairs ---------------------------------------------------------------------------------------


def pair(sources: Sources, split: str, test: str) -> Film:
    """Every policy on the same start of a test, one video each, all of the same length."""
    results = pair_results(sources, split)
    index = choose_start(sources, results, test)
    rule = PAIR_RULE if test == "ood" else SANITY_RULE
    tasks = [episode_task(sources, r, test, index, CLIP, STRIDE) for r in results]

    def compose(films: Sequence[np.ndarray], folder: Path) -> list[Media]:
        word = _TEST_NAMES.get((split, test), FILE_NAMES[test])
        names = [
            f"{r.model}_{split}_{word}_ep{index:03d}_{outcome(task)}"
            for r, task in zip(results, tasks, strict=True)
        ]
        where = f"the {FILE_NAMES[test]} of {split_title(split)}"
        data = {"split": split, "rule": rule}
        return side_by_side(results, tasks, films, folder, names, where, data)

    notes = missing_notes([r.model for r in results], MAIN_MODELS, split)
    return Film(tuple(tasks), compose, notes)


# --- grids ---------------------------------------------------------------------------------------

_LEFT, _TOP, _GAP = 58, 76, 4


def grid(
    sources: Sources,
    split: str,
    model: str,
    choose: Callable[[StoredResult], Board] = choose_grid,
) -> Film:
    """Rollouts at starts over the whole test, or at those that `choose` names, all at once."""
    (result,) = pair_results(sources, split, (model,))
    chosen = choose(result)
    tasks = {
        cell: episode_task(sources, result, "ood", index, CELL, GRID_STRIDE)
        for cell, index in chosen.cells.items()
    }
    succeeded = sum(t.success for t in tasks.values())
    total = [e["success"] for e in result.episodes("ood")]
    alt = (
        f"Grid of {model_style(model).label} rollouts, {split_title(split)}: rows "
        f"{', '.join(chosen.rows)}; columns {', '.join(chosen.columns)}. {succeeded} of "
        f"{len(chosen.cells)} succeed; {sum(total)} of {len(total)} in the whole test."
    )
    return _grid_film(split, model, result.seed, chosen, tasks, alt)


def grid_of_tasks(sources: Sources, split: str, model: str) -> Film:
    """Rollouts of one policy that was trained on every task: `TASK_STARTS` of each, all at once."""
    found = _of_each_task(sources, split, model)
    names = [name.replace("_", " ") for name in found]
    cells, tasks, words = {}, {}, []
    for column, (here, result) in enumerate(found.values()):
        episodes = result.episodes("ood")
        for row, episode in enumerate(episodes[:TASK_STARTS]):
            cells[row, column] = episode["index"]
            task = episode_task(here, result, "ood", episode["index"], CELL, GRID_STRIDE)
            tasks[row, column] = task
        words.append(f"{names[column]} {sum(e['success'] for e in episodes)} of {len(episodes)}")
    rows = tuple(str(1 + row) for row in range(TASK_STARTS))
    chosen = Board(rows, tuple(names), cells, f"the first {TASK_STARTS} test starts of each task")
    succeeded = sum(task.success for task in tasks.values())
    alt = (
        f"Grid of rollouts of one {model_style(model).label} for all tasks, {split_title(split)}: "
        f"a column per task, {TASK_STARTS} starts of each. {succeeded} of {len(cells)} succeed; in "
        f"the whole test {', '.join(words)}."
    )
    seed = next(iter(found.values()))[1].seed
    return _grid_film(split, model, seed, chosen, tasks, alt)


def grid_of_tasks_inputs(sources: Sources, split: str, model: str) -> list[Path]:
    """Result files and weights behind `grid_of_tasks`; `NotRun` if no task was tested."""
    each = _of_each_task(sources, split, model).values()
    return [path for here, _ in each for path in video_inputs(here, split, (model,))]


def _of_each_task(
    sources: Sources, split: str, model: str
) -> dict[str, tuple[Sources, StoredResult]]:
    """Task -> its sources and the result of the policy; only tasks that were tested."""
    found = {}
    for cfg in suite(sources.setting.robot):
        here = sources.within(Setting(cfg.name, sources.setting.robot, LAYOUT))
        if here.results.select(split, model):
            found[cfg.name] = here, pair_results(here, split, (model,))[0]
    if not found:
        raise NotRun(f"Split {split!r} was not run.", f"{typed('reproduce')} table=tasks")
    return found


def _grid_film(
    split: str,
    model: str,
    seed: int,
    chosen: Board,
    tasks: Mapping[tuple[int, int], EpisodeTask],
    alt: str,
) -> Film:
    """The film of a grid: every rollout in its cell, framed and marked when it is over."""
    succeeded = sum(task.success for task in tasks.values())

    def compose(films: Sequence[np.ndarray], folder: Path) -> list[Media]:
        longest = max(len(frames) for frames in films)
        board = _board(model_style(model), split, chosen, succeeded)

        def frames() -> Iterable[np.ndarray]:
            for i in range(longest + round(HOLD_S * GRID_FPS)):
                picture = board.copy()
                for (row, column), task, film in zip(tasks, tasks.values(), films, strict=True):
                    cell = film[min(i, len(film) - 1)]
                    if i >= len(film) - 1:
                        cell = _finished_cell(cell, task.success)
                    y, x = _TOP + row * (CELL + _GAP), _LEFT + column * (CELL + _GAP)
                    picture[y : y + CELL, x : x + CELL] = cell
                yield picture

        data = {
            "split": split,
            "model": model,
            "seed": seed,
            "test": "ood",
            "rule": chosen.rule,
            "shown": len(chosen.cells),
            "succeeded": succeeded,
            "episodes": {f"{r},{c}": index for (r, c), index in chosen.cells.items()},
        }
        path = folder / f"{split}_{model}_rollout_grid.mp4"
        return [save_video(path, frames(), GRID_FPS, GRID_BYTES, alt, data)]

    return Film(tuple(tasks.values()), compose)


def _board(style: ModelStyle, split: str, chosen: Board, succeeded: int) -> np.ndarray:
    """The empty grid with its headings."""
    width = _LEFT + len(chosen.columns) * (CELL + _GAP) + _GAP
    height = _TOP + len(chosen.rows) * (CELL + _GAP) + _GAP
    board = np.empty((height + height % 2, width + width % 2, 3), np.uint8)
    board[:] = rgb(DARK.surface)
    board[12:38, 10:16] = rgb(style.colour)
    draw_text(board, style.label, (24, 25), size=22, bold=True, anchor="lm")
    result, title = f"{succeeded} of {len(chosen.cells)} succeed", split_title(split)
    draw_text(board, result, (width - 12, 26), size=17, bold=True, anchor="rm")
    x = 40 + text_width(style.label, 22, bold=True)
    if x + text_width(title, 17) < width - 28 - text_width(result, 17, bold=True):
        draw_text(board, title, (x, 26), size=17, colour=rgb(DARK.muted), anchor="lm")
    for j, heading in enumerate(chosen.columns):
        x = _LEFT + j * (CELL + _GAP) + CELL // 2
        draw_text(board, heading, (x, _TOP - 14), size=15, anchor="mm")
    for i, heading in enumerate(chosen.rows):
        y = _TOP + i * (CELL + _GAP) + CELL // 2
        draw_text(board, heading, (_LEFT // 2, y), size=15, anchor="mm")
    return board


def _finished_cell(cell: np.ndarray, success: bool) -> np.ndarray:
    """A finished rollout: framed and marked, dimmed where it failed."""
    colour = rgb(SUCCESS_GREEN if success else FAIL_RED)
    cell = cell.copy() if success else (cell * 0.55).astype(np.uint8)
    cv2.rectangle(cell, (1, 1), (CELL - 2, CELL - 2), colour, 4)
    centre = (CELL - 24, CELL - 24)
    cv2.circle(cell, centre, 17, colour, cv2.FILLED, cv2.LINE_AA)
    draw_mark(cell, centre, 9, success)
    return cell


# --- heatmaps and demos --------------------------------------------------------------------------


def heatmaps(sources: Sources, split: str) -> Film:
    """The scene beside what PARA sees and where it goes, on the start that the pair shows."""
    results = pair_results(sources, split)
    index = choose_start(sources, results, "ood")
    para = [r for r in results if r.model == "para"]
    if not para:
        raise NotRun(f"PARA was not run on {split}.", sources.command(split, "para"))
    size = 288
    task = episode_task(sources, para[0], "ood", index, size, STRIDE, overlay=True)

    def compose(films: Sequence[np.ndarray], folder: Path) -> list[Media]:
        (frames,) = films
        style = model_style("para")
        alt = (
            f"Left: PARA on test start {index} of {split_title(split)}, "
            f"{task.meaning}. Right: the policy's input with the heatmap of the "
            "waypoint that it moves to."
        )
        data = {
            "split": split,
            "model": "para",
            "test": "heatmap",
            "index": index,
            "stage": task.stage,
            "meaning": task.meaning,
            "rule": PAIR_RULE,
        }
        clip = labelled(frames, len(frames), style.label, style.colour, task)
        path = folder / f"para_{split}_heatmap_ep{index:03d}.mp4"
        return [save_video(path, clip, FPS, CLIP_BYTES, alt, data)]

    return Film((task,), compose)


DEMOS = (0, 128, 255)
"""First, middle and last of the grid."""


def demo_files(sources: Sources, indices: Sequence[int] = DEMOS) -> list[Path]:
    """The demos that are shown; `NotRun` if they were not generated."""
    from para.data.format import dataset_dir, episode_path

    setting = sources.setting.name
    folders = sorted((sources.data_dir / setting).glob("objpos-[0-9]*px"))
    folder = folders[0] if folders else dataset_dir(sources.data_dir, setting, "objpos", 128)
    paths = [episode_path(folder, index) for index in indices]
    if not all(path.is_file() for path in paths):
        raise NotRun(
            "The objpos demo set was not made.", f"{typed('generate_demos')} dataset=objpos"
        )
    return paths


def only_demo(split: str) -> list[int]:
    """Index of the demo that trains a split of a single one."""
    return training_indices(load_split(split), load_task(MAIN_TASK))


def train_demos(sources: Sources, indices: Sequence[int] = DEMOS, name: str = "train_demo") -> Film:
    """Demos of the training grid, filmed again in better quality, to `<name>_<index>.mp4`."""
    from para.data.format import check_episode

    tasks = []
    for path in demo_files(sources, indices):
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
                stage="",
                meaning="",
                success=meta.success,
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
            clip = labelled(frames, len(frames), f"Demo {task.index}", DARK.muted, None)
            alt = f"Training demonstration {task.index} of the 16 x 16 grid, by the expert."
            data = {"test": "demo", "index": task.index}
            path = folder / f"{name}_{task.index}.mp4"
            made.append(save_video(path, clip, FPS, CLIP_BYTES, alt, data))
        return made

    return Film(tuple(tasks), compose)
