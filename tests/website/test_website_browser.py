"""The page in a real browser: Chromium from Debian, driven by Playwright, checked by axe-core.

Needs `apt-get install chromium` and `npm install --prefix tests/website --no-package-lock`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from para.website.build import build_site
from tests.results_fixture import make_result, write_result, write_results
from tests.website.made_up_assets import make_assets

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
THEMES = ("light", "dark")
HOSTILE = "<img src=x onerror=hacked=1>"


def need(found: bool, what: str) -> None:
    """Skip where a tool is missing; in CI everything must be there."""
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need(Path(CHROMIUM).exists(), "no Chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as instance:
        running = instance.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A site with everything on it, two folders below the server's root; also a hostile model."""
    folder = tmp_path_factory.mktemp("browser")
    write_results(folder / "results", ood=64, sanity=16)
    hostile = make_result("nf", ood=16)
    hostile["hardware"]["cpu"] = HOSTILE
    path = write_result(folder / "results", hostile)
    damaged = path.with_name("<script>hacked=1.json")
    damaged.write_text('{"schema": "<script>hacked=1"}')
    assets = make_assets(folder / "assets")
    out = folder / "root" / "some" / "where"
    build_site(folder / "results", folder / "assets", assets, out)
    return out


@contextmanager
def opened(browser, url: str, width: int = 1280, height: int = 800, first: str = "", **options):
    """A fresh page; afterwards: no error on the console, no request to anywhere else.

    `first` is JavaScript that runs before the page's own.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.add_init_script(first)
    page = context.new_page()
    page.set_default_timeout(120_000)  # other tests may keep the machine busy
    wrong: list[str] = []
    home = url.split("/some/where/")[0] + "/some/where/"
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("request", lambda r: None if r.url.startswith((home, "data:")) else wrong.append(r.url))
    page.goto(url)
    try:
        yield page
        assert not wrong
        assert page.evaluate("typeof hacked") == "undefined"
    finally:
        context.close()


def walk_down(page) -> None:
    """Scroll through the whole page, so that everything lazy is loaded."""
    height = page.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height, 700):
        page.evaluate(f"scrollTo({{top: {top}, behavior: 'instant'}})")
        page.wait_for_timeout(30)


def times(page, group: int) -> list[float]:
    """Positions of the videos of a group, all read at one moment [s]."""
    return page.evaluate(
        "i => [...document.querySelectorAll('.sync')[i].querySelectorAll('video')]"
        ".map(v => v.currentTime)",
        group,
    )


def show(page, group: int) -> None:
    """Scroll a group of videos to the middle of the window."""
    page.evaluate(
        "i => document.querySelectorAll('.sync')[i]"
        ".scrollIntoView({block: 'center', behavior: 'instant'})",
        group,
    )


def wait_for_motion(page, group: int) -> None:
    page.wait_for_function(
        "i => [...document.querySelectorAll('.sync')[i].querySelectorAll('video')]"
        ".every(v => v.currentTime > 0.15)",
        arg=group,
    )


POSITIONS = """
  group => new Promise(done => {
    const videos = [...document.querySelectorAll('.sync')[group].querySelectorAll('video')];
    const seen = [], end = Math.min(...videos.map(v => v.duration)) - 0.2;
    const timer = setInterval(() => {
      const now = videos.map(v => v.currentTime);
      if (Math.max(...now) < end) seen.push(now);
      if (seen.length >= 25) { clearInterval(timer); done(seen); }
    }, 40);
  })
"""
"""Positions of the videos of a group [s], read in the page every 40 ms while all play."""


@pytest.mark.slow
def test_every_video_plays_and_pairs_stay_together(browser, address):
    with opened(browser, address) as page:
        count = page.locator(".sync").count()
        assert count == 5  # teaser, two pairs, grids, heatmaps
        assert page.locator("video").count() == 9
        for group in range(count):
            show(page, group)
            wait_for_motion(page, group)
            seen = page.evaluate(POSITIONS, group)
            assert max(max(now) - min(now) for now in seen) <= 0.1
            for track in zip(*seen, strict=True):
                assert max(track) - min(track) > 0.4


def test_videos_play_only_in_view_and_can_all_be_stopped(browser, address):
    playing = "[...document.querySelectorAll('video')].filter(v => !v.paused).length"
    with opened(browser, address) as page:
        wait_for_motion(page, 0)
        assert page.evaluate(playing) == 2
        loaded = page.evaluate("performance.getEntriesByType('resource').map(r => r.name)")
        assert not [name for name in loaded if "rollout_grid" in name and name.endswith("mp4")]
        page.evaluate("scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
        page.wait_for_function(f"{playing} === 0")
        show(page, 0)
        page.wait_for_function(f"{playing} === 2")
        page.get_by_role("button", name="Pause videos").click()
        assert page.evaluate(playing) == 0
        show(page, 1)
        page.wait_for_timeout(400)
        assert page.evaluate(playing) == 0
        page.get_by_role("button", name="Play videos").click()
        page.wait_for_function(f"{playing} > 0")


TEASER = "[...document.querySelectorAll('.sync')[0].querySelectorAll('video')]"
TIMES = f"{TEASER}.map(v => v.currentTime)"
NOT_SEEKING = f"{TEASER}.every(v => !v.seeking)"


def test_a_pair_can_be_moved_and_starts_over(browser, address):
    with opened(browser, address) as page:
        wait_for_motion(page, 0)
        pair = page.locator(".sync").first
        pair.get_by_role("button").click()
        page.evaluate(
            "s => { s.value = 500; s.dispatchEvent(new Event('input')); }",
            pair.locator("input").element_handle(),
        )
        page.wait_for_function(f"{NOT_SEEKING} && {TIMES}.every(t => Math.abs(t - 2.25) < 0.05)")
        assert pair.locator("output").inner_text().startswith("2.3 / 4.5")
        page.evaluate(
            "s => { s.value = 900; s.dispatchEvent(new Event('input')); }",
            pair.locator("input").element_handle(),
        )
        page.wait_for_function(
            f"{NOT_SEEKING} && {TIMES}.every((t, i) => Math.abs(t - [3, 4.05][i]) < 0.06)"
        )
        pair.get_by_role("button").click()  # to the end, hold, and from the start again
        page.wait_for_function(
            f"{TEASER}.every(v => !v.paused && v.currentTime > 0.1 && v.currentTime < 1.5)"
        )
        now = times(page, 0)
        assert max(now) - min(now) <= 0.1


def test_reduced_motion_starts_nothing_by_itself(browser, address):
    with opened(browser, address, reduced_motion="reduce") as page:
        page.wait_for_timeout(800)
        assert page.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
        page.locator(".sync button").first.click()
        wait_for_motion(page, 0)
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


WATCH = (
    "window.shift = 0; window.what = []; new PerformanceObserver(l => l.getEntries().forEach("
    "e => { if (!e.hadRecentInput) { shift += e.value; what.push(...e.sources.map("
    "s => s.node?.outerHTML?.slice(0, 80))); } })).observe({type: 'layout-shift'});"
)
"""JavaScript that adds up how far what is seen moves by itself, and names what moved."""


def test_the_first_view_is_light_and_nothing_jumps(browser, address):
    with opened(browser, address, first=WATCH) as page:
        page.wait_for_load_state("networkidle")
        size = page.evaluate(
            "performance.getEntries().reduce((sum, e) => sum + (e.encodedBodySize ?? 0), 0)"
        )
        assert 50_000 < size < 1_500_000
        walk_down(page)
        assert page.evaluate("[shift, what]") == [0, []]


ELEMENT = rb"(?s).+?(?:</(?:button|div|dt|figure|h1|h2|p|svg|video)>|$)"


class InPieces(SimpleHTTPRequestHandler):
    """The page's first view arrives element by element, as over a slow line; all else at once."""

    pieces = 0

    def copyfile(self, source, outputfile) -> None:
        text = source.read()
        first_view, mark, rest = text.partition(b'<figure id="fig-method_diagram"')
        if self.path.endswith("/where/"):
            pieces = re.findall(ELEMENT, first_view)
            type(self).pieces = len(pieces)
            for piece in pieces:
                outputfile.write(piece)
                time.sleep(0.03)
            text = mark + rest
        outputfile.write(text)

    def log_message(self, *_) -> None:
        """Say nothing per request."""


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_jumps_while_the_page_arrives_in_pieces(browser, site, width):
    slow = ThreadingHTTPServer(("127.0.0.1", 0), partial(InPieces, directory=str(site.parents[1])))
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{slow.server_port}/some/where/"
    try:
        with opened(browser, url, width=width, first=WATCH) as page:
            assert InPieces.pieces > 50
            seen, arrived = page.evaluate(
                "[performance.getEntriesByType('paint')[0].startTime,"
                " performance.getEntriesByType('navigation')[0].responseEnd]"
            )
            assert seen < arrived - 500  # [ms]; else no piece came late
            page.wait_for_timeout(100)
            assert page.evaluate("[shift, what]") == [0, []]
    finally:
        slow.shutdown()
        slow.server_close()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.slow
def test_axe_finds_no_violation(browser, address, theme):
    need(AXE.exists(), "no axe-core: npm install --prefix tests/website --no-package-lock")
    with opened(browser, address, color_scheme=theme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.get_by_role("button", name="Pause videos").click()
        walk_down(page)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = page.evaluate("tags => axe.run({runOnly: tags})", tags)
        assert len(found["passes"]) > 30
        words = [
            f"{v['id']}: {v['help']}: {[n['html'][:160] for n in v['nodes'][:3]]}"
            for v in found["violations"]
        ]
        assert not words, "\n".join(words)


@pytest.mark.slow
def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser, address):
    with opened(browser, address, reduced_motion="reduce") as page:
        expected = page.evaluate(
            """() => {
              const all = 'a[href], button, input, summary, [tabindex="0"]';
              const list = [...document.querySelectorAll(all)].filter(e => e.checkVisibility());
              list.forEach((e, i) => e.dataset.stop = i);
              return list.length;
            }"""
        )
        reached, hidden = set(), []
        for _ in range(expected + 2):
            page.keyboard.press("Tab")
            stop, seen, covered, label = page.evaluate(
                """() => {
                  const e = document.activeElement, style = getComputedStyle(e);
                  const box = e.getBoundingClientRect();
                  const bar = document.querySelector('.bar').getBoundingClientRect();
                  const below = box.bottom > bar.bottom || e.closest('.bar, .skip');
                  return [e.dataset.stop ?? null,
                          style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
                          !below, e.outerHTML.slice(0, 100)];
                }"""
            )
            if stop is None:
                continue
            if not reached:
                assert label.startswith('<a class="skip"')
            reached.add(stop)
            if not seen or covered:
                hidden.append(label)
        assert len(reached) == expected > 100
        assert not hidden


def test_skip_link_theme_switch_and_sorting_work_from_the_keyboard(browser, address):
    with opened(browser, address, color_scheme="light") as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        button = page.get_by_role("button", name="Dark theme")
        button.focus()
        page.keyboard.press("Enter")
        background = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(background) == "rgb(14, 17, 22)"
        assert page.locator("#fig-method_diagram .for-dark").is_visible()
        assert not page.locator("#fig-method_diagram .for-light").is_visible()
        page.reload()
        assert page.evaluate(background) == "rgb(14, 17, 22)"
        page.get_by_role("button", name="Light theme").click()
        assert page.evaluate(background) == "rgb(255, 255, 255)"
        table = page.locator("[data-table=summary]")
        for _ in range(2):
            table.get_by_role("button", name="Global regression").first.focus()
            page.keyboard.press("Enter")
            shown = table.locator("tbody tr td:nth-child(3) .num").all_inner_texts()
            values = [float(text.replace("%", "").strip()) for text in shown]
            header = table.locator("th[aria-sort]")
            falling = header.get_attribute("aria-sort") == "descending"
            assert values == sorted(values, reverse=falling)
            assert len(values) == 6


def test_without_javascript_all_content_is_there(browser, address):
    with opened(browser, address) as page:
        page.wait_for_load_state()
        text = "document.querySelector('main').textContent.replace(/\\s+/g, ' ')"
        with_script = page.evaluate(text)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    main = " ".join(page.locator("main").text_content().split())
    assert len(main) > 8000
    for player in ("Play", "Pause", "Copy"):
        with_script = with_script.replace(player, "")
    squeezed = "".join(c for c in with_script if c.isalpha())
    plain = "".join(c for c in main.replace("Play", "") if c.isalpha())
    assert abs(len(squeezed) - len(plain)) < 20  # nothing but labels of buttons
    assert page.locator("video[controls]").count() == 9
    assert page.locator(".player").first.is_hidden()
    assert page.locator("#theme").is_hidden()
    summary = page.locator("details.not-run summary").first
    summary.click()
    assert page.locator("details.not-run code").first.is_visible()
    context.close()


def test_works_from_disk_even_without_storage(browser, site):
    no_storage = "Object.defineProperty(window, 'localStorage', {get() { throw Error('no'); }});"
    url = f"file://{site}/index.html"
    with opened(browser, url, first=no_storage, color_scheme="light") as page:
        wait_for_motion(page, 0)
        page.get_by_role("button", name="Dark theme").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 17, 22)"
        page.locator("[data-table=summary] a.num").first.click()
        assert json.loads(page.locator("body").inner_text())["split"] == "lr"


@pytest.mark.parametrize("theme", THEMES)
def test_no_window_is_too_narrow_or_too_wide(browser, address, theme):
    small = """() => [...document.querySelectorAll('button, input, summary, .bar a, .actions a')]
      .filter(e => e.checkVisibility() && (e.offsetHeight < 24 || e.offsetWidth < 24))
      .map(e => e.outerHTML.slice(0, 80))"""
    scale = "parseFloat(getComputedStyle(document.body).fontSize)"
    options = {"color_scheme": theme, "reduced_motion": "reduce"}
    with opened(browser, address, **options) as page:
        for width, size in ((320, 16), (390, 16), (1280, 16), (2560, 20), (3840, 26)):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(small) == []
            assert page.evaluate(scale) == pytest.approx(size, abs=1.5)
        regions = page.locator(".table-scroll")
        assert regions.count() >= 8
        for index in range(regions.count()):
            assert regions.nth(index).get_attribute("tabindex") == "0"
