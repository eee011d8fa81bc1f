"""Every figure and every set of videos, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from envs.perturbations import SWEEPS
from para.errors import UnknownNameError
from para.evaluation.results import FILE_NAMES, MAIN_MODELS
from para.figures import (
    augmentation,
    charts,
    choices,
    curves,
    diagrams,
    distributions,
    libero,
    maps,
    method,
    study,
    sweep_curves,
    video_charts,
    video_clips,
    videos,
)
from para.figures.build import Asset, BuiltAsset, Media, build
from para.figures.sources import PUBLISHED_FILE, Sources
from para.figures.splits import (
    ALL_TASKS,
    corner_splits,
    has_views,
    main_splits,
    split_file,
    split_title,
    sweep_splits,
)
from para.runs.identity import Setting
from para.runs.labels import PROFILE

__all__ = ["Asset", "BuiltAsset", "Media", "assets", "build_assets"]

DISTRIBUTIONS = {
    "exp3_leftright_distribution": "lr",
    "exp3_train_test_distribution": "nf",
    "exp4_n8_distribution": "corner_n8",
    "exp4_n16_distribution": "corner_n16",
    "exp4_n32_distribution": "corner_n32",
    "exp4_n64_distribution": "corner_n64",
}
"""Names of the published figures that show a split's positions."""
ONE_DEMO = "demos_n1"
"""The split of a single demonstration, and the policies whose rollouts are shown beside it."""
ONE_DEMO_MODELS = (*MAIN_MODELS, "keypoint", "pixel_regression")
HEATMAP_SPLITS = ("lr", "vp_default_to_all", "distractor")
"""One per axis."""


def _published(sources: Sources) -> Iterable[Path]:
    return [PUBLISHED_FILE]


def _files_of(*splits: str) -> Callable[[Sources], list[Path]]:
    """The YAML files of splits: what is drawn from a split alone."""
    return lambda sources: [split_file(split) for split in splits]


def _results_of(split: str) -> Callable[[Sources], list[Path]]:
    """Result files of `split`, and what they are drawn beside; `NotRun` without any."""
    return lambda sources: [PUBLISHED_FILE, split_file(split), *sources.paths(split)]


def _all_results(sources: Sources) -> list[Path]:
    charts.shown_splits(sources)
    return [result.path for result in sources.results.results]


def _results_among(splits: Iterable[str], models: Sequence[str], sources: Sources) -> list[Path]:
    """Those result files of `models` on `splits` that exist, and the published numbers."""
    results = sources.results.results
    return [PUBLISHED_FILE, *(r.path for r in results if r.split in splits and r.model in models)]


def _benchmark(name: str) -> Callable[[Sources], list[Path]]:
    return lambda sources: sources.benchmark_file(name)


def assets() -> dict[str, Asset]:
    """All assets, those of plug-ins' splits among them."""
    return _of_splits() | _of_experiments()


def _of_splits() -> dict[str, Asset]:
    """What every split has: maps and videos."""
    found = {}
    for split in main_splits():
        title = split_title(split)
        views = has_views(split)
        found[f"{split}_success_map"] = Asset(
            partial(maps.view_success_map if views else maps.position_success_map, split=split),
            _results_of(split),
            f"Success at every viewpoint: {title}" if views else f"Outcome of every start: {title}",
            simulates=True,
        )
        for test, words in (("sanity", "in distribution"), ("ood", "out of distribution")):
            found[f"{split}_{FILE_NAMES[test]}_pair"] = Asset(
                partial(videos.pair, split=split, test=test),
                partial(choices.video_inputs, split=split),
                f"{title}: {words}",
                kind="video",
                simulates=True,
            )
        if views:
            found[f"{split}_polar_overview"] = Asset(
                partial(distributions.polar_overview, split=split),
                _files_of(split),
                f"Training and test viewpoints: {title}",
                simulates=True,
            )
            for model in MAIN_MODELS:
                found[f"{split}_{model}_rollout_grid"] = Asset(
                    partial(videos.grid, split=split, model=model),
                    partial(choices.video_inputs, split=split, models=(model,)),
                    f"{title}: rollouts across viewpoints",
                    kind="video",
                    simulates=True,
                )
    return found


def _of_experiments() -> dict[str, Asset]:
    """What belongs to one published experiment, or to all results together."""
    only = videos.only_demo(ONE_DEMO)
    return {
        "per_theta_chart": Asset(
            charts.per_theta_chart,
            _results_of("vp_default_to_all"),
            "Success by camera angle, trained at the default view only",
        ),
        **{
            name: Asset(
                partial(distributions.position_distribution, split=split),
                _files_of(split),
                f"Training and test positions: {split_title(split)}",
                simulates=True,
            )
            for name, split in DISTRIBUTIONS.items()
        },
        "distractor_robustness_distribution": Asset(
            distributions.distractor_distribution,
            _files_of("distractor"),
            "Clean training scenes and cluttered test scenes",
            simulates=True,
        ),
        "vp_leftright_hemi_distribution": Asset(
            distributions.hemisphere_distribution,
            _files_of("vp_lr"),
            "Frames from trained and from tested viewpoints",
            simulates=True,
        ),
        "stage_breakdown": Asset(
            charts.stage_breakdown, _all_results, "How episodes end, per policy and split"
        ),
        "place_error_distribution": Asset(
            charts.place_error_distribution, _all_results, "How far from success episodes end"
        ),
        "data_scaling_chart": Asset(
            charts.data_scaling_chart,
            partial(_results_among, corner_splits().values(), MAIN_MODELS),
            "Success by number of corner demonstrations",
        ),
        "demonstrations": Asset(
            study.demonstrations_figure,
            study.demonstrations_inputs,
            "How many demonstrations does the table need?",
        ),
        "three_way": Asset(
            study.three_way_figure,
            study.three_way_inputs,
            "Told the camera, answering in pixels, trained with images whose camera moves",
        ),
        "cameras": Asset(
            study.cameras_figure,
            study.cameras_inputs,
            "Success from new views by number of training cameras",
        ),
        **{
            f"{sweep}_sweep": Asset(
                partial(sweep_curves.sweep_figure, sweep=sweep),
                partial(sweep_curves.sweep_inputs, sweep=sweep),
                SWEEPS.load(sweep).title,
            )
            for sweep in SWEEPS.options()
        },
        "video_recipe_chart": Asset(
            video_charts.recipe_chart,
            partial(_results_among, (video_charts.RECIPE_SPLIT,), video_charts.MAIN_RECIPES),
            "Success by training recipe on the video backbone",
        ),
        "video_scaling_chart": Asset(
            video_charts.video_scaling_chart,
            partial(_results_among, sweep_splits().values(), video_charts.SCALING_MODELS),
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
            simulates=True,
        ),
        "augmentation": Asset(
            augmentation.augmentation_figure,
            augmentation.augmentation_inputs,
            "A training image before and after augmentation that moves the camera",
            simulates=True,
        ),
        "two_stage_diagram": Asset(
            diagrams.two_stage_diagram, _published, "Two-stage training of the video backbone"
        ),
        **{
            f"{split}_heatmap": Asset(
                partial(videos.heatmaps, split=split),
                partial(choices.video_inputs, split=split),
                f"What PARA looks at: {split_title(split)}",
                kind="video",
                simulates=True,
            )
            for split in HEATMAP_SPLITS
        },
        **{
            name: Asset(
                partial(video_clips.generated_frames, clip=clip),
                video_clips.clip_inputs,
                "What happened, and what the video model generates from the first frame",
                simulates=True,
            )
            for name, clip in (("frame_0", 0), ("frame_2", 2))
        },
        "gt_vs_gen_heatmaps": Asset(
            video_clips.heatmap_film,
            video_clips.clip_inputs,
            "Heatmaps over true and generated frames",
            kind="video",
            simulates=True,
        ),
        "ood_alignment": Asset(
            video_clips.alignment_film,
            video_clips.clip_inputs,
            "Predicted keypoints on generated frames",
            kind="video",
            simulates=True,
        ),
        "video_rollouts": Asset(
            video_clips.rollouts,
            video_clips.rollouts_inputs,
            "PARA and global regression on the video backbone",
            kind="video",
            simulates=True,
        ),
        f"{ALL_TASKS}_rollout_grid": Asset(
            partial(videos.grid_of_tasks, split=ALL_TASKS, model=MAIN_MODELS[0]),
            partial(videos.grid_of_tasks_inputs, split=ALL_TASKS, model=MAIN_MODELS[0]),
            "One policy for all tasks",
            kind="video",
            simulates=True,
        ),
        "libero_swapped": Asset(
            libero.swapped,
            libero.swapped_inputs,
            "LIBERO-PRO's swapped scene: both policies on the same start",
            kind="video",
            simulates=True,
        ),
        **{
            f"libero_{model}_rollout_grid": Asset(
                partial(libero.swapped_grid, model=model),
                partial(libero.swapped_grid_inputs, model=model),
                "LIBERO-PRO's swapped scene: the first nine starts",
                kind="video",
                simulates=True,
            )
            for model in MAIN_MODELS
        },
        "train_demos": Asset(
            videos.train_demos,
            videos.demo_files,
            "Training demonstrations 0, 128 and 255",
            kind="video",
            simulates=True,
        ),
        "the_demonstration": Asset(
            partial(videos.train_demos, indices=only, name="the_demonstration"),
            partial(videos.demo_files, indices=only),
            "The only demonstration",
            kind="video",
            simulates=True,
        ),
        **{
            f"{ONE_DEMO}_{model}_rollout_grid": Asset(
                partial(videos.grid, split=ONE_DEMO, model=model),
                partial(choices.video_inputs, split=ONE_DEMO, models=(model,)),
                "One demonstration: rollouts all over the table",
                kind="video",
                simulates=True,
            )
            for model in ONE_DEMO_MODELS
        },
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
    setting: Setting | None = None,
    profile: str = PROFILE,
    beside: Path | None = None,
) -> list[BuiltAsset]:
    """Build all assets, or those named in `only`, into `out_dir`; what is up to date is kept.

    Args:
        results_dir: Result files.
        runs_dir: Training runs (checkpoints and logs).
        data_dir: Demonstration sets.
        out_dir: Where pictures and videos go; the cache's notes are in its `.cache` folder.
        only: Names of assets; `UnknownNameError` for one that does not exist.
        workers: Processes that render videos.
        progress: Show a progress bar.
        kinds: Kinds of assets to build.
        setting: What the shown episodes are made in; None: the usual one.
        profile: Name of the profile whose results are shown.
        beside: Another `out_dir`, from which the same pictures are copied.

    Returns:
        One entry per asset, in the registry's order. An asset whose inputs were never made has
        status "not run", one whose inputs are unusable has status "failed"; neither stops the rest.
    """
    known = assets()
    names = [name for name, asset in known.items() if asset.kind in kinds]
    if only is not None:
        for name in only:
            if name not in known:
                raise UnknownNameError("asset", name, known)
        names = [name for name in known if name in only]
    sources = Sources.open(results_dir, runs_dir, data_dir, setting, profile, workers, progress)
    return build({name: known[name] for name in names}, sources, Path(out_dir), beside)
