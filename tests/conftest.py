"""Fixtures for every test: isolation from other tests on the machine, and a place to write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.isolation import FCI_ADDRESSES, ROS_DOMAINS, fci_ports_are_free, lease

# MuJoCo reads it at its first import.
os.environ.setdefault("MUJOCO_GL", "osmesa")

# Folders whose tests drive processes at the pace of the robot: beside other tests they would miss their deadlines.
REALTIME_FOLDERS = {"contract", "end_to_end", "faults", "hardware", "ros"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that must run alone."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in REALTIME_FOLDERS:
            item.add_marker(pytest.mark.realtime)


@pytest.fixture(scope="module", autouse=True)
def ros_domain() -> Iterator[int]:
    """ROS_DOMAIN_ID of this module's tests and of the processes they start; one chosen by the caller is kept."""
    chosen = os.environ.get("ROS_DOMAIN_ID")
    if chosen:
        yield int(chosen)
        return
    with lease("domain", map(str, ROS_DOMAINS)) as name:
        os.environ["ROS_DOMAIN_ID"] = name
        try:
            yield int(name)
        finally:
            del os.environ["ROS_DOMAIN_ID"]


@pytest.fixture
def fci_address() -> Iterator[str]:
    """A loopback address on which a robot and a gripper server can listen (their ports cannot be chosen)."""
    with lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address:
        yield address


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `outputs/` of a current folder of its own: defaults relative to it do not touch the checkout."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder
