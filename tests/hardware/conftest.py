"""A simulated robot for a module of tests, and an arm's driver that is connected to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clar.drivers.franka import FrankaArm, FrankaConfig
from tests.isolation import FCI_ADDRESSES, fci_ports_are_free, lease
from tests.simulated_robot import SimulatedRobot


@pytest.fixture(scope="module")
def robot() -> Iterator[SimulatedRobot]:
    """An FR3 with a hand at an address of its own."""
    with lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address, SimulatedRobot(address) as robot:
        yield robot


@pytest.fixture
def arm(robot: SimulatedRobot) -> Iterator[FrankaArm]:
    """Connected to it."""
    with FrankaArm(FrankaConfig(host=robot.address, realtime=False)) as arm:
        yield arm
