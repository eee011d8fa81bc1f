"""A site as its visitors get it: from a static server, below a sub-path."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from para.website.serve import server


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """URL of the page; a module's `site` is the folder some/where that holds it."""
    with server(site.parents[1], 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/some/where/"
        running.shutdown()
