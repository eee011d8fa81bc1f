"""A made-up campaign, and all figures drawn from it once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from drawn import FIGURES
from results_fixture import HERE, make_video_result, write_result, write_results, write_sweep

from para.figures.build import BuiltAsset
from para.figures.registry import build_assets
from para.figures.sources import Sources


@pytest.fixture(scope="session")
def campaign(tmp_path_factory) -> Path:
    """A results folder with every split, the main policies, two seeds, a learning curve each."""
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, seeds=(0, 1))
    for split, model in (
        ("lr", "para_two_stage-svd_tiny"),
        ("video_n64", "regression_two_stage-svd_tiny"),
    ):
        write_result(folder, make_video_result(split, model, 1000, 300))
    for model in ("para", "regression"):
        write_sweep(folder, "lens", model)
    for model, level in (("para", 3.0), ("regression", 0.3)):
        path = folder / "curves" / HERE / "left" / f"{model}-resnet10-colour" / "seed0.csv"
        path.parent.mkdir(parents=True)
        rows = [f"{step},{step / 5},{level / (1 + step / 50)},\n" for step in range(20, 400, 20)]
        path.write_text("step,seconds,loss,val_loss\n" + "".join(rows))
    return folder


@pytest.fixture(scope="session")
def sources(campaign) -> Sources:
    return Sources.open(campaign, campaign / "no_runs", campaign / "no_data")


@pytest.fixture(scope="session")
def figures_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("figures")


@pytest.fixture(scope="session")
def figures(campaign, figures_dir) -> dict[str, BuiltAsset]:
    """FIGURES, built once."""
    built = build_assets(
        *(campaign, campaign / "no_runs", campaign / "no_data", figures_dir),
        only=FIGURES,
        progress=False,
    )
    return {asset.name: asset for asset in built}
