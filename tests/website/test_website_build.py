"""Hostile and damaged input, an atomic build, the script, and the local server."""

from __future__ import annotations

import dataclasses
import json

import pytest

from para.cli import load_config
from para.evaluation.result_set import ResultSet
from para.website import build
from para.website.build import Source, build_site
from para.website.config import MakeWebsiteConfig
from para.website.longer import FILE as LONGER_FILE
from para.website.make import make_website
from tests.results_fixture import (
    HERE,
    RESULTS,
    make_result,
    result_path,
    write_result,
    write_results,
)
from tests.website.made_up_assets import make_assets
from tests.website.page_tree import parse

HOSTILE = "<img src=x onerror=hacked()>"


def test_the_trained_view_is_called_that_where_it_was_not_tested(tmp_path):
    result = make_result("vp_default_to_all")
    episodes = [e for e in result["episodes"] if e["test"] == "ood"]
    turned = [e for e in episodes if e["condition"]["theta_deg"] > 0]
    result["episodes"] = [episode | {"index": k} for k, episode in enumerate(turned)]
    for name, episodes_shown, trained in (("old", episodes, 0), ("new", result["episodes"], 3)):
        write_result(tmp_path / name, result | {"episodes": episodes_shown})
        build_site(tmp_path / name, tmp_path, [], tmp_path / f"{name}_out")
        page = parse((tmp_path / f"{name}_out" / "index.html").read_text())
        first, *others = page.find(data_table="per-theta")[0].find("tbody")[0].find("tr")
        assert first.text.count("trained view") == trained
        assert not any("trained view" in row.text for row in others)


def test_text_from_results_is_escaped(tmp_path):
    result = make_result("lr") | {"git": "<script>hacked()</script>"}
    result["hardware"]["cpu"] = f"<script>hacked()</script>{HOSTILE}"
    result["created"] = "2026-01-10T12:00<svg/onload=hacked()>"
    result["environment"]["stages"] = ["<b>MISS", "GRASP", "PLACE"]
    for episode in result["episodes"]:
        episode["stage"] = episode["stage"].replace("MISS", "<b>MISS")
    path = write_result(tmp_path / "results", result)
    path.with_name("seed1.json").write_text(json.dumps(result | {"model": HOSTILE}))
    misplaced = make_result("nf") | {"model": "<script>hacked()</script>"}
    path.with_name("seed2.json").write_text(json.dumps(misplaced))
    site = build_site(tmp_path / "results", tmp_path, [], tmp_path / "out")
    page = parse((tmp_path / "out" / "index.html").read_text())
    scripts = [script.attributes["src"] for script in page.find("script")]
    assert scripts == ["static/early.js", "static/site.js"]
    assert not page.find(onerror=None)
    assert not page.find(onload=None)
    assert HOSTILE in page.find("tr", data_run=None)[0].text
    link = page.find("tr", data_run=None)[0].find("a")[0].attributes["href"]
    assert link == f"results/{RESULTS}/lr/para-laptop_cnn-colour/seed0.json"
    names = [f"{RESULTS}/lr/para-laptop_cnn-colour/seed{k}.json" for k in (1, 2)]
    assert [item.name for item in site.left_out] == names  # their names could leave the folder
    note = page.find(id="left-out")[0].text
    assert HOSTILE in note
    assert "<script>hacked()</script>" in note


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (f"{RESULTS}/lr/para-laptop_cnn-colour/seed1.json", '{"schema": 1, "split": "l', "damaged"),
        (
            f"{RESULTS}/lr/para-laptop_cnn-colour/seed1.json",
            json.dumps({"schema": 99}),
            "schema 99",
        ),
        (
            f"{RESULTS}/lr/para-laptop_cnn-colour/seed1.json",
            json.dumps(make_result("nf")),
            "lies elsewhere",
        ),
        (
            f"{RESULTS}/lr/para-laptop_cnn-colour/seed1.json",
            json.dumps(make_result("lr", seed=0)),
            "lies elsewhere",
        ),
        ("notes.json", json.dumps({"hello": "world"}), "no schema number"),
    ],
)
def test_damaged_and_foreign_files_are_named_and_left_out(tmp_path, name, text, reason):
    write_results(tmp_path / "results", ["lr"])
    (tmp_path / "results" / name).write_text(text)
    site = build_site(tmp_path / "results", tmp_path, [], tmp_path / "out")
    (item,) = site.left_out
    assert item.name == name
    assert reason in item.reason
    assert str(tmp_path) not in item.reason
    page = parse((tmp_path / "out" / "index.html").read_text())
    note = page.find(id="left-out")[0].text
    assert name in note
    assert reason in note
    assert len(page.find("tr", data_run=None)) == 2
    assert not (tmp_path / "out" / "results" / name).exists()


def test_figures_link_to_the_files_that_they_were_made_from(tmp_path):
    (result,) = write_results(tmp_path / "results", ["lr"], ["para"])
    timings = tmp_path / "results" / "benchmarks" / "latency.json"
    timings.parent.mkdir()
    timings.write_text("{}")
    (tmp_path / "elsewhere.bin").touch()
    figure = make_assets(tmp_path / "assets")[1]
    figure = dataclasses.replace(
        figure, inputs=(str(result), str(timings), str(tmp_path / "elsewhere.bin"))
    )
    site = build_site(tmp_path / "results", tmp_path / "assets", [figure], tmp_path / "out")
    assert site.left_out == ()  # the folder of the benchmarks is no foreign one
    page = parse((tmp_path / "out" / "index.html").read_text())
    links = [a.attributes["href"] for a in page.find(id=f"fig-{figure.name}")[0].find("a")]
    expected = f"results/{RESULTS}/lr/para-laptop_cnn-colour/seed0.json"
    assert links == [expected, "results/benchmarks/latency.json"]
    assert (tmp_path / "out" / links[1]).read_text() == "{}"


def test_a_file_that_is_being_written_is_not_read(tmp_path):
    write_results(tmp_path, ["lr"])
    path = result_path(tmp_path, make_result("lr", "para"))
    path.with_name(".seed1.0f0f0f0f.json").write_text("{")
    found = ResultSet.load(tmp_path)
    assert (len(found.results), found.left_out) == (2, ())


def test_a_page_of_nothing_says_not_run_everywhere(tmp_path):
    build_site(tmp_path / "none", tmp_path, [], tmp_path / "out")
    page = parse((tmp_path / "out" / "index.html").read_text())
    assert not [n for n in page.find("a") if "num" in n.classes]
    assert len([n for n in page.find("summary") if n.text == "not run"]) > 40
    assert not page.find(id="left-out")


def test_assets_that_were_not_made_say_why(tmp_path):
    assets = make_assets(tmp_path / "assets")
    build_site(tmp_path / "none", tmp_path / "assets", assets, tmp_path / "out")
    page = parse((tmp_path / "out" / "index.html").read_text())
    notes = [n.text for n in page.find("p") if "missing" in n.classes]
    assert "nf_success_map : It was not run. make it" in notes
    start = "vp_lr_para_rollout_grid : not made yet. python scripts/make_website.py"
    assert any(note.startswith(start) for note in notes)
    assert "placed" in page.text
    assert "never lifted" in page.find(id="top")[0].find("figcaption")[1].text
    for video in page.find("video"):
        for key in ("src", "poster"):
            assert (tmp_path / "out" / video.attributes[key]).is_file()
        assert video.attributes["preload"] == "none"
        assert video.attributes["aria-label"]
        assert int(video.attributes["width"]) > 0
    for picture in page.find("img"):
        assert (tmp_path / "out" / picture.attributes["src"]).is_file()
        assert picture.attributes["alt"]
        assert int(picture.attributes["height"]) > 0


def test_a_failed_build_leaves_the_last_good_site(tmp_path, monkeypatch):
    write_results(tmp_path / "results", ["lr"])
    build_site(tmp_path / "results", tmp_path, [], tmp_path / "out")
    before = (tmp_path / "out" / "index.html").read_text()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(build, "render", fail)
    with pytest.raises(OSError, match="no space left"):
        build_site(tmp_path / "results", tmp_path, [], tmp_path / "out")
    assert (tmp_path / "out" / "index.html").read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "results"]


def test_a_new_build_replaces_the_old_one_whole(tmp_path):
    write_results(tmp_path / "results", ["lr", "nf"])
    build_site(tmp_path / "results", tmp_path, [], tmp_path / "out")
    write_results(tmp_path / "other", ["lr"])
    build_site(tmp_path / "other", tmp_path, [], tmp_path / "out")
    assert not (tmp_path / "out" / "results" / HERE / "nf").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out", "results"]


def test_longer_trainings_stand_below_and_link_to_their_files(tmp_path):
    results = tmp_path / "results"
    published = make_result("lr", "pixel_regression", 1)
    write_result(results, published)
    tried = {"ood": {"successes": 31, "n": 60}, "sanity": {"successes": 59, "n": 60}}
    name = {"model": "pixel_regression", "split": "lr", "steps": 3000}
    tries = [tried | name | {"seed": seed} for seed in (1, 2)]
    build_site(results, tmp_path, [], tmp_path / "out")
    assert not parse((tmp_path / "out" / "index.html").read_text()).find(data_table="longer")
    (results / LONGER_FILE).parent.mkdir()
    (results / LONGER_FILE).write_text(json.dumps({"tries": tries}))
    build_site(results, tmp_path, [], tmp_path / "out")
    table = parse((tmp_path / "out" / "index.html").read_text()).find(data_table="longer")[0]
    first, second = table.find("tbody")[0].find("tr")
    links = [link.attributes["href"] for link in first.find("a")]
    assert len(set(links)) == 2
    assert all((tmp_path / "out" / link).is_file() for link in links)
    steps = str(published["training"]["steps"])
    cells = [cell.text.strip() for cell in first.find("td")]
    assert cells[:5] == ["Left to right", "1", "3000", "59 of 60", "31 of 60"]
    assert cells[5] == steps
    assert [cell.text.strip() for cell in second.find("td")][5:] == ["not run"] * 3


def test_the_same_results_give_the_same_page(tmp_path):
    write_results(tmp_path / "results", ["lr"])
    pages = []
    for name in ("a", "b"):
        build_site(tmp_path / "results", tmp_path, [], tmp_path / name)
        pages.append((tmp_path / name / "index.html").read_bytes())
    assert pages[0] == pages[1]


def test_nothing_on_the_site_comes_from_elsewhere(tmp_path):
    assets = make_assets(tmp_path / "assets")
    write_results(tmp_path / "results", ["lr"])
    build_site(tmp_path / "results", tmp_path / "assets", assets, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix in (".html", ".css", ".js"):
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert "http://" not in text
            assert "https://" not in text
            assert 'src="/' not in text
            assert 'href="/' not in text


def test_own_results_stand_beside_the_reference_and_are_mixed_into_nothing(tmp_path):
    write_results(tmp_path / "results", ["lr"])
    own = make_result("lr", "para", seed=1, ood=10, sanity=0)
    for episode in own["episodes"]:
        episode |= {"success": False, "stage": "MISS"}
    own["environment"]["version"] = 2
    write_result(tmp_path / "mine", own)
    pages = {}
    for name, source in (("alone", None), ("both", Source(tmp_path / "mine", tmp_path))):
        build_site(tmp_path / "results", tmp_path, [], tmp_path / name, own=source)
        pages[name] = parse((tmp_path / name / "index.html").read_text())
    alone, both = ([n.text for n in page.find(data_rate=None)] for page in pages.values())
    assert alone
    assert alone == both
    assert not pages["alone"].find(id="yours")
    (row,) = pages["both"].find(data_own=None)
    committed = ResultSet.load(tmp_path / "results").rate("lr", "para", "ood")
    assert "physics 2, dev starts, the committed result" in row.text
    numbers = [cell.text for cell in row.find("td")]
    assert numbers[3].startswith("0 % [0.0, 27.8] n = 10")
    assert f"n = {committed.n}" in numbers[4]
    assert numbers[5] == "not run"
    links = [a.attributes["href"] for a in row.find("a")]
    assert links[0] == f"own/results/{RESULTS}/lr/para-laptop_cnn-colour/seed1.json"
    assert all((tmp_path / "both" / link).is_file() for link in links)
    mine = parse((tmp_path / "both" / "own" / "index.html").read_text())
    assert "Your results" in mine.find(id="own")[0].text
    assert len(mine.find("tr", data_run=None)) == 1


@pytest.mark.parametrize("first", ["results", "mine"])
def test_the_site_is_about_the_folders_that_have_results(tmp_path, first):
    write_results(tmp_path / first, ["lr"], ["para"])
    folders = {"reference_dir": "results", "results_dir": "mine", "outputs_dir": "outputs"}
    folders |= {"runs_dir": "runs", "data_dir": "data"}
    overrides = [f"{key}={tmp_path / folder}" for key, folder in folders.items()]
    (tmp_path / "mine").mkdir(exist_ok=True)
    cfg = load_config(MakeWebsiteConfig, [*overrides, "only=[two_stage_diagram]"])
    site = make_website(cfg)
    page = parse((site.out / "index.html").read_text())
    assert len(page.find("tr", data_run=None)) == 1
    assert not (site.out / "own").exists()
    assert {p.name for p in tmp_path.iterdir()} == {first, "mine", "outputs"}


def test_the_script_builds_the_site_and_its_status_tells_of_damage(tmp_path, capsys):
    from scripts.make_website import main

    write_results(tmp_path / "results", ["lr"])
    arguments = ["only=[two_stage_diagram]"]
    folders = ("results", "reference", "outputs", "runs", "data")
    arguments += [f"{key}_dir={tmp_path / key}" for key in folders]
    main(arguments)
    page = tmp_path / "outputs" / "website" / "index.html"
    assert f"Website: {page}" in capsys.readouterr().out
    assert 'id="fig-two_stage_diagram"' in page.read_text()
    path = result_path(tmp_path / "results", make_result("lr", "regression"))
    path.write_text("{")
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    assert "lr/regression-laptop_cnn-colour/seed0.json" in capsys.readouterr().out
    assert "lr/regression-laptop_cnn-colour/seed0.json" in page.read_text()
