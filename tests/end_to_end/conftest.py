"""A node to talk to the launched stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ros.processes import Probe


@pytest.fixture
def probe(ros_domain: int) -> Iterator[Probe]:
    """A node of the test's own."""
    probe = Probe()
    yield probe
    probe.close()
