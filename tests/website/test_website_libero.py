"""What the page and the documentation say of LIBERO, from made-up results."""

from __future__ import annotations

import json

from envs.libero.camera import orbit
from envs.libero.splits import CAMERAS, ELEVATION_DEG
from para.evaluation.result_set import ResultSet
from para.figures.libero import SPLITS, filmed_split
from para.libero_table import libero_cameras_table, libero_expert_table, libero_table
from para.website.build import build_site
from para.website.content import Numbers
from para.website.libero import libero_rows
from tests.results_fixture import make_result, write_result
from tests.website.page_tree import parse


def in_libero(split, model, layout="varied"):
    result = make_result("lr", model, ood=20, sanity=8) | {"split": split, "layout": layout}
    result["environment"] |= {"task": "libero_spatial_0", "layout": layout}
    return result


def test_rows_are_those_splits_that_were_run_and_regimes_are_never_mixed(tmp_path):
    for split, layout in (
        ("libero_pro_swap_n4", "varied"),
        ("libero_pro_swap", "varied"),
        ("libero_id", "varied"),
        ("libero_pro_swap", "official"),
    ):
        result = in_libero(split, "para", layout)
        unusual = layout == "official"
        result["config"]["evaluation"] = {"execute": 8, "tta": 3} if unusual else {"execute": 4}
        write_result(tmp_path, result)
    write_result(tmp_path, make_result("lr"))
    rows = [*libero_rows(Numbers(ResultSet.load(tmp_path)))]
    assert [(row.split, row.demos) for row in rows] == [
        ("libero_id", "64 varied"),
        ("libero_pro_swap", "64 varied"),
        ("libero_pro_swap_n4", "4 varied"),
        ("libero_pro_swap", "45 official, execute=8, tta=3"),
    ]


def test_in_distribution_a_policy_is_measured_once_for_all_splits_of_its_data_set(tmp_path):
    for split, sha256 in (("libero_pro_swap", "a"), ("libero_cameras", "a"), ("libero_id", "b")):
        result = in_libero(split, "para")
        result["training"]["sha256"] = 64 * sha256
        if split != "libero_pro_swap":
            result["episodes"] = [e for e in result["episodes"] if e["test"] == "ood"]
        write_result(tmp_path, result)
    rates = {
        r.split: r.rate("para", "sanity") for r in libero_rows(Numbers(ResultSet.load(tmp_path)))
    }
    assert rates["libero_cameras"] == rates["libero_pro_swap"]
    assert rates["libero_cameras"].rate.n == 8
    assert rates["libero_id"] is None  # another training


def test_page_and_table_say_the_same_and_how_episodes_ended(tmp_path):
    result = in_libero("libero_pro_swap_n32", "para")
    for k, episode in enumerate(e for e in result["episodes"] if e["test"] == "ood"):
        stage = "PLACE" if k < 15 else "GRASP" if k < 19 else "MISS"
        episode |= {"stage": stage, "success": stage == "PLACE"}
    write_result(tmp_path / "results", result)
    ends = "15 placed; 4 lifted, not placed; 1 never lifted"
    (line,) = libero_table(Numbers(ResultSet.load(tmp_path / "results"))).splitlines()[2:]
    assert "| `libero_pro_swap_n32` | 32 varied |" in line
    assert "| 75.0 % [53.1, 88.8] n=20 |" in line
    assert line.endswith(f"| {ends} |")
    build_site(tmp_path / "results", tmp_path, [], tmp_path / "out")
    page = parse((tmp_path / "out" / "index.html").read_text())
    (row,) = page.find(data_table="libero")[0].find("tbody")[0].find("tr")
    assert ends in row.text
    assert "75" in row.text
    published = page.find(data_table="libero-published")[0].text
    assert "LIBERO-PRO" in published
    assert "#15" in published  # the dispute stands beside the number


def test_success_by_camera_counts_each_episode_by_where_its_camera_stood(tmp_path):
    result = in_libero("libero_cameras", "para")
    episodes = [e for e in result["episodes"] if e["test"] == "ood"]
    for episode, view in zip(episodes, CAMERAS, strict=False):
        theta, phi = orbit(view.azimuth_deg, view.raised_deg, ELEVATION_DEG)
        where = {"theta_deg": theta, "phi_deg": phi, "perturbed": dict(view.perturbed)}
        episode["condition"] |= where
        near = abs(view.azimuth_deg) <= 30
        episode |= {"success": near, "stage": "PLACE" if near else "MISS"}
    write_result(tmp_path, result)
    lines = libero_cameras_table(Numbers(ResultSet.load(tmp_path))).splitlines()[2:]
    rates = {line.split(" | ")[2]: line.split(" | ")[3] for line in lines}
    assert rates["orbits of up to 30°"].endswith("n=9")
    assert rates["orbits of up to 30°"].startswith("100.0 %")
    assert rates["orbit of 45°"].startswith("0.0 %")
    assert rates["orbit of 45°"].endswith("n=4")
    assert rates["15° higher alone"].endswith("n=1")
    assert rates["roll of 10°"] == "not run"
    assert rates["all"].endswith("n=20")
    assert {line.split(" | ")[5].rstrip(" |") for line in lines} == {"not run"}
    for episode in episodes:
        episode |= {"success": True, "stage": "PLACE"}
    result["config"]["evaluation"] = {"align_view": True}
    shown = write_result(tmp_path / "aligned", result)
    lines = libero_cameras_table(Numbers(ResultSet.load(tmp_path))).splitlines()[2:]
    row = next(line.split(" | ") for line in lines if "orbit of 45°" in line)
    assert row[3].startswith("0.0 %")
    assert row[5].startswith("100.0 %"), "results with aligned views are mixed into no others"
    build_site(tmp_path, tmp_path, [], tmp_path / "out")
    page = parse((tmp_path / "out" / "index.html").read_text())
    rows = page.find(data_table="libero-cameras-1")[0].find("tbody")[0].find("tr")
    (cells,) = (row.find("td") for row in rows if "orbit of 45°" in row.text)
    links = [tmp_path / "out" / cells[k].find("a")[0].attributes["href"] for k in (0, 2)]
    assert [link.read_bytes() == shown.read_bytes() for link in links] == [False, True]


def test_the_film_is_of_the_most_demos_that_both_policies_were_run_with(tmp_path):
    assert filmed_split(ResultSet.load(tmp_path)) == SPLITS[0]
    write_result(tmp_path, in_libero("libero_pro_swap", "para"))
    for model in ("para", "regression"):
        write_result(tmp_path, in_libero("libero_pro_swap_n32", model))
    assert filmed_split(ResultSet.load(tmp_path)) == "libero_pro_swap_n32"


def test_the_expert_is_shown_task_by_task(tmp_path):
    assert libero_expert_table(tmp_path) == "not run: `python benchmarks/libero_tasks.py`"
    row = {"instruction": "put it", "successes": 47, "n": 50, "steps": 252.4, "cpu_seconds": 3.66}
    speed = {"control_step_ms": 12.64, "robosuite_step_ms": 12.0, "ratio": 1.053}
    speed |= {"picture_128px_ms": 62.9, "reset_ms": 295.4, "memory_gb": 2.17}
    speed |= {"episodes_per_minute": 16.4, "episodes_per_minute_with_pictures": 8.47}
    made = {"tasks": {name: row for name in ("libero_spatial_2", "libero_spatial_3")}}
    shift = {"akita_black_bowl_1": 0.003, "plate_1": 0.471, "akita_black_bowl_2": 0.494}
    made["swapped"] = {"libero_spatial_3": row | {"successes": 0, "n": 10, "shift_m": shift}}
    made |= {"speed": speed, "created": "2026-11-27T08:50:38"}
    path = tmp_path / "benchmarks" / "libero.json"
    path.parent.mkdir()
    path.write_text(json.dumps(made | {"hardware": {"cpu": "A processor"}}))
    table, note = libero_expert_table(tmp_path).split("\n\n")
    assert table.splitlines()[2:] == [
        "| `libero_spatial_2` | put it | 94.0 % [83.8, 97.9] n=50 | 252 | 3.7 "
        "| not run | not run |",
        "| `libero_spatial_3` | put it | 94.0 % [83.8, 97.9] n=50 | 252 | 3.7 "
        "| 0.0 % [0.0, 27.8] n=10 | plate_1 0.47 m, akita_black_bowl_2 0.49 m |",
    ]
    assert "12.6 ms of one core, 1.05 times robosuite's own" in note
    assert "16 episodes" in note
    assert note.endswith("A processor, 2026-11-27.")
