"""The arm drawn by a spring to a moving reference: real franky, simulated FR3."""

import time

import numpy as np
import pytest

from clar.drivers.franka import FrankaArm
from clar_core.control.robot import RobotError
from clar_core.control.tracking import StepReference
from tests.simulated_robot import SimulatedRobot


def follow(arm: FrankaArm, reference: StepReference, step_m: float, ticks: int) -> None:
    """Steps along y at 10 Hz, given to the arm at 100 Hz."""
    start_s, given = time.monotonic(), 0
    while (elapsed_s := time.monotonic() - start_s) < 0.1 * ticks:
        if elapsed_s >= 0.1 * given:
            T = reference.target.copy()
            T[1, 3] += step_m
            reference.set_target(T, time.monotonic())
            given += 1
        arm.send_reference(*reference.sample(time.monotonic()))
        time.sleep(0.01)


def test_a_spring_pulls_the_tcp_along_and_an_end_of_references_stops_it(arm: FrankaArm, robot: SimulatedRobot) -> None:
    before = arm.read().T_base_tcp
    reference = StepReference(before)
    follow(arm, reference, 0.01, 10)
    at_end = arm.read().T_base_tcp
    assert np.linalg.norm(at_end[:3, 3] - reference.target[:3, 3]) < 0.02
    assert at_end[1, 3] - before[1, 3] > 0.05
    arm.wait()
    reading = arm.read()
    assert np.abs(reading.twist[:3]).max() < 5e-3
    assert abs(reading.T_base_tcp[1, 3] - at_end[1, 3]) < 0.02
    assert reading.errors == ()


def test_after_the_spring_other_motions_follow(arm: FrankaArm) -> None:
    follow(arm, StepReference(arm.read().T_base_tcp), 0.0, 2)
    arm.ramp_down()
    arm.wait()
    arm.send_twist(np.zeros(6))
    arm.ramp_down()
    arm.wait()


def test_a_reference_far_away_does_not_throw_the_arm(arm: FrankaArm) -> None:
    start = arm.read().T_base_tcp
    far = start.copy()
    far[:3, 3] += (0.0, 0.3, 0.0)
    speeds, end_s = [], time.monotonic() + 0.4
    while time.monotonic() < end_s:
        arm.send_reference(far, np.zeros(6))
        speeds.append(float(np.linalg.norm(arm.read().twist[:3])))
        time.sleep(0.01)
    arm.ramp_down()
    arm.wait()
    assert max(speeds) < 0.6, "40 N against critical damping at 1500 N/m are half a metre a second"
    assert arm.read().T_base_tcp[1, 3] > start[1, 3] + 0.01


@pytest.mark.parametrize(("T", "twist"), [(np.full((4, 4), np.nan), np.zeros(6)), (np.eye(4), np.full(6, np.inf))])
def test_a_reference_that_is_not_finite_never_reaches_the_robot(
    arm: FrankaArm, T: np.ndarray, twist: np.ndarray
) -> None:
    with pytest.raises(RobotError, match="finite numbers"):
        arm.send_reference(T, twist)
    assert not arm.poll()
