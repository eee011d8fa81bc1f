"""The figures of the study: what is plotted is what the files say, what is missing says so."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from results_fixture import make_result, result_path, write_result, write_sweep

from envs.table import PHYSICS
from para.camera import Camera
from para.campaign.cells import campaigns
from para.campaign.config import ReproduceConfig
from para.cli import load_config
from para.evaluation.result_set import ResultSet
from para.figures import augmentation, study, sweep_curves
from para.figures.drawing import Drawing
from para.figures.sources import NotRun, Sources
from para.figures.style import LIGHT, themed
from para.website.content import Numbers, three_way
from para.website.first_campaign import then_and_now


def write(folder, split, model, augment, layout="independent", seeds=(0,), rate=0.5):
    """Made-up results of a policy with an augmentation; returns the successes of each seed."""
    usual = "colour" if model == "regression" else "camera"
    counts = []
    for seed in seeds:
        result = make_result("lr", model, seed, ood=40, sanity=2)
        outcome = np.random.default_rng([seed, int(100 * rate)])
        for episode in result["episodes"]:
            episode["success"] = bool(outcome.random() < rate)
            episode["stage"] = "PLACE" if episode["success"] else "MISS"
        result |= {"split": split, "augment": augment}
        result["backbone"]["name"] = "resnet10"
        result["environment"] |= {"layout": layout, "version": PHYSICS}
        result["model"] = model if augment == usual else f"{model}@{augment}"
        counts.append(sum(e["success"] for e in result["episodes"] if e["test"] == "ood"))
        assert result_path(folder, result) not in folder.rglob("*.json")
        write_result(folder, result)
    return counts


def write_before(folder, split):
    """A made-up result of PARA in the simulated world of before."""
    result = make_result("lr", "para", ood=40, sanity=2) | {"split": split, "augment": "colour"}
    result["environment"] |= {"layout": "together", "version": PHYSICS - 1}
    write_result(folder, result)


def draw(folder, figure) -> Drawing:
    with themed(LIGHT):
        return figure(Sources.open(folder, folder, folder), LIGHT)


def test_every_combination_is_a_row_told_apart_by_what_was_followed(tmp_path):
    seeds, here = (0, 1, 2), study.LAYOUT
    got = write(tmp_path, "lr", "para", "camera", here, seeds=seeds, rate=0.9)
    write(tmp_path, "lr", "para", "colour", here, seeds=seeds, rate=0.3)
    write(tmp_path, "lr", "regression", "forced", here, rate=0.1)
    write(tmp_path, "lr", "para", "camera", "independent", rate=0.0)  # is not mixed in
    drawing = draw(tmp_path, study.three_way_figure)
    assert drawing.data["lr"]["para"]["successes"] == sum(got)
    assert set(drawing.data["lr"]) == {"para", "para@colour", "regression@forced"}
    dots = [line for line in drawing.figure.axes[0].lines if line.get_markersize() == 2.6]
    assert [list(line.get_xdata()) for line in dots][-1] == [100 * n / 40 for n in got]
    texts = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
    assert texts.count("not run") == 2 * len(study.THREE_WAY_MODELS) * 2 - 3
    assert len(study.three_way_inputs(Sources.open(tmp_path, tmp_path, tmp_path))) == 7


def test_a_combination_is_not_told_by_results_of_the_world_before(tmp_path):
    """PARA as it was trained then, with colours only, has the name of PARA as it is trained now."""
    here = study.LAYOUT
    write(tmp_path, "lr", "para", "camera", here, rate=0.9)
    write_before(tmp_path, "lr")
    drawing = draw(tmp_path, study.three_way_figure)
    assert set(drawing.data["lr"]) == {"para"}
    labels = {(r.model, r.augmented): r.label for r in study.three_way(ResultSet.load(tmp_path))}
    assert labels["para", False] is None


def test_floors_are_no_curves(tmp_path):
    for split in ("demos_n1", "corner_n4"):
        for model in ("para", "colour"):
            write(tmp_path, split, model, "camera", rate=1.0)
    assert set(draw(tmp_path, study.demonstrations_figure).data["independent"]) == {"para"}


def test_a_curve_joins_results_of_one_world(tmp_path):
    for split in ("demos_n1", "corner_n4"):
        write(tmp_path, split, "para", "camera", "together", rate=0.9)
    write_before(tmp_path, "corner_n16")
    drawing = draw(tmp_path, study.demonstrations_figure)
    assert set(drawing.data["together"]["para"]) == {"1", "4"}
    assert set(drawing.data) == {"together"}  # no panel without a curve


def test_the_table_has_the_numbers_of_the_figure(tmp_path):
    got = write(
        tmp_path,
        "corner_n8",
        "pixel_regression",
        "camera",
        study.LAYOUT,
        (0, 1),
        rate=0.7,
    )
    rows = three_way(Numbers(ResultSet.load(tmp_path)))
    facts = [(row.model, row.told, row.pixel, row.augmented) for row, _ in rows]
    assert facts[:4] == [
        ("regression", False, False, False),
        ("regression", False, False, True),
        ("regression_camera", True, False, False),
        ("regression_camera", True, False, True),
    ]
    assert {pixel for model, told, pixel, _ in facts[4:]} == {True}
    numbers = {(row.model, row.augmented): found for row, found in rows}
    lr, corners = numbers["pixel_regression", True]
    assert lr is None
    assert corners.rate.successes == sum(got)
    assert numbers["para", True] == [None, None]


def test_curves_have_a_panel_per_layout_and_name_what_is_missing(tmp_path):
    for layout in ("together", "independent"):
        for split in ("demos_n1", "corner_n8", "demos_n256"):
            write(tmp_path, split, "para", "camera", layout, seeds=(0, 1), rate=0.8)
    write(tmp_path, "demos_n1", "para", "colour", "together", rate=0.1)
    write(tmp_path, "demos_n256", "para", "colour", "together", rate=0.6)
    write(tmp_path, "corner_n8", "act", "colour", "together")  # a point is no curve
    drawing = draw(tmp_path, study.demonstrations_figure)
    assert set(drawing.data) == {"together", "independent"}
    assert set(drawing.data["together"]) == {"para", "para@colour"}
    assert list(drawing.data["independent"]["para"]) == ["1", "8", "256"]
    left = drawing.figure.axes[0]
    assert [text.get_text() for text in left.get_xticklabels()] == [
        "1",
        "2",
        "4",
        "8",
        "16",
        "64",
        "256",
    ]
    assert "PARA was not run with 2, 4, 16, 64 (objects together)." in drawing.notes
    for line, label in zip(left.lines, ("para", "para@colour"), strict=True):
        values = [rate["percent"] for rate in drawing.data["together"][label].values()]
        np.testing.assert_allclose(line.get_ydata(), values)


def test_cameras_are_counted_as_the_splits_have_them(tmp_path):
    with pytest.raises(NotRun) as missing:
        study.cameras_inputs(Sources.open(tmp_path, tmp_path, tmp_path))
    assert missing.value.command.endswith("reproduce.py figure=cameras")
    for split in ("vp_train_1", "vp_train_64"):
        write(tmp_path, split, "regression_camera", "camera", study.LAYOUT)
    drawing = draw(tmp_path, study.cameras_figure)
    assert list(drawing.data["regression_camera"]) == ["1", "64"]
    assert drawing.notes == ("Global regression, told the camera was not run with 8.",)


@pytest.mark.parametrize("figure", ["three_way", "cameras"])
def test_figures_are_drawn_from_what_their_campaigns_make(figure):
    cells = campaigns(load_config(ReproduceConfig, [f"figure={figure}"]))[f"figure={figure}"]
    assert {cell.layout for cell in cells} == {study.LAYOUT}


def test_the_label_of_a_warped_image_is_the_same_point():
    """The rays of all marked pixels meet in the label, from an eye that stays where it is."""
    shown, _, side = augmentation.views(size=64)
    before, *after = shown
    assert isinstance(side, Camera)
    for view in after:
        assert np.linalg.norm(view.pixel - before.pixel) > 0.5
        assert np.abs(view.image - before.image).max() > 0.2
        np.testing.assert_allclose(view.point, before.point, atol=1e-4)
        eye = view.camera.T_world_camera[:3, 3]
        np.testing.assert_allclose(eye, before.camera.T_world_camera[:3, 3], atol=1e-6)


def test_old_numbers_stand_beside_new_ones_on_final_starts(tmp_path):
    write_result(tmp_path, make_result("lr", "para") | {"starts": "dev"})
    write_result(tmp_path, make_result("nf", "para") | {"starts": "final"})
    rows = then_and_now(Numbers(ResultSet.load(tmp_path))).splitlines()
    lr, nf = (
        next(row for row in rows if f"`{split}`" in row).split(" | ") for split in ("lr", "nf")
    )
    assert lr[1:3] == ["97.0 % [91.5, 99.0] n=100", "not run"]
    assert nf[1].startswith("100.0 %")
    assert nf[2].endswith("n=96")
    assert nf[4] == "not run"


def test_who_follows_what_is_said_by_the_classes():
    rows = {model: rest for model, *rest in study.followers()}
    assert rows["para"] == ["yes", "pixels", "every warp"]
    assert rows["act_camera"] == ["yes", "camera x, y, z", "every warp"]
    assert rows["regression"] == ["no", "world x, y, z", "colours only"]
    assert "video" not in rows


def test_curves_of_a_sweep_pool_seeds_at_each_level(tmp_path):
    draw_light = partial(sweep_curves.sweep_figure, sweep="light")
    with pytest.raises(NotRun, match=r"sweep=light was not run"):
        sweep_curves.sweep_inputs(Sources.open(tmp_path, tmp_path, tmp_path), "light")
    done = ({0.4: 1, 1.6: 3}, {0.4: 0, 1.6: 3})
    for seed in (0, 1):
        found = done[seed]
        write_sweep(
            *(tmp_path, "light", "para", seed),
            succeed=lambda level, found=found: found.get(level.get("light"), 4),
        )
    write_sweep(tmp_path, "light", "regression", succeed=lambda level: 0 if level else 2)
    drawing = draw(tmp_path, draw_light)
    words = [f"{name}: {rate['successes']}" for name, rate in drawing.data["para"].items()]
    light = "light, as a multiple of the usual"
    assert {"undisturbed: 8", f"{light}: 0.4: 1", f"{light}: 1.6: 6"} <= {*words}
    assert f"{light}: 0.4: 12 %" in drawing.alt
    (axes,) = drawing.figure.axes
    for line in axes.lines:
        assert list(line.get_xdata()) == [0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6]
    assert list(axes.lines[1].get_ydata()) == [0, 0, 0, 50, 0, 0, 0]
    inputs = sweep_curves.sweep_inputs(Sources.open(tmp_path, tmp_path, tmp_path), "light")
    assert len(inputs) == 3
