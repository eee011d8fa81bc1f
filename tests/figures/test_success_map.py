"""The figure at the end of an evaluation shows every episode where it started."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from envs.base import load_task
from envs.splits import load_split
from para.figures import success_map as module
from para.figures.maps import started
from para.figures.style import LIGHT, model_style, new_figure, themed
from para.figures.success_map import success_map
from para.figures.tasks import stages_of
from para.runs.identity import Setting
from tests.results_fixture import make_result

STAGES = stages_of("bowl_on_plate", ["MISS", "GRASP", "PLACE"])


def test_one_mark_per_episode_at_its_start():
    episodes = make_result("lr", "para", ood=40)["episodes"][:40]
    axes = new_figure().subplots()
    setting = Setting("bowl_on_plate", "panda", "together")
    module._draw_episodes(axes, episodes, model_style("para"), STAGES, setting)
    drawn = {line.get_marker(): line for line in axes.lines[::-1]}  # x: MISS, o: PLACE
    missed = [e["condition"]["position"] for e in episodes if e["stage"] == "MISS"]
    assert len(drawn["x"].get_xdata()) == len(missed)
    assert sum(len(line.get_xdata()) for line in axes.lines) == 40
    placed = [e["condition"]["position"] for e in episodes if e["stage"] == "PLACE"]
    expected = np.array(placed)[:, ::-1]  # y to the right, x downwards
    shown = np.stack(drawn["o"].get_data(), 1)
    assert shown == pytest.approx(expected)


def test_marks_of_objects_that_stand_apart_are_where_the_moved_one_stood():
    """On the training grid, too, it is that one which stands on a position."""
    task, layout = load_task("pick_named"), "independent"
    starts = [task.random(np.random.default_rng(seed), layout) for seed in range(5)]
    episodes = [{"condition": {"position": [9, 9], **start.to_dict()}} for start in starts]
    shown = started(episodes, Setting("pick_named", "panda", layout))
    np.testing.assert_array_equal(shown, [start.at(start.named[0]) for start in starts])
    assert len({start.named[0] for start in starts}) > 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_legend_of_long_words_stays_inside(count, monkeypatch):
    result = make_result("lr", "para", ood=8)
    words = "not on the one that is named"
    stages = [replace(stage, meaning=f"{stage.meaning}, {words}") for stage in STAGES]
    monkeypatch.setattr(module, "stages_of", lambda *_: stages)
    with themed(LIGHT):
        results = {f"para_{k}": result for k in range(count)}
        figure = module.draw_success_map(results, load_split("lr"), "ood")
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1


def test_views_show_their_counts():
    episodes = [
        e for e in make_result("vp_lr", "regression", ood=56)["episodes"] if e["test"] == "ood"
    ]
    axes = new_figure().subplots(subplot_kw={"projection": "polar"})
    module._draw_views(axes, episodes, model_style("regression"))
    counts = [text.get_text().split("/") for text in axes.texts]
    assert sum(int(n) for _, n in counts) == 56
    assert sum(int(k) for k, _ in counts) == sum(e["success"] for e in episodes)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_many_policies_are_wrapped_into_rows_that_fit_a_screen(count):
    labels = [f"para_{'very_' * 6}long_{k}-some_backbone_with_a_long_name" for k in range(count)]
    result = make_result("vp_io", "para", ood=32)
    split = load_split("vp_io")
    split.title = "A title of a split that is told in rather many words and still goes on"
    with themed(LIGHT):
        figure = module.draw_success_map(dict.fromkeys(labels, result), split, "ood")
    FigureCanvasAgg(figure).draw()
    assert figure.get_size_inches()[0] * 200 <= 2000
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == count
    boxes = [axes.title.get_window_extent() for axes in panels]
    boxes += [figure._suptitle.get_window_extent()]
    assert not [1 for one, other in combinations(boxes, 2) if one.overlaps(other)]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


@pytest.mark.parametrize("split", ["lr", "vp_io"])
def test_files(tmp_path, split):
    results = {model: make_result(split, model, ood=32) for model in ("para", "regression")}
    for result in results.values():
        result["environment"]["robot"] = "hand"
    svg, png = success_map(results, load_split(split), tmp_path / "map")
    assert (svg.name, png.name) == ("map.svg", "map.png")
    assert svg.read_text().startswith("<?xml")
    image = np.asarray(Image.open(png).convert("RGB")) / 255
    assert image.shape[1] > 1.5 * image.shape[0]
    # Each policy's colour is on its own side only.
    half = image.shape[1] // 2
    for model, (mine, other) in {"para": (0, 1), "regression": (1, 0)}.items():
        close = np.abs(image - to_rgb(model_style(model).colour)).max(-1) < 0.03
        sides = [close[:, :half].sum(), close[:, half:].sum()]
        assert sides[mine] > 30
        assert sides[other] <= 0.02 * sides[mine] + 5
    assert (np.abs(image[0, 0] - to_rgb(LIGHT.surface)) < 0.01).all()
