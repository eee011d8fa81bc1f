"""Every figure and every set of videos, by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from para.errors import UnknownNameError
from para.evaluation.results import FILE_NAMES
from para.figures import (
    charts,
    curves,
    diagrams,
    distributions,
    maps,
    method,
    video_charts,
    video_clips,
    videos,
)
from para.figures.build import SCENE_CODE, VIDEO_CODE, Asset, BuiltAsset, Media, build
from para.figures.sources import MAIN_MODELS, PUBLISHED_FILE, Sources

__all__ = ["ASSETS", "Asset", "BuiltAsset", "Media", "build_assets"]


def _nothing(sources: Sources) -> Iterable[Path]:
    return ()


def _published(sources: Sources) -> Iterable[Path]:
    return [PUBLISHED_FILE]


def _split_results(*splits: str, sources: Sources) -> list[Path]:
    """Result files of `splits`, and the published numbers; `NotRun` without any."""
    return [PUBLISHED_FILE, *(path for s in splits for path in sources.results.paths(s))]


def _all_results(sources: Sources) -> list[Path]:
    charts.shown_splits(sources)
    return [result.path for result in sources.results.results]


def _results_among(splits: Sequence[str], models: Sequence[str], sources: Sources) -> list[Path]:
    """Those result files of `models` on `splits` that exist, and the published numbers."""
    results = sources.results.results
    return [PUBLISHED_FILE, *(r.path for r in results if r.split in splits and r.model in models)]


def _benchmark(name: str):
    return lambda sources: sources.benchmark_file(name)


def _results_of(*splits: str):
    return lambda sources: _split_results(*splits, sources=sources)


_POSITION_SPLITS = ("lr", "nf", "corner_n4", "corner_n8", "corner_n16", "corner_n32", "corner_n64")
_POSITION_SPLITS += ("distractor",)
_VIEW_SPLITS = ("vp_default_to_all", "vp_lr", "vp_io")
_DISTRIBUTIONS = {
    "exp3_leftright_distribution": "lr",
    "exp3_train_test_distribution": "nf",
    "exp4_n8_distribution": "corner_n8",
    "exp4_n16_distribution": "corner_n16",
    "exp4_n32_distribution": "corner_n32",
    "exp4_n64_distribution": "corner_n64",
}

ASSETS: dict[str, Asset] = {
    "per_theta_chart": Asset(
        charts.per_theta_chart,
        _results_of("vp_default_to_all"),
        "Success by camera angle, trained at the default view only",
    ),
    **{
        name: Asset(
            partial(distributions.position_distribution, split=split),
            _nothing,
            f"Training and test positions: {charts.SPLIT_TITLES[split]}",
            code=SCENE_CODE,
        )
        for name, split in _DISTRIBUTIONS.items()
    },
    "distractor_robustness_distribution": Asset(
        distributions.distractor_distribution,
        _nothing,
        "Clean training scenes and cluttered test scenes",
        code=SCENE_CODE,
    ),
    **{
        f"{split}_polar_overview": Asset(
            partial(distributions.polar_overview, split=split),
            _nothing,
            f"Training and test viewpoints: {charts.SPLIT_TITLES[split]}",
            code=SCENE_CODE,
        )
        for split in _VIEW_SPLITS
    },
    "vp_leftright_hemi_distribution": Asset(
        distributions.hemisphere_distribution,
        _nothing,
        "Frames from trained and from tested viewpoints",
        code=SCENE_CODE,
    ),
    **{
        f"{split}_success_map": Asset(
            partial(maps.position_success_map, split=split),
            _results_of(split),
            f"Outcome at every test position: {charts.SPLIT_TITLES[split]}",
            code=SCENE_CODE,
        )
        for split in _POSITION_SPLITS
    },
    **{
        f"{split}_success_map": Asset(
            partial(maps.view_success_map, split=split),
            _results_of(split),
            f"Success at every viewpoint: {charts.SPLIT_TITLES[split]}",
            code=SCENE_CODE,
        )
        for split in _VIEW_SPLITS
    },
    "stage_breakdown": Asset(
        charts.stage_breakdown, _all_results, "How episodes end, per policy and split"
    ),
    "place_error_distribution": Asset(
        charts.place_error_distribution, _all_results, "Final distance between bowl and plate"
    ),
    "data_scaling_chart": Asset(
        charts.data_scaling_chart,
        partial(_results_among, tuple(charts.CORNER_SPLITS.values()), MAIN_MODELS),
        "Success by number of corner demonstrations",
    ),
    "video_recipe_chart": Asset(
        video_charts.recipe_chart,
        partial(_results_among, (video_charts.RECIPE_SPLIT,), video_charts.MAIN_RECIPES),
        "Success by training recipe on the video backbone",
    ),
    "video_scaling_chart": Asset(
        video_charts.video_scaling_chart,
        partial(
            _results_among,
            tuple(video_charts.SCALING_SPLITS.values()),
            video_charts.SCALING_MODELS,
        ),
        "Success by number of demonstrations, with and without a video backbone",
    ),
    "learning_curves": Asset(
        curves.learning_curves, curves.curve_files, "Training loss of every run"
    ),
    "latency_bars": Asset(
        charts.latency_bars, _benchmark("latency"), "Time from one image to waypoints"
    ),
    "video_features_chart": Asset(
        video_charts.features_chart,
        _benchmark("video_features"),
        "Success with frozen video features, by how they were learned and read",
    ),
    "video_quality_chart": Asset(
        video_charts.quality_chart,
        _benchmark("video_quality"),
        "How near generated frames are to what really happened",
    ),
    "method_diagram": Asset(
        method.method_diagram,
        method.method_inputs,
        "The method, on a real prediction of a trained checkpoint",
        code=VIDEO_CODE,
    ),
    "two_stage_diagram": Asset(
        diagrams.two_stage_diagram, _published, "Two-stage training of the video backbone"
    ),
    **{
        f"{split}_{FILE_NAMES[test]}_pair": Asset(
            partial(videos.pair, split=split, test=test),
            partial(videos.video_inputs, split=split),
            f"{charts.SPLIT_TITLES[split]}: {title}",
            kind="video",
            code=VIDEO_CODE,
        )
        for split in charts.SPLIT_TITLES
        for test, title in (("sanity", "in distribution"), ("ood", "out of distribution"))
    },
    **{
        f"{split}_{model}_rollout_grid": Asset(
            partial(videos.grid, split=split, model=model),
            partial(videos.video_inputs, split=split, models=(model,)),
            f"{charts.SPLIT_TITLES[split]}: rollouts across viewpoints",
            kind="video",
            code=VIDEO_CODE,
        )
        for split in _VIEW_SPLITS
        for model in MAIN_MODELS
    },
    **{
        f"{split}_heatmap": Asset(
            partial(videos.heatmaps, split=split),
            partial(videos.video_inputs, split=split),
            f"What PARA looks at: {charts.SPLIT_TITLES[split]}",
            kind="video",
            code=VIDEO_CODE,
        )
        for split in ("lr", "vp_default_to_all", "distractor")
    },
    **{
        name: Asset(
            partial(video_clips.generated_frames, clip=clip),
            video_clips.clip_inputs,
            "What happened, and what the video model generates from the first frame",
            code=VIDEO_CODE,
        )
        for name, clip in (("frame_0", 0), ("frame_2", 2))
    },
    "gt_vs_gen_heatmaps": Asset(
        video_clips.heatmap_film,
        video_clips.clip_inputs,
        "Heatmaps over true and generated frames",
        kind="video",
        code=VIDEO_CODE,
    ),
    "ood_alignment": Asset(
        video_clips.alignment_film,
        video_clips.clip_inputs,
        "Predicted keypoints on generated frames",
        kind="video",
        code=VIDEO_CODE,
    ),
    "video_rollouts": Asset(
        video_clips.rollouts,
        video_clips.rollouts_inputs,
        "PARA and global regression on the video backbone",
        kind="video",
        code=VIDEO_CODE,
    ),
    "train_demos": Asset(
        videos.train_demos,
        videos.demo_files,
        "Training demonstrations 0, 128 and 255",
        kind="video",
        code=VIDEO_CODE,
    ),
}


def build_assets(
    results_dir: Path | str,
    runs_dir: Path | str,
    data_dir: Path | str,
    out_dir: Path | str,
    only: Sequence[str] | None = None,
    workers: int = 1,
    progress: bool = True,
    kinds: Sequence[str] = ("figure", "video"),
    robot: str = "panda",
    layout: str = "together",
) -> list[BuiltAsset]:
    """Build all assets, or those named in `only`, into `out_dir`; what is up to date is kept.

    Also keeps the learning curves of the runs with the results (`curves.keep_curves`).

    Args:
        results_dir: Result files.
        runs_dir: Training runs (checkpoints and logs).
        data_dir: Demonstration sets.
        out_dir: Where pictures and videos go; the cache's notes are in its `.cache` folder.
        only: Names of assets; `UnknownNameError` for one that does not exist.
        workers: Processes that render videos.
        progress: Show a progress bar.
        kinds: Kinds of assets to build.
        robot: Robot whose results are shown.
        layout: Layout whose results are shown.

    Returns:
        One entry per asset, in the registry's order. An asset whose inputs were never made has
        status "not run", one whose inputs are unusable has status "failed"; neither stops the rest.
    """
    names = [name for name, asset in ASSETS.items() if asset.kind in kinds]
    if only:
        for name in only:
            if name not in ASSETS:
                raise UnknownNameError("asset", name, ASSETS)
        names = [name for name in ASSETS if name in only]
    sources = Sources.open(
        results_dir, runs_dir, data_dir, workers, progress, robot=robot, layout=layout
    )
    curves.keep_curves(runs_dir, sources.results)
    return build({name: ASSETS[name] for name in names}, sources, Path(out_dir))
