import json
import time

import pytest
from drawn import FIGURES
from PIL import Image
from results_fixture import HERE, make_result, result_path, write_results

from para.errors import UnknownNameError
from para.figures import build as build_module
from para.figures.build import Asset, build
from para.figures.registry import assets, build_assets
from para.figures.sources import Sources
from para.figures.style import THEMES, themed
from para.registry import Registry

ASSETS = assets()
NEED_MORE = {"method_diagram", "latency_bars", "frame_0", "frame_2"}
NEED_MORE |= {"video_features_chart", "video_quality_chart"}
"""Figures that need more than result files."""
DRAWN = {name for name, asset in ASSETS.items() if asset.kind == "figure"}
NOTES_NAMES = """exp3_leftright_distribution exp3_train_test_distribution exp4_n8_distribution
exp4_n16_distribution exp4_n32_distribution exp4_n64_distribution
distractor_robustness_distribution vp_default_to_all_polar_overview vp_lr_polar_overview
vp_io_polar_overview vp_leftright_hemi_distribution per_theta_chart"""


def test_the_names_of_the_published_page_are_registered():
    assert set(NOTES_NAMES.split()) <= set(ASSETS)
    for split in ("vp_default_to_all", "vp_lr", "vp_io"):
        for model in ("para", "regression"):
            assert f"{split}_{model}_rollout_grid" in ASSETS


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FIGURES) - NEED_MORE))
def test_every_figure_is_made_in_both_themes(name, figures, figures_dir):
    asset = figures[name]
    assert asset.status == "built", asset.message
    (media,) = asset.media
    assert media.files == [f"{name}.svg", f"{name}.png", f"{name}-dark.svg", f"{name}-dark.png"]
    for file in media.files:
        assert 3_000 < (figures_dir / file).stat().st_size < 900_000
    for png, theme in zip((media.variants["png"], media.variants["dark_png"]), THEMES, strict=True):
        with Image.open(figures_dir / png) as picture:
            assert picture.width / picture.height == pytest.approx(
                media.width / media.height, abs=0.02
            )
            surface = tuple(int(theme.surface[i : i + 2], 16) for i in (1, 3, 5))
            assert picture.convert("RGB").getpixel((0, 0)) == surface
    svg = (figures_dir / media.file).read_text()
    assert "http://" not in svg.replace("http://www.w3.org/", "").replace(
        "http://purl.org/", ""
    ).replace("http://creativecommons.org/", "")
    assert len(media.alt) > 40


@pytest.mark.parametrize("name", sorted(set(FIGURES) - NEED_MORE))
def test_every_word_is_readable_on_a_phone(name, sources):
    """On a screen 390 px wide a figure gets about 358 px; no text may fall below 9 px."""
    from matplotlib.text import Text

    with themed(THEMES[0]):
        figure = ASSETS[name].make(sources, THEMES[0]).figure
    scale = 358 / (72 * figure.get_figwidth())
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert texts or "success_map" in name
    smallest = min(texts, key=lambda t: t.get_fontsize())
    assert smallest.get_fontsize() * scale >= 9, smallest.get_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NEED_MORE & set(FIGURES)))
def test_what_cannot_be_drawn_says_how_to_get_it(name, figures):
    asset = figures[name]
    assert asset.status == "not run"
    assert asset.command.startswith("python ")
    assert asset.media == ()


@pytest.mark.slow
def test_a_second_build_draws_nothing(campaign, figures, figures_dir, monkeypatch):
    def never(*_):
        raise AssertionError("drawn again")

    monkeypatch.setattr(build_module, "_draw", never)
    before = {p: p.stat().st_mtime_ns for p in figures_dir.glob("*.svg")}
    start = time.perf_counter()
    again = build_assets(
        *(campaign, campaign / "no_runs", campaign / "no_data", figures_dir),
        only=[*FIGURES, *(name for name in ASSETS if name not in DRAWN)],
        progress=False,
    )
    assert time.perf_counter() - start < 10
    for asset in again:
        assert asset.status in ("cached", "not run"), (asset.name, asset.message)
        if asset.name in figures and asset.status == "cached":
            assert asset.media == figures[asset.name].media
    assert {p: p.stat().st_mtime_ns for p in figures_dir.glob("*.svg")} == before


def chart_only(folder, out):
    (asset,) = build_assets(
        folder, folder / "runs", folder / "data", out, only=["per_theta_chart"], progress=False
    )
    return asset


def test_what_else_a_process_imported_changes_no_key(monkeypatch):
    draw, code_hash = ASSETS["lr_success_map"].make, build_module._code_hash.__wrapped__
    key = code_hash(draw.func, True)
    monkeypatch.setattr(Registry, "groups", {})
    assert code_hash(draw.func, True) == key


def test_the_same_picture_is_copied_from_the_folder_beside(tmp_path, monkeypatch):
    chosen = {"two_stage_diagram": ASSETS["two_stage_diagram"]}
    sources = Sources.open(tmp_path, tmp_path, tmp_path)
    (first,) = build(chosen, sources, tmp_path / "first")
    monkeypatch.setattr(build_module, "_draw", lambda *_: pytest.fail("drawn again"))
    (copied,) = build(chosen, sources, tmp_path / "second", beside=tmp_path / "first")
    assert copied.media == first.media
    for file in first.media[0].files:
        assert (tmp_path / "second" / file).read_bytes() == (tmp_path / "first" / file).read_bytes()
    (again,) = build(chosen, sources, tmp_path / "second")
    assert again.status == "cached"


def test_what_changed_is_drawn_again_and_nothing_else(tmp_path):
    results, out = tmp_path / "results", tmp_path / "out"
    write_results(results, splits=["vp_default_to_all", "lr"], ood=16, sanity=4)
    assert chart_only(results, out).status == "built"
    assert chart_only(results, out).status == "cached"

    other = result_path(results, make_result("lr", "para"))
    other.write_text(other.read_text() + "\n")  # not an input of this chart
    assert chart_only(results, out).status == "cached"

    own = result_path(results, make_result("vp_default_to_all", "para"))
    data = json.loads(own.read_text())
    first = next(e for e in data["episodes"] if e["test"] == "ood")
    first |= {"success": not first["success"]}
    first["stage"] = "PLACE" if first["success"] else "MISS"
    own.write_text(json.dumps(data))
    assert chart_only(results, out).status == "built"

    (out / "per_theta_chart-dark.svg").write_text("<svg/>")  # somebody damaged a picture
    assert chart_only(results, out).status == "built"
    (out / ".cache" / "per_theta_chart.json").write_text("{")
    assert chart_only(results, out).status == "built"


def test_a_damaged_result_file_is_left_out_and_named(tmp_path):
    write_results(tmp_path, splits=["lr"], ood=8, sanity=4)
    broken = result_path(tmp_path, make_result("lr", "para"))
    broken.write_text(broken.read_text()[:500])
    found = Sources.open(tmp_path, tmp_path, tmp_path).results
    (item,) = found.left_out
    assert item.name == broken.relative_to(tmp_path).as_posix()
    assert "damaged" in item.reason
    assert [r.model for r in found.results] == ["regression"]


def test_an_unusable_input_fails_its_asset_only(tmp_path):
    write_results(tmp_path / "results", splits=["vp_default_to_all"], ood=16, sanity=4)
    curve = tmp_path / "results" / "curves" / HERE / "left" / "para-resnet10-colour" / "seed0.csv"
    curve.parent.mkdir(parents=True)
    curve.write_text("step,loss\n20,much\n")
    names = ["per_theta_chart", "learning_curves"]
    chart, curves = build_assets(
        tmp_path / "results", tmp_path, tmp_path, tmp_path / "out", only=names, progress=False
    )
    assert chart.status == "built"
    assert curves.status == "failed"
    assert str(curve) in curves.message


def test_nothing_was_run_at_all(tmp_path):
    names = [n for n in ASSETS if "distribution" not in n and "overview" not in n]
    for drawn in ("two_stage_diagram", "augmentation"):  # they need no results
        names.remove(drawn)
    names.append("place_error_distribution")
    for asset in build_assets(
        tmp_path, tmp_path, tmp_path, tmp_path / "out", names, progress=False
    ):
        assert asset.status == "not run", asset.name
        assert "python " in asset.command


def test_unknown_names_are_refused_with_a_suggestion(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'per_theta_chart'"):
        build_assets(tmp_path, tmp_path, tmp_path, tmp_path, only=["per_teta_chart"])


def test_files_of_an_earlier_build_that_are_no_longer_made_are_removed(tmp_path):
    from para.figures.build import Film, Media

    name = ["old.mp4"]

    def make(_sources):
        def compose(_frames, folder):
            (folder / name[0]).write_bytes(b"x")
            return [Media(name[0], 2, 2, "")]

        return Film((), compose)

    marker = tmp_path / "input"
    asset = Asset(make, lambda _s: [marker], "", kind="video")
    out = tmp_path / "out"
    out.mkdir()
    for i, file in enumerate(("old.mp4", "new.mp4")):
        marker.write_text(str(i))
        name[0] = file
        (built,) = build({"clip": asset}, Sources.open(tmp_path, tmp_path, tmp_path), out)
        assert built.status == "built"
    assert sorted(p.name for p in out.glob("*.mp4")) == ["new.mp4"]
