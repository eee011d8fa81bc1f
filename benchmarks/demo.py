"""How long a visitor of the demo waits: `python benchmarks/demo.py SITE [results_dir=results]`.

SITE is a folder that scripts/make_website.py has made. In headless Chromium (the package
playwright, and Debian's chromium) each policy's bowl and plate are moved by MOVES arrow keys; from
each key to the frame with heatmap and path is one wait [ms], on the page's own clock. The first
round of moves, in which it is compiled, is not counted. Writes <results_dir>/benchmarks/demo.json.
"""

from __future__ import annotations

import logging
import statistics
import sys
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from para.cli import load_config, plainly  # noqa: E402
from para.common import CommonConfig  # noqa: E402
from para.files import atomic_write_json  # noqa: E402
from para.system import provenance  # noqa: E402
from para.website.serve import server  # noqa: E402

MOVES = 60
ROUND = ("Right", "Down", "Right", "Down", "Left", "Up", "Left", "Up", "Right", "Left")
POLICIES = {"para": "PARA", "regression": "Global regression"}
MOVE = """
key => new Promise(done => {
  const demo = document.querySelector("#demo"), start = performance.now();
  new MutationObserver((_, watch) => {
    watch.disconnect();
    requestAnimationFrame(() => done(performance.now() - start));
  }).observe(demo, {attributes: true, attributeFilter: ["data-shown"]});
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
})
"""


def main() -> None:
    """Serve the site, move, write what was waited."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) < 2 or sys.argv[1][:1] == "-" or "=" in sys.argv[1]:
        sys.exit("Give the folder of a website: python benchmarks/demo.py SITE [key=value]")
    site, words = Path(sys.argv[1]), sys.argv[2:]
    results_dir = load_config(CommonConfig, words).results_dir
    waits: dict[str, list[float]] = {}
    with server(site, 0) as running, sync_playwright() as play:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        chromium = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{running.server_port}/")
        page.get_by_role("button", name="Start the demo").click()
        page.wait_for_selector("#demo[data-shown]")
        for policy, name in POLICIES.items():
            page.get_by_role("radio", name=name, exact=True).check()
            page.wait_for_selector(f"#demo[data-shown^='{policy} ']")
            page.locator("[data-mover='0']").focus()
            keys = [f"Arrow{way}" for way in ROUND] * (MOVES // len(ROUND) + 1)
            waits[policy] = [page.evaluate(MOVE, key) for key in keys][len(ROUND) :]
        chromium.close()
        running.shutdown()
    rows = {
        policy: {
            "median_ms": round(statistics.median(times), 1),
            "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
            "largest_ms": round(max(times), 1),
            "n": len(times),
        }
        for policy, times in waits.items()
    }
    logging.info("%s", rows)
    result = {**provenance("benchmarks/demo.py", words), "waits": rows}
    atomic_write_json(f"{results_dir}/benchmarks/demo.json", result)


if __name__ == "__main__":
    plainly(main)
