"""The arm node in front of the emulated robot, with a stopwatch that reads the robot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from clar import bridge, names
from clar_interfaces.msg import RobotState
from tests.faults.contract import Entry
from tests.hardware.fci_emulator import FciEmulator
from tests.ros.arm_rig import ArmRig, arm_rig
from tests.ros.processes import Probe, wait_for

DISARMED, ARMED, RUNNING, HALTED = range(4)
STAY = (0.0,) * 6
_NEAR_X_M, _FAR_X_M = 0.45, 0.60
_REST_STATES = 30
_JUDGED_S = 0.05
"""The robot's own speed means nothing over less time."""
START = (0.0, 0.0, 0.0, -1.57, 0.0, 1.57, 0.785)


class FaultRig:
    """Operates the arm node and enters what it measures."""

    def __init__(self, rig: ArmRig, entries: list[Entry]) -> None:
        self.arm = rig
        self.robot: FciEmulator = rig.robot
        self._entries = entries
        self._direction = 1

    @property
    def state(self) -> RobotState:
        return self.arm.state

    def step(self) -> tuple[float, ...]:
        """A step of 5 mm along x, to and fro within the box."""
        x_m = self.arm.pose[0, 3]
        self._direction = 1 if x_m < _NEAR_X_M else -1 if x_m > _FAR_X_M else self._direction
        return (0.005 * self._direction, 0.0, 0.0, 0.0, 0.0, 0.0)

    def run(self, source: str = "policy") -> FaultRig:
        """RUNNING, with the arm moving as far as the robot is concerned."""
        self.arm.start(source)
        self.drive_until(lambda: self.robot.report().still_since_ns == 0, source=source)
        return self

    def drive_until(self, condition: Callable[[], object], **command: object) -> None:
        """Command small steps at 10 Hz until a condition holds."""

        def driven() -> object:
            self.arm.drive(self.step(), 1, **command)
            assert self.state.mode == RUNNING, self.state.reason
            return condition()

        wait_for(driven, "the effect of driving")

    def time_to_rest(self, provoke: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> Stop:
        """Provoke a fault in motion; how long the commanded velocity took to become zero."""
        before = self.robot.report()
        assert before.still_since_ns == 0, f"the arm must be moving; {self.state.reason}"
        fault_ns = time.time_ns()
        provoke()

        def at_rest() -> bool:
            meanwhile()
            return self.robot.report().still_since_ns != 0

        wait_for(at_rest, f"the arm at rest; {self.state.reason}")
        after = self.robot.report()
        elapsed_s = (time.time_ns() - fault_ns) * 1e-9
        seconds = max(0.0, (after.still_since_ns - fault_ns) * 1e-9)
        speed = (after.ticks - before.ticks) * 1e-3 / elapsed_s
        return Stop(seconds, speed if seconds > _JUDGED_S else 1.0)

    def time_from_halt(self) -> Stop:
        """How long the commanded velocity took to become zero once the arm was HALTED."""
        halted_ns = [
            bridge.stamp_to_ns(after.header.stamp)
            for before, after in pairwise(self.arm.states)
            if before.mode != HALTED and after.mode == HALTED
        ][-1]
        return Stop(max(0.0, (self.robot.report().still_since_ns - halted_ns) * 1e-9), 1.0)

    def refusal(self) -> str:
        """What arming says from DISARMED."""
        self.arm.trigger(names.SERVICE_DISARM)
        return str(self.arm.trigger(names.SERVICE_ARM).message)

    def halted(self, reason: str) -> RobotState:
        """HALTED by that name, and it stays so whatever is commanded."""
        state = self.arm.wait_for_mode(HALTED)
        assert reason in state.reason
        self.arm.drive((0.01, 0, 0, 0, 0, 0), 2)
        assert self.state.mode == HALTED
        return state

    def enter(
        self, row: int, provoked: str, stop: Stop | None = None, *, response: str = "", within_s: float | None = None
    ) -> None:
        """Enter a result; with ``within_s`` the stop must not have taken longer, in the robot's own time."""
        if within_s is not None:
            assert stop is not None
            assert stop.seconds <= within_s / min(1.0, max(stop.robot_speed, 0.05)), f"{provoked}: {stop}"
        mode = ("DISARMED", "ARMED", "RUNNING", "HALTED")[self.state.mode]
        text = response or f"{mode}: {self.state.reason}"
        entry = (
            Entry(row, provoked, text) if stop is None else Entry(row, provoked, text, stop.seconds, stop.robot_speed)
        )
        self._entries.append(entry)

    def restore(self) -> None:
        """At rest, DISARMED, nothing wrong with the robot, the arm where it began."""
        self.arm.trigger(names.SERVICE_DISARM)
        # A motion that was just asked for is not seen yet, and must not be cut off by setting the mode.
        wait_for(self._settled, "the end of the motion")
        self.robot.heal()
        self.robot.set_mode("IDLE")
        self.robot.guide(START)
        wait_for(lambda: self.arm.trigger(names.SERVICE_RECOVER).success, "recovery after the test")
        self.arm.trigger(names.SERVICE_OPEN_GRIPPER)

    def _settled(self) -> bool:
        states = self.arm.states[-_REST_STATES:]
        return len(states) == _REST_STATES and all(s.mode != RUNNING and s.robot_mode != "Move" for s in states)


class Stop:
    """How long a stop took in seconds of the wall clock, and how fast the robot's own time ran meanwhile."""

    def __init__(self, seconds: float, robot_speed: float) -> None:
        self.seconds, self.robot_speed = seconds, robot_speed

    def __repr__(self) -> str:
        return f"{self.seconds * 1e3:.0f} ms at {self.robot_speed:.2f} of the robot's speed"


@contextmanager
def fault_rig(
    probe: Probe, folder: Path, address: str, entries: list[Entry], **parameters: object
) -> Iterator[FaultRig]:
    """An emulated robot with the arm node, active and DISARMED."""
    with arm_rig(probe, folder, address, make_robot=FciEmulator, **parameters) as rig:
        yield FaultRig(rig, entries)
