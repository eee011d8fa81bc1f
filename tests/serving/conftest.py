"""Fixtures of every test of the server."""

from tests.serving.served import server, small_policy

__all__ = ["server", "small_policy"]
