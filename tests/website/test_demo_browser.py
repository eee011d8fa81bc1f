"""The demo that comes with the code, in a real browser: it runs, and answers as the policies do."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from para.export.model import OnnxPolicy
from para.pretrained import policy_folder
from para.runs.policy_file import load_policy
from para.types import ActionChunk, Observation
from para.website.build import build_site
from para.website.demo import FACTS, Demo, read_demo, shipped_demo
from para.website.demo_frames import observations
from para.website.make_demo import Grid, make_demo
from para.website.serve import server
from tests.results_fixture import make_result, write_result
from tests.runs_fixture import save_untrained
from tests.website.test_website_browser import AXE, THEMES, browser, need, opened

__all__ = ["browser"]

PREDICT = """
async ([policy, places]) => {
  const demo = await import("./static/demo_run.js");
  if (!window.prepared) window.prepared = demo.prepare();
  await window.prepared;
  const found = [];
  for (const place of places) {
    const plan = await demo.predict(policy, place);
    const heatmaps = plan.heatmaps?.map((map) => [...map]) ?? null;
    found.push({positions: plan.positions, gripper: plan.gripper, heatmaps});
  }
  return found;
}
"""
"""What the page predicts, by the functions that it uses itself."""


@pytest.fixture(scope="module")
def demo() -> Demo:
    folder = shipped_demo()
    assert folder is not None
    return read_demo(folder)


@pytest.fixture(scope="module")
def site(tmp_path_factory, demo) -> Path:
    return make_site(tmp_path_factory.mktemp("demo"), demo)


def make_site(folder: Path, demo: Demo) -> Path:
    for model in ("para", "regression"):
        write_result(folder / "results", make_result("lr", model, ood=8, sanity=4))
    build_site(folder / "results", folder, [], folder / "root" / "some" / "where", demo=demo)
    return folder / "root" / "some" / "where"


@contextmanager
def served(folder: Path, demo: Demo) -> Iterator[str]:
    """The address of a site with a demo."""
    site = make_site(folder, demo)
    with server(site.parents[1], 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/some/where/"
        running.shutdown()


def asked_and_seen(demo: Demo, places: Sequence[Any]) -> tuple[list[Any], list[Observation]]:
    """For the page, and for a policy here: a view, then row and column of each thing."""
    asked = [{"view": view, "places": where} for view, *where in places]
    frames = [observations(demo.folder, demo.facts, view, [where])[0] for view, *where in places]
    return asked, frames


def require_same(ours: ActionChunk, theirs: dict[str, Any], scale_mm: float = 0.01) -> None:
    """The page's plan is this one; positions within `scale_mm`."""
    np.testing.assert_allclose(theirs["positions"], ours.positions, atol=scale_mm / 1000)
    assert theirs["gripper"] == ours.gripper.tolist()
    if ours.heatmaps is None:
        assert theirs["heatmaps"] is None
    else:
        shape = ours.heatmaps.shape
        np.testing.assert_allclose(
            np.array(theirs["heatmaps"]).reshape(shape), ours.heatmaps, atol=1e-4
        )


def require_film(page) -> None:
    """The film stands where the picture was, and can be started, stopped and read about."""
    assert page.locator(".demo-start img").is_hidden()
    film = page.locator(".demo-start video[controls][aria-label][poster]")
    assert film.is_visible()


def require_playing(page) -> None:
    """The film plays."""
    film = page.locator(".demo-start video")
    film.evaluate("async film => { film.muted = true; await film.play(); }")
    page.wait_for_function("document.querySelector('.demo-start video').currentTime > 0.2")
    assert film.evaluate("film => [film.videoWidth, film.videoHeight]") == [972, 480]


def shown(page) -> str:
    return page.locator("#demo").get_attribute("data-shown")


def wait_for(page, policy: str, view: int, *places: int) -> None:
    """`places`: row and column of each thing that is dragged."""
    page.wait_for_selector(f"#demo[data-shown='{' '.join(map(str, (policy, view, *places)))}']")


@pytest.mark.slow
def test_a_visitor_drags_turns_and_switches(browser, address, demo):
    loaded: list[str] = []
    with opened(browser, address) as page:
        page.on("request", lambda request: loaded.append(request.url))
        page.evaluate("document.querySelector('#try').scrollIntoView({behavior: 'instant'})")
        page.wait_for_load_state("networkidle")
        assert not [url for url in loaded if "/demo/" in url and "still.webp" not in url]
        assert page.evaluate(
            "!performance.getEntriesByType('resource').some(e => e.name.includes('demo.js'))"
        )
        page.get_by_role("button", name="Start the demo").click()
        page.wait_for_selector("#demo[data-shown]")
        policy, view, row, column = shown(page).split()
        row, column = int(row), int(column)
        assert (policy, view) == ("para", "0")
        result = page.locator("#demo-result")
        assert "in the half with demonstrations" in result.inner_text()
        assert page.evaluate("document.activeElement.dataset.mover") == "0"
        for key, dr, dc in (("ArrowRight", 0, 1), ("ArrowDown", 1, 0), ("Shift+ArrowRight", 0, 5)):
            page.keyboard.press(key)
            row, column = row + dr, column + dc
            wait_for(page, "para", 0, row, column)
        # the workspace is 78 x 60 cm of the 88 x 51 that are seen from above: to its far right
        box = page.locator("[data-demo=pad]").bounding_box()
        x, y = box["x"] + box["width"] * (44 + 29) / 88, box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] / 2, y)
        page.mouse.down()
        page.mouse.move(x, y, steps=4)
        page.mouse.up()
        column = int(np.abs(np.array(demo.facts.y) - 0.29).argmin())
        page.wait_for_selector(f"#demo[data-shown^='para 0 '][data-shown$=' {column}']")
        assert "in the half without demonstrations" in result.inner_text()
        row = int(shown(page).split()[2])
        page.get_by_role("radio", name="Global regression").check()
        wait_for(page, "regression", 0, row, column)
        assert "Global regression" in result.inner_text()
        assert "no heatmap" in result.inner_text()
        turn = page.locator("[data-demo=turn]")
        turn.focus()
        page.keyboard.press("ArrowRight")
        assert turn.get_attribute("aria-valuetext") == "10 degrees to the right"
        view = next(
            k for k, v in enumerate(demo.facts.views) if (v.turn_deg, v.tilt_deg) == (10, 0)
        )
        wait_for(page, "regression", view, row, column)
        page.locator("[data-demo=waypoint]").focus()
        page.keyboard.press("Home")
        name = page.locator("[data-demo=waypoint]").get_attribute("aria-valuetext")
        assert name == "1 of 12, fingers open"
        assert page.evaluate("document.documentElement.scrollWidth") == 1280


@pytest.mark.slow
def test_the_page_predicts_as_onnx_runtime_does(browser, address, demo):
    places = [(0, (3, 4)), (0, (10, 27)), (len(demo.facts.views) - 1, (16, 12))]
    asked, seen = asked_and_seen(demo, places)
    with opened(browser, address) as page:
        for policy in demo.facts.policies:
            found = page.evaluate(PREDICT, [policy.name, asked])
            file = OnnxPolicy(demo.folder / policy.file)
            ours = file.predict(seen)
            for chunk, theirs in zip(ours, found, strict=True):
                require_same(chunk, theirs)


@pytest.mark.long
def test_the_page_predicts_as_pytorch_does(browser, tmp_path):
    folder = policy_folder("para_lr")
    demo = read_demo(make_demo([folder], tmp_path / "made", Grid(2, 2, (0.0, 20.0), (0.0,))))
    policy = demo.facts.policies[0]
    assert policy.moved_mm < 0.01
    assert (policy.trained[0].n, policy.unseen[1].n) == (2, 2)
    assert max(policy.trained[0].mm, policy.unseen[0].mm) < 60  # it grasps on both halves
    places = [(view, (row, column)) for view in (0, 1) for row in (0, 1) for column in (0, 1)]
    asked, seen = asked_and_seen(demo, places)
    with served(tmp_path, demo) as url, opened(browser, url) as page:
        found = page.evaluate(PREDICT, [policy.name, asked])
    ours = load_policy(folder)[0].predict(seen)
    for chunk, theirs in zip(ours, found, strict=True):
        require_same(chunk, theirs, scale_mm=0.1)  # the shipped weights are 16-bit floats already


@pytest.mark.slow
def test_what_it_needs_is_said(browser, address, site):
    with opened(browser, address) as page:  # it can run: a picture, no film
        assert page.locator("#demo-start").is_visible()
        assert page.locator(".demo-start img").is_visible()
        assert page.locator(".demo-start video").is_hidden()
        assert page.locator("#demo-status").inner_text() == ""
        assert "no JavaScript" not in page.locator(".demo-start").inner_text()
    url = f"file://{site}/index.html"
    with opened(browser, url) as page:
        require_film(page)
        assert "opened from disk" in page.locator("#demo-status").inner_text()
    with opened(browser, address, first="delete globalThis.WebAssembly;") as page:
        require_film(page)
        assert "no WebAssembly" in page.locator("#demo-status").inner_text()
        assert page.locator("#demo-start").is_hidden()
        assert page.locator("[data-demo]").count() == 0
        require_playing(page)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#demo-start").is_hidden()
    require_film(page)
    assert "no JavaScript" in page.locator(".demo-start").inner_text()
    context.close()


@pytest.mark.long
def test_objects_that_stand_apart_are_dragged_one_by_one(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("para.website.demo_scene.DRAWN", 8)
    words = ["profile=smoke", "env.image_size=32", "robot=hand", "model=regression"]
    save_untrained(tmp_path / "run", [*words, "layout=independent"])
    demo = read_demo(make_demo([tmp_path / "run"], tmp_path / "made", Grid(4, 6, (0.0,), (0.0,))))
    facts = demo.facts
    assert [mover.title for mover in facts.movers] == ["Bowl", "Plate"]
    assert [mark.mover for mark in facts.marks] == [0, 1]
    assert (facts.views[0].checked, facts.views[0].differ) == (16, 0)  # as the simulator renders
    asked, seen = asked_and_seen(demo, [(0, (0, 0), (3, 2)), (0, (2, 5), (1, 1))])
    ours = OnnxPolicy(demo.folder / facts.policies[0].file).predict(seen)
    with served(tmp_path, demo) as url, opened(browser, url) as page:
        for chunk, theirs in zip(ours, page.evaluate(PREDICT, ["regression", asked]), strict=True):
            require_same(chunk, theirs)
        page.get_by_role("button", name="Start the demo").click()
        (row, column), (plate_row, plate_column) = facts.start
        wait_for(page, "regression", 0, row, column, plate_row, plate_column)
        assert page.evaluate("document.activeElement.dataset.mover") == "0"
        page.keyboard.press("ArrowUp")
        wait_for(page, "regression", 0, row - 1, column, plate_row, plate_column)
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        wait_for(page, "regression", 0, row - 1, column, plate_row, plate_column + 1)
        slider = page.get_by_role("slider", name="Plate, across")
        assert slider.input_value() == str(plate_column + 1)
        slider.focus()
        page.keyboard.press("End")
        wait_for(page, "regression", 0, row - 1, column, plate_row, 5)
        assert "objects in both halves" in page.locator("#demo-result").inner_text()
        # the bowl, dragged to where the plate is, stays beside it
        pad = page.locator("[data-demo=pad]")
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()

        def at(row: int, column: int) -> tuple[float, float]:
            across = box["width"] * (0.5 + facts.y[column] / 0.88)
            return box["x"] + across, box["y"] + box["height"] * (0.5 + facts.x[row] / 0.51)

        page.mouse.move(*at(row - 1, column))
        page.mouse.down()
        page.mouse.move(*at(plate_row, 5), steps=4)
        page.mouse.up()
        before = f"regression 0 {row - 1} {column} {plate_row} 5"
        page.wait_for_selector(f"#demo[data-shown$=' {plate_row} 5']:not([data-shown='{before}'])")
        bowl = [int(word) for word in shown(page).split()[2:4]]
        away = np.hypot(facts.x[bowl[0]] - facts.x[plate_row], facts.y[bowl[1]] - facts.y[5])
        assert facts.spacing <= away < facts.spacing + 0.1


@pytest.mark.slow
def test_axe_finds_no_violation_and_it_fits(browser, address):
    need(AXE.exists(), "no axe-core: npm install --prefix tests/website --no-package-lock")
    small = """() => [...document.querySelectorAll('#try :is(button, input, [tabindex])')]
      .filter(e => e.checkVisibility())
      .filter(e => e.getBoundingClientRect().height < 20 || e.getBoundingClientRect().width < 24)
      .map(e => e.outerHTML.slice(0, 80))"""
    with opened(browser, address) as page:
        page.get_by_role("button", name="Start the demo").click()
        page.wait_for_selector("#demo[data-shown]")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            found = page.evaluate("tags => axe.run('#try', {runOnly: tags})", tags)
            assert len(found["passes"]) > 15
            assert [(v["id"], v["nodes"][0]["html"][:160]) for v in found["violations"]] == []
        for width in (320, 390, 1280, 2560):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(small) == []


@pytest.mark.slow
def test_a_damaged_file_ends_in_a_film_and_can_be_tried_again(browser, site, address):
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    button, status = page.get_by_role("button", name="Start the demo"), page.locator("#demo-status")
    for name, wrong in ((FACTS, json.dumps({"views": []}).encode()), ("para.onnx", b"no model")):
        file = site / "demo" / name
        whole = file.read_bytes()
        file.write_bytes(wrong)
        try:
            button.click()
            page.wait_for_selector("#demo-start:enabled")
        finally:
            written = file.stat().st_mtime
            file.write_bytes(whole)
        os.utime(file, (written, written))  # for the server it is the same file
        assert "could not be started" in status.inner_text()
        assert page.locator("[data-demo]").count() == 0
        require_film(page)
    button.click()
    page.wait_for_selector("#demo[data-shown]", timeout=60_000)
    context.close()
