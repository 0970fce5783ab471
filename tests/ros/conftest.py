"""A node to talk to the nodes under test, and a stand-in for the launched stack."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ros.processes import Probe

STAND_IN = Path(__file__).with_name("stand_in_stack.py")


@pytest.fixture
def probe(ros_domain: int) -> Iterator[Probe]:
    """A node of the test's own."""
    probe = Probe()
    yield probe
    probe.close()


@pytest.fixture
def ros2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program named ros2 first on the path, that plays the stack in the given way."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ros2"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda kind: monkeypatch.setenv("STAND_IN", kind)
