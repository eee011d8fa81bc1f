"""The soak of benchmarks/serve.py, small: every request is answered as it deserves."""

from __future__ import annotations

import os

from benchmarks import serve
from tests.serving.served import server, small_policy

__all__ = ["server", "small_policy"]


def test_good_and_bad_requests_of_many_clients(server, monkeypatch):
    monkeypatch.setattr(serve, "EVERY", 5)
    found = serve.soak(server.address, os.getpid(), requests=150, clients=8)
    answers = found["answers"]
    assert sum(answers.values()) == 150
    assert answers["actions"] == 120
    assert answers["died"] == 5
    assert answers["closed with 1009"] == 5
    assert answers["a sentence"] == 20
    assert found["rss_mb"].keys() == {"warm", "half", "end"}
