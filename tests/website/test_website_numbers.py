"""Every number on the page is recomputed here from the result files, by other code."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from scipy.stats import binomtest

from para.statistics import compare_over_seeds, hierarchical_interval
from para.website.build import build_site
from tests.results_fixture import (
    RESULTS,
    make_result,
    make_video_result,
    write_result,
    write_results,
)
from tests.website.page_tree import Node, parse

ROOT = Path(__file__).parents[2]


def files_of(folder: Path, split: str, model: str) -> list[dict]:
    """Result files of a policy, read with nothing but json."""
    found = [
        json.loads(path.read_text()) for path in folder.glob(f"{RESULTS}/{split}/*/seed*.json")
    ]
    return sorted((f for f in found if f["model"] == model), key=lambda f: f["seed"])


def outcomes(files: list[dict], test: str, theta: float | None = None) -> list[bool]:
    return [
        e["stage"] == "PLACE"
        for data in files
        for e in data["episodes"]
        if e["test"] == test and (theta is None or abs(e["condition"]["theta_deg"] - theta) < 0.06)
    ]


def wilson_by_search(k: int, n: int) -> tuple[float, float]:
    """Ends of the interval of p with |k/n - p| <= z sqrt(p(1-p)/n), found by bisection."""

    def inside(p: float) -> bool:
        return abs(k / n - p) <= 1.959963985 * math.sqrt(p * (1 - p) / n) + 1e-15

    def edge(good: float, bad: float) -> float:
        if inside(bad):
            return bad
        for _ in range(60):
            middle = (good + bad) / 2
            good, bad = (middle, bad) if inside(middle) else (good, middle)
        return good

    return 100 * edge(k / n, 0.0), 100 * edge(k / n, 1.0)


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace("%", "").strip())


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> tuple[Path, Node]:
    """Two seeds of some policies, a third policy, another robot, and splits that were not run."""
    folder = tmp_path_factory.mktemp("site")
    results = folder / "results"
    write_results(results, ["lr", "vp_default_to_all", "distractor"], seeds=(0, 1))
    write_results(results, ["nf", "corner_n32"])
    write_results(results, ["vp_lr"], ["para"])
    write_result(results, make_result("lr", "act") | {"git": "f" * 40 + "-dirty"})
    for split, model in (
        ("lr", "para_two_stage-svd_tiny"),
        ("lr", "regression_two_stage-svd_tiny"),
        ("video_n16", "para_two_stage-svd_tiny"),
    ):
        write_result(results, make_video_result(split, model, 1000, 300))
    other = make_result("lr", "para")
    other["environment"]["robot"] = "hand"
    write_result(results, other)
    write_result(results, make_result("lr", "para") | {"profile": "paper"})
    write_result(results, make_result("lr", "keypoint") | {"split": "every_other"})
    build_site(results, folder, [], folder / "out")
    return folder / "out", parse((folder / "out" / "index.html").read_text())


def test_every_rate_equals_its_recomputation(campaign):
    site, page = campaign
    checked = 0
    for node in page.find(data_split=None, data_test=None):
        a = node.attributes
        theta = float(a["data-theta"]) if "data-theta" in a else None
        files = files_of(site / "results", a["data-split"], a["data-model"])
        row = next((r for r in _ancestors(node) if "data-run" in r.attributes), None)
        if row:  # the table of all runs: one file each
            files = [json.loads((site / "results" / row.attributes["data-run"]).read_text())]
        found = outcomes(files, a["data-test"], theta)
        (link,) = (n for n in node.find("a") if "num" in n.classes)
        assert number(link.text) == round(100 * sum(found) / len(found), 1), a
        if "data-inline" not in a:
            low, high = map(float, re.search(r"\[([\d.]+), ([\d.]+)\]", node.text).groups())
            seeds = [outcomes([f], a["data-test"], theta) for f in files]
            expected = (
                [100 * end for end in hierarchical_interval(np.array(seeds))]
                if len(files) > 1
                else wilson_by_search(sum(found), len(found))
            )
            assert (low, high) == tuple(round(end, 1) for end in expected), a
            assert int(re.search(r"n = (\d+)", node.text).group(1)) == len(found)
        checked += 1
    assert checked > 60


def test_every_difference_is_the_paired_one_and_adjusted_for_its_table(campaign):
    site, page = campaign
    tables = [(t, cells) for t in page.find("div", data_table=None) if (cells := _compared(t))]
    assert sum(len(cells) for _, cells in tables) > 12
    for _, cells in tables:
        raw = [_paired(site / "results", cell.attributes) for cell in cells]
        p_values = by_holm([p for *_, p in raw])
        for cell, (wins, losses, n, _), expected in zip(cells, raw, p_values, strict=True):
            assert number(cell.find("a")[0].text) == round(100 * (wins - losses) / n, 1)
            p = float(re.search(r"p = ([\d.e-]+)", cell.text).group(1))
            assert p == pytest.approx(expected, rel=0.06, abs=6e-4)
            shown = re.search(r"only .*? (\d+), only .*? (\d+) of (\d+)", cell.text).groups()
            assert tuple(map(int, shown)) == (wins, losses, n)


def _compared(table: Node) -> list[Node]:
    return table.find("td", data_comparison="")


def _paired(folder: Path, cell: dict[str, str]) -> tuple[int, int, int, float]:
    """Starts that only the first does, only the second, all, and p before it is adjusted."""
    theta = float(cell["data-theta"]) if "data-theta" in cell else None
    first = files_of(folder, cell["data-split"], cell["data-first"])
    second = files_of(folder, cell["data-split"], cell["data-second"])
    shared = {f["seed"] for f in first} & {f["seed"] for f in second}
    a, b = (
        [outcomes([f], "ood", theta) for f in files if f["seed"] in shared]
        for files in (first, second)
    )
    pairs = [pair for rows in zip(a, b, strict=True) for pair in zip(*rows, strict=True)]
    wins = sum(x and not y for x, y in pairs)
    losses = sum(y and not x for x, y in pairs)
    p = binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
    return wins, losses, len(pairs), compare_over_seeds(a, b).p_value if len(shared) > 1 else p


def by_holm(p_values: list[float]) -> list[float]:
    """The largest of all smaller ones, each times how many are left."""
    ranks = sorted(range(len(p_values)), key=lambda k: p_values[k])
    scaled = {k: (len(ranks) - place) * p_values[k] for place, k in enumerate(ranks)}
    return [
        min(1.0, max(scaled[other] for other in ranks[: ranks.index(k) + 1]))
        for k in range(len(ranks))
    ]


def test_stage_counts_and_provenance_come_from_the_files(campaign):
    site, page = campaign
    cells = page.find("a", data_stages="")
    assert cells
    for link in cells:
        a = link.attributes
        files = files_of(site / "results", a["data-split"], a["data-model"])
        stages = [e["stage"] for f in files for e in f["episodes"] if e["test"] == "ood"]
        counts = [stages.count(stage) for stage in ("PLACE", "GRASP", "MISS")]
        assert [int(x) for x in link.text.split("/")] == counts
    rows = page.find("tr", data_run=None)
    on_disk = {p.relative_to(site / "results").as_posix() for p in site.glob("results/**/*.json")}
    assert {row.attributes["data-run"] for row in rows} == on_disk
    for row in rows:
        data = json.loads((site / "results" / row.attributes["data-run"]).read_text())
        cells = [c.text for c in row.children if isinstance(c, Node)]
        stages = [e["stage"] for e in data["episodes"] if e["test"] == "ood"]
        assert [int(x) for x in re.findall(r"\d+", cells[6])] == [
            stages.count(stage) for stage in ("PLACE", "GRASP", "MISS")
        ]
        training = data["training"]
        assert [float(c) for c in cells[7:10]] == [
            round(training["minutes"], 1),
            training["steps"],
            training["demos"],
        ]
        assert cells[10] == f"{data['backbone']['name']} (random initialisation)"
        assert "Example CPU" in cells[11]
        assert cells[12] == data["created"][:10]
        assert cells[13] == ("ffffffffff-dirty" if "dirty" in data["git"] else "0123456789")


def test_every_number_links_to_a_result_file_on_the_site(campaign):
    site, page = campaign
    links = [n for n in page.find("a") if "num" in n.classes]
    assert len(links) > 80
    anchors = {n.attributes["id"]: n for n in page.find(id=None)}
    for link in links:
        href = link.attributes["href"]
        if href.startswith("#"):  # several seeds: a row of the full table, which links to the file
            href = anchors[href[1:]].find("a")[0].attributes["href"]
        assert json.loads((site / unquote(href)).read_text())["schema"] == 2
    for node in page.find("a", href=None):
        href = node.attributes["href"]
        assert href[1:] in anchors if href.startswith("#") else (site / unquote(href)).exists()


def test_no_percentage_stands_outside_of_checked_or_published_places(campaign):
    _, page = campaign
    body = page.find("main")[0]
    loose = []
    for node in body.walk():
        own = " ".join(child for child in node.children if isinstance(child, str))
        checked = any("data-split" in n.attributes for n in [node, *_ancestors(node)])
        if re.search(r"\d\s*%", own) and not checked and not node.inside("published"):
            loose.append(own.strip())
    # What is left explains the intervals; the figure is their confidence level.
    assert {text for text in loose if "95" not in text} == set()


def test_published_numbers_stand_in_their_own_columns(campaign):
    _, page = campaign
    published = yaml.safe_load((ROOT / "website" / "published.yaml").read_text())
    summary = page.find(data_table="summary")[0]
    rows = summary.find("tbody")[0].find("tr")
    assert len(rows) == 6
    for row, expected in zip(rows, published["experiments"], strict=True):
        cells = [c for c in row.children if isinstance(c, Node)]
        assert [c.inside("published") for c in cells] == [False] * 4 + [True] * 2
        assert [number(c.text) for c in cells[4:]] == [expected["para"], expected["regression"]]
    theta = page.find(data_table="per-theta")[0].find("tbody")[0].find("tr")
    shown = [[number(c.text) for c in row.find("td") if c.inside("published")] for row in theta]
    table = published["per_theta"]
    assert shown == [list(pair) for pair in zip(table["para"], table["regression"], strict=True)]


def test_what_was_not_run_says_so_with_the_command(campaign):
    _, page = campaign
    summary = page.find(data_table="summary")[0]
    row = next(r for r in summary.find("tr") if "Left → right viewpoints" in r.text)
    para, act, difference = row.find("td")[:3]
    assert para.find("a", href=f"results/{RESULTS}/vp_lr/para-laptop_cnn-colour/seed0.json")
    assert act.find("summary")[0].text == "not run"
    assert act.find("code")[0].text == (
        "python scripts/train.py model=regression split=vp_lr && "
        "python scripts/eval.py model=regression split=vp_lr"
    )
    assert difference.text == "not run"
    assert "10" not in act.text  # the published number


def test_several_seeds_are_pooled_and_each_is_linked(campaign):
    _, page = campaign
    (rate,) = (
        n
        for n in page.find(data_table="summary")[0].find(data_split="lr", data_model="para")
        if "data-rate" in n.attributes
    )
    assert "n = 192" in rate.text
    seeds = [n.attributes["href"] for n in rate.find("a")][1:]
    assert seeds == [f"results/{RESULTS}/lr/para-laptop_cnn-colour/seed{k}.json" for k in (0, 1)]
    words = [n.text for n in page.walk() if "provenance" in n.classes]
    assert any("Seeds 0, 1. Training: 3.5 to 3.6 min, 1500 steps, 128 demos." in w for w in words)


def test_other_policies_are_shown_and_other_settings_and_profiles_not_mixed_in(campaign):
    _, page = campaign
    positions = page.find(data_table="positions")[0]
    assert positions.find(data_split="lr", data_model="act")
    (rate,) = (
        n for n in positions.find(data_split="lr", data_model="para") if "data-rate" in n.attributes
        and n.attributes["data-test"] == "ood"
    )  # fmt: skip
    assert "n = 192" in rate.text  # two seeds of 96, not the hand's or the paper profile's
    for place in ("bowl_on_plate-hand-together/laptop", "bowl_on_plate-panda-together/paper"):
        assert page.find("tr", data_run=f"{place}/dev/lr/para-laptop_cnn-colour/seed0.json")


def test_a_split_and_a_policy_that_the_page_does_not_name_have_a_table(campaign):
    _, page = campaign
    others = page.find(data_table="others")[0]
    assert "every_other" in others.text
    assert others.find(data_split="every_other", data_model="keypoint")
    assert "not run" in others.text  # the main policies


def test_video_policies_have_tables_of_their_own(campaign):
    _, page = campaign
    assert not page.find(data_table="positions")[0].find(data_model="para_two_stage-svd_tiny")
    rows = page.find(data_table="video-total")[0].find("tbody")[0].find("tr")
    two_stage, joint = rows[0].find("td"), rows[1].find("td")
    assert [
        bool(c.find("a", href=f"results/{RESULTS}/lr/para_two_stage-svd_tiny-colour/seed0.json"))
        for c in two_stage
    ] == ([True, True, False, False, False])
    assert [c.text for c in two_stage[2:]] == ["1000 + 300", "90 %", "4K + 3K"]
    assert joint[0].find("code")[0].text == (
        "python scripts/train.py model=para backbone=svd_tiny recipe=joint split=lr && "
        "python scripts/eval.py model=para_joint backbone=svd_tiny split=lr"
    )
    assert joint[2].text == "not run"
    second = page.find(data_table="video-second-stage")[0].find("tbody")[0].find("tr")
    assert [c.text for c in second[0].find("td")[2:]] == ["1000 + 300"]
    short = page.find(data_table="video-short")[0].find("tbody")[0].find("tr")
    assert "recipe=two_stage_short" in short[0].find("code")[0].text
    scaling = page.find(data_table="video-scaling")[0].find("tbody")[0].find("tr")
    shown = [bool(row.find(data_model="para_two_stage-svd_tiny")) for row in scaling]
    assert shown == [False, True, False, False]


def _ancestors(node: Node):
    while node.parent:
        node = node.parent
        yield node
