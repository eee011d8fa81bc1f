"""One Ray cluster for all tests of a file that need one."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.executors.clusters import ray_cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each on this machine."""
    with ray_cluster() as two:
        two.add_node(num_cpus=1)
        yield two
