"""What a video backbone expects to see, beside what happened: frames, heatmaps and keypoints.

All clips start from demonstrations in the half of the workspace that no stage was trained on.
Clip frame k is k * frame_stride demo frames ahead of the given one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from envs.base import load_task
from envs.splits import load_split, training_indices
from envs.table.workspace import GRID
from para.evaluation.result_set import StoredResult
from para.figures.build import Film, Media
from para.figures.choices import episode_task, recorded_configs, run_folder
from para.figures.clips import CLIP, CLIP_BYTES, HOLD_S, STRIDE, rgb, save_video, side_by_side
from para.figures.drawing import Drawing
from para.figures.sources import NotRun, Sources
from para.figures.style import DARK, PARA_BLUE, Theme, model_style, new_figure
from para.figures.video_charts import GLOBAL, LONG_VIDEO, RECIPE_SPLIT, TWO_STAGE
from para.places import typed
from para.video import draw_text, overlay_heatmap

CLIPS = 4
"""Demonstrations that are shown, evenly spread over the held-out half."""
_SAMPLER_STEPS = 20
_TILE, _HEADER, _FPS = 192, 34, 10
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Expected:
    """True and generated clips, and what the policy says on the first frame.

    Attributes:
        model: The policy, by its name in results.
        demos: N demo numbers.
        true: (N, F, H, W, 3) uint8.
        generated: The same, generated from each first frame.
        true_pixels: (N, F, 2) end effector in the true frames [px].
        pixels: (N, F, 2) predicted pixel of the waypoint at each frame's time [px]; frame 0: now.
        heatmaps: (N, F, h, w) predicted heatmaps of those waypoints; frame 0: zeros.
        seconds: F times of the frames, after the first [s].
        steps: Optimiser steps of the last stage.
    """

    model: str
    demos: tuple[int, ...]
    true: np.ndarray
    generated: np.ndarray
    true_pixels: np.ndarray
    pixels: np.ndarray
    heatmaps: np.ndarray
    seconds: np.ndarray
    steps: int


_Draw = Callable[[Expected, np.ndarray, int, int, bool], np.ndarray]
"""(expected, tile, clip, frame, is it true?) -> the tile with what is drawn into it."""


def clip_inputs(sources: Sources) -> list[Path]:
    """Result, weights and demos behind all of this; `NotRun` without them."""
    result = _result(sources)
    folder, demos = _demos(sources, result)
    return [
        result.path,
        run_folder(sources, result) / "policy.safetensors",
        *(_episode(folder, index) for index in demos),
    ]


def generated_frames(sources: Sources, theme: Theme, clip: int) -> Drawing:
    """One clip: true frames above generated ones."""
    expected = _expected(sources)
    rows = (("true", expected.true[clip]), ("generated", expected.generated[clip]))
    shown = range(0, expected.true.shape[1], 2)  # every second: readable on a phone
    figure = new_figure(5.2, 3.0)
    panels = figure.subplots(2, len(shown))
    for line, (name, frames) in zip(panels, rows, strict=True):
        for axes, k in zip(line, shown, strict=True):
            axes.imshow(frames[k])
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(name)
    for axes, k in zip(panels[0], shown, strict=True):
        axes.set_title(
            f"{expected.seconds[k]:.1f} s", fontsize=10.5, fontweight="normal", loc="center"
        )
    demo = expected.demos[clip]
    alt = (
        f"Frames of demonstration {demo}, which was not trained on, above the frames that the "
        f"video model generates from the first one, {expected.seconds[-1]:.1f} seconds ahead."
    )
    return Drawing(figure, alt, {"demo": demo})


def heatmap_film(sources: Sources) -> Film:
    """`gt_vs_gen_heatmaps_<steps>.mp4`: the predicted heatmap over true and generated frames."""

    def draw(expected: Expected, frame: np.ndarray, clip: int, k: int, true: bool) -> np.ndarray:
        return overlay_heatmap(frame, expected.heatmaps[clip, k]) if k else frame

    return _film(
        sources,
        "gt_vs_gen_heatmaps_{steps}",
        draw,
        "with the heatmap that PARA predicts from the first frame for that time",
    )


def alignment_film(sources: Sources) -> Film:
    """`ood_alignment.mp4`: the predicted keypoint on generated frames, the true one on true frames.

    If what the policy says and what the video model imagines agree, the ring stays on the gripper
    of the generated frames.
    """

    def draw(expected: Expected, frame: np.ndarray, clip: int, k: int, true: bool) -> np.ndarray:
        pixels = expected.true_pixels if true else expected.pixels
        scale = _TILE / expected.true.shape[2]
        x, y = (int(v) for v in pixels[clip, k] * scale)
        for radius, colour in ((9, _WHITE), (7, rgb(PARA_BLUE))):
            cv2.circle(frame, (x, y), radius, colour, 2, cv2.LINE_AA)
        return frame

    return _film(
        sources,
        "ood_alignment",
        draw,
        "with a ring at the end effector: the true one above, below where PARA predicts it from "
        "the first frame",
    )


ROLLOUT_RULE = (
    "the first held-out start on which they end differently, and the first on which PARA fails"
)


def rollouts_inputs(sources: Sources) -> list[Path]:
    """Results and weights behind `rollouts`."""
    results = _rollout_results(sources)
    weights = [run_folder(sources, r) / "policy.safetensors" for r in results]
    return [*(r.path for r in results), *weights]


def rollouts(sources: Sources) -> Film:
    """PARA and global regression on the video backbone: `episode_{v3_twostage, global}_<k>.mp4`."""
    results = _rollout_results(sources)
    para, other = ({e["index"]: e["success"] for e in r.episodes("ood")} for r in results)
    differ = [k for k in para if other.get(k) not in (None, para[k])]
    failed = [k for k in para if not para[k] and k in other]
    chosen = list(dict.fromkeys([*differ[:1], *failed[:1]])) or sorted(para)[:1]
    tasks = [
        episode_task(sources, result, "ood", index, CLIP, STRIDE)
        for index in chosen
        for result in results
    ]

    def compose(films: Sequence[np.ndarray], folder: Path) -> list[Media]:
        made = []
        for k, index in enumerate(chosen):
            here = slice(2 * k, 2 * k + 2)
            names = [f"episode_v3_twostage_{index}", f"episode_global_{index}"]
            where = "the held-out half, on the video backbone"
            data = {"split": "video_backbone", "rule": ROLLOUT_RULE}
            made += side_by_side(results, tasks[here], films[here], folder, names, where, data)
        return made

    return Film(tuple(tasks), compose)


def _rollout_results(sources: Sources) -> list[StoredResult]:
    """PARA's and global regression's result of the same seed."""
    found = [sources.results.select(RECIPE_SPLIT, model) for model in (TWO_STAGE, GLOBAL)]
    for model, results in zip((TWO_STAGE, GLOBAL), found, strict=True):
        if not results:
            label = model_style(model).label
            why = f"{label} was not run on {RECIPE_SPLIT}."
            raise NotRun(why, sources.command(RECIPE_SPLIT, model))
    seeds = {r.seed for r in found[0]} & {r.seed for r in found[1]}
    if not seeds:
        raise NotRun(
            "The policies on the video backbone have no seed in common.",
            sources.command(RECIPE_SPLIT, GLOBAL),
        )
    return [next(r for r in results if r.seed == min(seeds)) for results in found]


def _film(sources: Sources, name: str, draw: _Draw, what: str) -> Film:
    def compose(_: Sequence[np.ndarray], folder: Path) -> list[Media]:
        expected = _expected(sources)
        stem = name.format(steps=expected.steps)
        alt = (
            f"Demonstrations {', '.join(map(str, expected.demos))}, from positions that were not "
            f"trained on. Above: what happened. Below: what the video model generates. Both {what}."
        )
        demos = list(expected.demos)
        data = {"split": RECIPE_SPLIT, "model": expected.model, "demos": demos}
        frames = _frames(expected, draw)
        return [save_video(folder / f"{stem}.mp4", frames, _FPS, CLIP_BYTES, alt, data)]

    return Film((), compose)


def _frames(expected: Expected, draw: _Draw) -> Iterable[np.ndarray]:
    """Each clip frame for 0.3 s (twice as fast as it happened), played twice."""
    shown = []
    for k, seconds in enumerate(expected.seconds):
        rows = []
        for true, clips in ((True, expected.true), (False, expected.generated)):
            tiles = []
            for clip in range(len(clips)):
                frame = cv2.resize(clips[clip, k], (_TILE, _TILE), interpolation=cv2.INTER_CUBIC)
                tiles.append(draw(expected, frame, clip, k, true))
            header = np.empty((_HEADER, _TILE * len(tiles), 3), np.uint8)
            header[:] = rgb(DARK.surface)
            text = "what happened" if true else "generated from the first frame"
            draw_text(header, text, (12, _HEADER // 2), size=16, bold=True, anchor="lm")
            if true:
                right = (header.shape[1] - 12, _HEADER // 2)
                draw_text(header, f"+{seconds:.1f} s", right, size=16, anchor="rm")
            rows += [header, np.concatenate(tiles, axis=1)]
        shown.append(np.concatenate(rows, axis=0))
    for _ in range(2):
        for picture in shown:
            yield from [picture] * 3
        yield from [shown[-1]] * round(HOLD_S * _FPS / 2)


# --- where it comes from -------------------------------------------------------------------------


def _result(sources: Sources) -> StoredResult:
    """The policy whose video model learned longest: its clips are the best."""
    select = sources.results.select
    found = select(RECIPE_SPLIT, LONG_VIDEO) or select(RECIPE_SPLIT, TWO_STAGE)
    if not found:
        raise NotRun(
            f"{model_style(TWO_STAGE).label} was not run on {RECIPE_SPLIT}.",
            sources.command(RECIPE_SPLIT, TWO_STAGE),
        )
    return found[0]


def _demos(sources: Sources, result: StoredResult) -> tuple[Path, list[int]]:
    """Folder and numbers of the demos that are shown."""
    from para.data.format import dataset_dir

    cfg, _ = recorded_configs(sources, result)
    setting = sources.setting
    folder = dataset_dir(sources.data_dir, setting.name, "objpos", cfg["env"]["image_size"])
    task = load_task(setting.task)
    trained = set(training_indices(load_split(RECIPE_SPLIT), task, setting.layout))
    others = [index for index in range(GRID**2) if index not in trained]
    chosen = [others[int((i + 0.5) * len(others) / CLIPS)] for i in range(CLIPS)]
    if not all(_episode(folder, index).is_file() for index in chosen):
        command = f"{typed('generate_demos')} dataset=objpos"
        raise NotRun("The objpos demo set was not made.", command)
    return folder, chosen


def _episode(folder: Path, index: int) -> Path:
    from para.data.format import episode_path

    return episode_path(folder, index)


def _expected(sources: Sources) -> Expected:
    result = _result(sources)
    folder, demos = _demos(sources, result)
    return _generate(result.model, run_folder(sources, result), folder, tuple(demos))


@cache
def _generate(model: str, run: Path, folder: Path, demos: tuple[int, ...]) -> Expected:
    """Generate clips and predict waypoints from the first frames of demos."""
    from para.data.dataset import DemoDataset
    from para.data.format import FRAME_SECONDS
    from para.data.observations import observations_of
    from para.evaluation.video_quality import first_samples, generate_clips
    from para.runs.policy_file import load_policy

    policy, meta = load_policy(run)
    cfg, backbone = policy.cfg, policy.backbone
    dataset = DemoDataset(
        folder,
        demos,
        cfg.horizon,
        cfg.waypoint_stride,
        clip=(backbone.frames, backbone.frame_stride),
    )
    samples = first_samples(dataset, (0.0,))
    true, generated = (
        (clips * 255).round().astype(np.uint8)
        for clips in generate_clips(backbone, dataset, samples, _SAMPLER_STEPS)
    )
    batch = dataset.batch(samples)
    observations = observations_of(batch)
    chunks = policy.predict(observations)
    # the waypoint at the time of frame k, or the nearest one; frame 0 is now
    ahead = np.arange(1, backbone.frames) * backbone.frame_stride
    waypoint = np.clip(np.round(ahead / cfg.waypoint_stride).astype(int), 1, cfg.horizon) - 1
    true_pixels, pixels, heatmaps = [], [], []
    for observation, chunk, waypoints in zip(
        observations, chunks, batch["waypoints"].numpy(), strict=True
    ):
        now = observation.ee_position[None]
        points = np.concatenate([now, waypoints[waypoint]])
        true_pixels.append(observation.camera.project(points)[0])
        predicted = np.concatenate([now, chunk.positions[waypoint]])
        pixels.append(observation.camera.project(predicted)[0])
        maps = chunk.heatmaps[waypoint]
        heatmaps.append(np.concatenate([np.zeros_like(maps[:1]), maps]))
    return Expected(
        model=model,
        demos=demos,
        true=true,
        generated=generated,
        true_pixels=np.stack(true_pixels),
        pixels=np.stack(pixels),
        heatmaps=np.stack(heatmaps),
        seconds=np.arange(backbone.frames) * backbone.frame_stride * FRAME_SECONDS,
        steps=meta["training"]["steps"],
    )
