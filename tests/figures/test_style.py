from dataclasses import replace

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb

from para.figures import style
from para.figures.style import THEMES, model_style, new_figure, save_figure, themed
from para.policies.base import POLICIES


def luminance(colour) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.name)
def test_text_and_data_colours_have_enough_contrast(theme):
    assert contrast(theme.ink, theme.surface) >= 7
    assert contrast(theme.muted, theme.surface) >= 4.5
    colours = [style.PARA_BLUE, style.BASELINE_ORANGE, style.TRAIN_GREEN, style.TEST_INDIGO]
    for colour in [*colours, style.SUCCESS_GREEN, style.FAIL_RED]:
        assert contrast(colour, theme.surface) >= 3, colour


def machado_deuteranopia(colour):
    """A colour as a deuteranope sees it (Machado et al., 2009, severity 1; linear RGB)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    rows = ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969))
    return [sum(m * c for m, c in zip(row, linear, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("a", "b"),
    [(style.PARA_BLUE, style.BASELINE_ORANGE), (style.TRAIN_GREEN, style.TEST_INDIGO)],
)
def test_pairs_that_are_compared_differ_without_green_vision(a, b):
    first, second = machado_deuteranopia(a), machado_deuteranopia(b)
    assert max(abs(x - y) for x, y in zip(first, second, strict=True)) > 0.2


def test_para_and_regression_differ_in_colour_and_in_mark():
    para, other = model_style("para"), model_style("regression")
    assert para.colour != other.colour
    assert para.marker != other.marker
    assert model_style("para-dinov2_vits14").colour == para.colour
    assert model_style("something_new") == model_style("something_new")


def test_no_two_policies_look_alike():
    names = [name for name in POLICIES.options() if POLICIES.schema(name).acts]
    looks = [replace(model_style(name), label="") for name in names]
    assert len(set(looks)) == len(names)


def test_names_are_the_titles_of_the_policies():
    assert model_style("regression").label == "Global regression"
    assert model_style("act").label == "ACT"
    assert model_style("act_published").label == "ACT as published"
    assert model_style("para_volume-dinov2_vits14").label == "PARA, volume head, dinov2_vits14"
    assert model_style("para_two_stage-svd_tiny").label == "PARA on video, two stages"
    assert model_style("something_new").label == "something_new"


def test_a_figure_is_the_same_bytes_every_time_and_leaves_no_settings_behind(tmp_path):
    before = dict(mpl.rcParams)
    files = []
    for name in ("a", "b"):
        with themed(style.DARK):
            figure = new_figure(2, 1)
            figure.add_subplot().plot([0, 1], [1, 0])
            files.append(save_figure(figure, tmp_path / name / "plot", style.DARK, dpi=50))
    assert dict(mpl.rcParams) == before
    for first, second in zip(*files, strict=True):
        assert first.name.startswith("plot-dark.")
        assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in files[0][0].read_bytes()
