"""Packages of extras: the sentence says what to install."""

from __future__ import annotations

import pytest

from para.errors import ConfigError
from para.extras import require_packages


def test_what_is_missing_is_named_with_its_extra():
    require_packages("robot", "json", "msgpack")
    with pytest.raises(
        ConfigError, match=r"no_such_module\. Run: pip install 'para-robot\[robot\]'"
    ):
        require_packages("robot", "json", "no_such_module")
