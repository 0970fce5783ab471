"""What the fault suite measures is collected here and written when it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.contract import Entry, page, save
from tests.ros.processes import Probe

RESULTS = Path("outputs") / "faults.json"


@pytest.fixture
def probe(ros_domain: int) -> Iterator[Probe]:
    """A node of the test's own."""
    probe = Probe()
    yield probe
    probe.close()


@pytest.fixture(scope="session")
def faults() -> Iterator[list[Entry]]:
    """The list that every fault is entered in. With FAULTS_PAGE it becomes that page."""
    entries: list[Entry] = []
    yield entries
    entries.sort(key=lambda entry: entry.row)
    if not entries:
        return
    save(entries, RESULTS)
    if os.environ.get("FAULTS_PAGE"):
        sys.path.insert(0, "benchmarks")
        from harness import describe_machine

        machine = describe_machine()
        text = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
        Path(os.environ["FAULTS_PAGE"]).write_text(page(entries, text), encoding="utf-8")
