"""What is plotted equals what the result files say, computed again in the plainest way."""

import json

import numpy as np
import pytest

from para.cli import load_config
from para.errors import ResultError
from para.figures import charts, curves, maps, video_charts
from para.figures.sources import NotRun, Sources
from para.figures.splits import main_splits
from para.figures.style import BASELINE_ORANGE, LIGHT, PARA_BLUE, themed
from para.runs.config import TrainConfig
from para.runs.policy_file import save_policy
from para.statistics import hierarchical_interval, wilson
from tests.results_fixture import HERE, RESULTS
from tests.runs_fixture import policy_meta

COLOURS = {"para": PARA_BLUE, "regression": BASELINE_ORANGE}


@pytest.fixture(autouse=True)
def light():
    with themed(LIGHT):
        yield


def records(campaign, split, model, test="ood"):
    files = sorted((campaign / RESULTS / split / f"{model}-laptop_cnn-colour").glob("seed*.json"))
    return [e for f in files for e in json.loads(f.read_text())["episodes"] if e["test"] == test]


def by_seed(campaign, split, model, theta):
    """Successes (seeds, starts) at a polar angle, straight from the files."""
    rows = {}
    for path in sorted(
        (campaign / RESULTS / split / f"{model}-laptop_cnn-colour").glob("seed*.json")
    ):
        for e in json.loads(path.read_text())["episodes"]:
            if e["test"] == "ood" and round(e["condition"]["theta_deg"], 1) == theta:
                rows.setdefault(path, []).append(e["success"])
    return np.array(list(rows.values()))


def solid_lines(axes, model):
    """(x, y) of the measured lines of a policy."""
    lines = [ln for ln in axes.lines if ln.get_color() == COLOURS[model] and ln.get_alpha() is None]
    return [(np.asarray(ln.get_xdata()), np.asarray(ln.get_ydata())) for ln in lines]


@pytest.mark.parametrize("model", ["para", "regression"])
def test_per_theta_chart_plots_the_rates_and_intervals_over_seeds(campaign, sources, model):
    drawing = charts.per_theta_chart(sources, LIGHT)
    episodes = records(campaign, "vp_default_to_all", model)
    thetas = sorted({round(e["condition"]["theta_deg"], 1) for e in episodes})
    expected, intervals = [], []
    for theta in thetas:
        own = by_seed(campaign, "vp_default_to_all", model, theta)
        expected.append(100 * own.mean())
        several = len(own) > 1
        intervals.append(hierarchical_interval(own) if several else wilson(own.sum(), own.size))
    (axes,) = drawing.figure.axes
    xs, ys = max(solid_lines(axes, model), key=lambda line: len(line[0]))
    np.testing.assert_allclose(xs, thetas)
    np.testing.assert_allclose(ys, expected)
    for theta, (low, high) in zip(thetas, intervals, strict=True):
        stored = drawing.data[model][str(theta)]
        assert (stored["low"], stored["high"]) == pytest.approx((100 * low, 100 * high))
    assert f"n={len(episodes) // 8}" in drawing.alt


def test_published_numbers_are_faint_dashed_and_labelled(sources):
    (axes,) = charts.per_theta_chart(sources, LIGHT).figure.axes
    faint = [ln for ln in axes.lines if ln.get_alpha() is not None]
    assert [list(ln.get_ydata()) for ln in faint] == [
        [88, 79, 62, 63, 62, 62, 33, 38],
        [67, 54, 42, 17, 12, 0, 0, 0],
    ]
    assert all(ln.get_linestyle() == "--" and ln.get_markerfacecolor() == "none" for ln in faint)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["PARA", "PARA, published", "Global regression", "ACT, published"]


def test_stage_bars_are_the_shares_of_each_stage(campaign, sources):
    drawing = charts.stage_breakdown(sources, LIGHT)
    bars = iter(drawing.figure.axes[0].patches)
    for split in (split for split in main_splits() if records(campaign, split, "para")):
        for model in ("para", "regression"):
            stages = [e["stage"] for e in records(campaign, split, model)]
            widths = [next(bars).get_width() for _ in range(3)]
            expected = [100 * stages.count(s) / len(stages) for s in ("PLACE", "GRASP", "MISS")]
            np.testing.assert_allclose(widths, expected)
            assert sum(widths) == pytest.approx(100)
    assert next(bars, None) is None


def test_error_distribution_is_the_empirical_one(campaign, sources):
    drawing = charts.place_error_distribution(sources, LIGHT)
    axes = next(a for a in drawing.figure.axes if a.get_title(loc="left") == "Near to far")
    errors = np.sort([e["place_error_m"] for e in records(campaign, "nf", "regression")])
    steps = max(solid_lines(axes, "regression"), key=lambda line: len(line[0]))
    np.testing.assert_allclose(steps[0][1:-1], 100 * errors)
    np.testing.assert_allclose(steps[1][1:-1], 100 * np.arange(1, len(errors) + 1) / len(errors))
    assert drawing.data["nf"]["regression"]["median_cm"] == pytest.approx(100 * np.median(errors))


def test_scaling_chart_plots_every_corner_split(campaign, sources):
    drawing = charts.data_scaling_chart(sources, LIGHT)
    for model in ("para", "regression"):
        expected = {}
        for n in (4, 8, 16, 32, 64):
            outcomes = [e["success"] for e in records(campaign, f"corner_n{n}", model)]
            expected[n] = 100 * np.mean(outcomes)
        xs, ys = max(solid_lines(drawing.figure.axes[0], model), key=lambda line: len(line[0]))
        np.testing.assert_allclose(xs, list(expected))
        np.testing.assert_allclose(ys, list(expected.values()))


def test_position_map_has_a_mark_for_every_start_where_it_was(campaign, sources):
    drawing = maps.position_success_map(sources, LIGHT, "lr")
    for axes, model in zip(drawing.figure.axes, ("para", "regression"), strict=True):
        own = records(campaign, "lr", model)
        # in the default image y runs to the right, and far (+x) is at the bottom
        for stage, line in zip(("MISS", "GRASP", "PLACE"), axes.lines[1:4], strict=True):
            expected = [e["condition"]["position"][::-1] for e in own if e["stage"] == stage]
            np.testing.assert_allclose(
                np.sort(np.column_stack(line.get_data()), 0),
                np.sort(np.reshape(expected, (-1, 2)), 0),
            )
        assert axes.get_ylim()[0] > axes.get_ylim()[1]
        assert f"{sum(e['success'] for e in own)}/{len(own)}" in axes.get_title(loc="left")


def test_view_map_pools_all_azimuths_of_the_default_view(campaign):
    episodes = records(campaign, "vp_default_to_all", "regression")
    rates = maps.view_rates(episodes)
    assert len(rates) == 1 + 7 * 8
    centre = [e["success"] for e in episodes if e["condition"]["theta_deg"] == 0]
    assert (rates[0, 0].successes, rates[0, 0].n) == (sum(centre), len(centre))
    one = [
        e["success"]
        for e in episodes
        if e["condition"]["theta_deg"] == 25 and e["condition"]["phi_deg"] == 135
    ]
    assert (rates[7, 3].successes, rates[7, 3].n) == (sum(one), len(one))


def test_a_policy_that_was_not_run_is_noted_and_not_drawn(tmp_path):
    from results_fixture import write_results

    write_results(tmp_path, splits=["vp_default_to_all"], models=["para"])
    only_para = Sources.open(tmp_path, tmp_path, tmp_path)
    drawing = charts.per_theta_chart(only_para, LIGHT)
    assert drawing.notes == ("Global regression was not run on vp_default_to_all.",)
    assert not solid_lines(drawing.figure.axes[0], "regression")
    with pytest.raises(NotRun, match="corner"):
        charts.data_scaling_chart(only_para, LIGHT)


def test_learning_curves_draw_the_logged_losses(sources):
    drawing = curves.learning_curves(sources, LIGHT)
    assert drawing.data == {"para": 1, "regression": 1}
    line = drawing.figure.axes[0].lines[0]
    steps = np.arange(20, 400, 20)
    np.testing.assert_array_equal(line.get_xdata(), steps)
    inner = (3.0 / (1 + steps / 50))[5:10].mean()  # a running mean over five rows
    assert line.get_ydata()[7] == pytest.approx(inner)


def test_curves_of_evaluated_runs_are_kept_with_the_results(tmp_path, campaign, caplog):
    from results_fixture import make_result, write_result

    run = tmp_path / "runs" / HERE / "left" / "para-resnet10-colour" / "seed0"
    run.mkdir(parents=True)
    rows = [{"step": s, "seconds": s / 3, "loss": 1 / s, "lr": 0.001} for s in range(1, 1001)]
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_result(tmp_path / "results", make_result("lr"))
    kept = Sources.open(tmp_path / "results", tmp_path / "runs", tmp_path)
    assert curves.keep_curves(kept) == []  # it has only begun
    meta = policy_meta(load_config(TrainConfig))
    save_policy(run, {}, meta | {"finished": False})
    assert curves.keep_curves(kept) == []  # it is still being trained
    (run / "policy.json").write_text("{")
    assert curves.keep_curves(kept) == []  # nobody knows
    assert "policy.json is damaged" in caplog.text
    save_policy(run, {}, meta)
    (path,) = curves.keep_curves(kept)
    curve = curves.read_curve(path)
    assert (
        path
        == tmp_path / "results" / "curves" / HERE / "left" / "para-resnet10-colour" / "seed0.csv"
    )
    assert (curve.train_set, curve.model, curve.seed) == ("left", "para", 0)
    assert len(curve.step) <= curves.MOST_ROWS
    assert (curve.step[0], curve.step[-1]) == (1, 1000)
    np.testing.assert_allclose(curve.loss, 1 / curve.step, rtol=1e-5)
    assert curves.keep_curves(kept) == []  # nothing changed


@pytest.mark.parametrize("rows", [1, 3, 5, 9])
def test_a_running_mean_is_as_long_as_its_values(rows):
    values = np.arange(rows, dtype=float)
    smooth = curves._smooth(values)
    assert smooth.shape == values.shape
    assert smooth[rows // 2] == pytest.approx(rows // 2)


def test_latency_bars_show_the_medians_of_the_benchmark(tmp_path):
    rows = [
        {"profile": p, "model": m, "precision": precision, "median_ms": t, "fastest_ms": t / 2}
        | {"slowest_ms": 2 * t}
        for p, m, precision, t in (
            ("laptop", "para", "fp32", 9.5),
            ("laptop", "para", "bf16", 99.0),
            ("laptop", "regression", "fp32", 8.0),
            ("paper", "para", "fp32", 310.0),
        )
    ]
    path = tmp_path / "benchmarks" / "latency.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"rows": rows, "threads": 2, "hardware": {"cpu": "A CPU"}}))
    drawing = charts.latency_bars(Sources.open(tmp_path, tmp_path, tmp_path), LIGHT)
    widths = [[bar.get_width() for bar in axes.patches] for axes in drawing.figure.axes]
    assert widths == [[9.5, 8.0], [310.0]]
    path.write_text(json.dumps({"rows": [{"profile": "laptop"}]}))
    with pytest.raises(ResultError, match=r"latency\.json is not a result of benchmarks/latency"):
        charts.latency_bars(Sources.open(tmp_path, tmp_path, tmp_path), LIGHT)


def test_frozen_features_are_drawn_with_their_intervals(tmp_path):
    path = tmp_path / "benchmarks" / "video_features.json"
    path.parent.mkdir()
    counts = {"as recipe=frozen": (36, 72), "noise level 1": (12, 5)}
    rows = [
        {"change": change, "sanity": {"successes": a, "n": 60}, "ood": {"successes": b, "n": 100}}
        for change, (a, b) in counts.items()
    ]
    path.write_text(json.dumps({"rows": rows}))
    drawing = video_charts.features_chart(Sources.open(tmp_path, tmp_path, tmp_path), LIGHT)
    axes = drawing.figure.axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [60, 72, 20, 5]
    assert "noise level 1: 20 % [12, 32] n=60 in distribution, 5 %" in drawing.alt
    path.write_text(json.dumps({"rows": [{"change": "noise level 1"}]}))
    with pytest.raises(ResultError, match=r"video_features\.json is not a result"):
        video_charts.features_chart(Sources.open(tmp_path, tmp_path, tmp_path), LIGHT)


def test_clip_quality_is_drawn_beside_that_of_the_first_frame(tmp_path):
    path = tmp_path / "benchmarks" / "video_quality.json"
    path.parent.mkdir()
    sources = Sources.open(tmp_path, tmp_path, tmp_path)
    with pytest.raises(NotRun, match="video_quality"):
        video_charts.quality_chart(sources, LIGHT)

    def row(steps, ssim):
        frames = [
            {"frame": k, "clips": 4, "generated_psnr_db": 30.0 - k, "generated_ssim": ssim}
            | {"first_frame_psnr_db": 28.0 - 2 * k, "first_frame_ssim": 0.8}
            for k in (1, 2, 3)
        ]
        return {"steps": steps, "sigma_min": 3.0, "sets": {"held_out": {"frames": frames}}}

    path.write_text(json.dumps({"rows": [row(600, 0.7), row(2400, 0.9)]}))
    drawing = video_charts.quality_chart(sources, LIGHT)
    psnr, ssim = drawing.figure.axes
    expected = [[29, 28, 27], [29, 28, 27], [26, 24, 22]]
    assert [list(line.get_ydata()) for line in psnr.lines] == expected
    assert [line.get_ydata()[0] for line in ssim.lines] == [0.7, 0.9, 0.8]
    longest = "2400 steps, sampled down to noise level 3"
    assert drawing.data[f"{longest}/psnr_db"] == {1: 29, 2: 28, 3: 27}


def test_video_charts_plot_the_rates_of_each_recipe(tmp_path):
    from results_fixture import make_result, make_video_result, write_result

    two_stage, regression = "para_two_stage-svd_tiny", "regression_two_stage-svd_tiny"
    for model in (two_stage, regression):
        write_result(tmp_path, make_video_result("lr", model, 1000, 300))
    write_result(tmp_path, make_video_result("video_n16", two_stage, 1000, 300))
    write_result(tmp_path, make_result("video_n64", "para"))
    sources = Sources.open(tmp_path, tmp_path, tmp_path)

    drawing = video_charts.recipe_chart(sources, LIGHT)
    assert list(drawing.data) == [two_stage, regression]
    shown = drawing.figure.axes[0].lines
    for model, tests in drawing.data.items():
        for test, values in tests.items():
            rate = sources.results.rate("lr", model, test)
            assert (values["successes"], values["n"]) == (rate.successes, rate.n)
            y = video_charts.MAIN_RECIPES.index(model) + (0.24 if test == "ood" else 0)
            drawn = [xy for line in shown for xy in zip(*line.get_data(), strict=True)]
            assert (pytest.approx(100 * rate.value), pytest.approx(y)) in drawn
    assert any("joint" in note for note in drawing.notes)

    drawing = video_charts.video_scaling_chart(sources, LIGHT)
    assert {m: list(points) for m, points in drawing.data.items()} == (
        {two_stage: ["16"], "para": ["64"]}
    )
    with pytest.raises(NotRun, match="video_n4"):
        video_charts.video_scaling_chart(Sources.open(tmp_path / "no", tmp_path, tmp_path), LIGHT)
