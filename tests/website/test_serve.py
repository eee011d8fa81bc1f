"""The local server: parts of videos, and nothing that is not the site's."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from para.website.serve import server


@pytest.fixture
def running(tmp_path):
    site = tmp_path / "site"
    (site / "static").mkdir(parents=True)
    (site / "film.mp4").write_bytes(bytes(range(100)))
    (site / "index.html").write_text("the page")
    (site / ".para-website").touch()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "index.html").write_text("secret")
    (site / "link.html").symlink_to(tmp_path / "secret" / "index.html")
    (site / "linked").symlink_to(tmp_path / "secret")
    (site / "inner").mkdir()
    (site / "inner" / "index.html").symlink_to(tmp_path / "secret" / "index.html")
    with server(site, 0) as instance:
        threading.Thread(target=instance.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{instance.server_port}"
        instance.shutdown()


@pytest.mark.parametrize(
    ("wanted", "expected", "said"),
    [
        ("bytes=10-19", bytes(range(10, 20)), "bytes 10-19/100"),
        ("bytes=90-", bytes(range(90, 100)), "bytes 90-99/100"),
        ("bytes=-5", bytes(range(95, 100)), "bytes 95-99/100"),
        ("bytes=95-500", bytes(range(95, 100)), "bytes 95-99/100"),
    ],
)
def test_the_server_sends_parts_of_a_video(running, wanted, expected, said):
    request = urllib.request.Request(f"{running}/film.mp4", headers={"Range": wanted})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == said
        assert answer.read() == expected


def test_the_server_sends_whole_files_and_refuses_impossible_parts(running):
    with urllib.request.urlopen(f"{running}/film.mp4") as answer:
        assert (answer.status, len(answer.read())) == (200, 100)
    request = urllib.request.Request(f"{running}/film.mp4", headers={"Range": "bytes=200-300"})
    with pytest.raises(urllib.error.HTTPError, match="416"):
        urllib.request.urlopen(request)


def test_a_port_that_is_taken_is_replaced(tmp_path):
    with server(tmp_path, 0) as first, server(tmp_path, first.server_port) as second:
        assert second.server_port not in (0, first.server_port)


@pytest.mark.parametrize(
    "path",
    [
        "/%00",
        "/film.mp4%00.html",
        "/%ED%A0%80",
        "/../secret/index.html",
        "/%2e%2e/secret/index.html",
        "/link.html",
        "/linked/",
        "/linked/index.html",
        "/inner/",
        "/static/",
        "/.para-website",
        "/nothing.html",
        "/" + "x" * 5000,
    ],
)
def test_nothing_but_the_site_is_shown(running, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(running + path, timeout=20)


def test_the_folder_itself_is_its_page(running):
    with urllib.request.urlopen(f"{running}/") as answer:
        assert answer.read() == b"the page"


def test_idle_connections_hold_up_nobody(running):
    address = ("127.0.0.1", int(running.rsplit(":", 1)[1]))
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(address, timeout=10))
        with urllib.request.urlopen(f"{running}/film.mp4", timeout=10) as answer:
            assert len(answer.read()) == 100
