"""The emulator from the test's side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """What the emulated robot knows about itself.

    Attributes:
        mode: the robot's own mode.
        moving: whether a motion runs.
        still_since_ns: wall time at which the commanded velocity became zero, 0 while it is not.
        ticks: milliseconds of the robot's own time; behind the wall clock where the machine is too busy for 1 kHz.
        thresholds: (52) of the collision behaviour as it was set: torques, then forces.
        load: (13) as it was set: mass, centre, inertia.
        free_axes: (7) in guiding mode, as they were set: x, y, z, roll, pitch, yaw, elbow.
        holds: whether the gripper holds something.
    """

    mode: str
    moving: bool
    still_since_ns: int
    ticks: int
    thresholds: list[float]
    load: list[float]
    free_axes: list[bool]
    holds: bool


class FciEmulator:
    """An emulated robot and hand at a loopback address, in a child process.

    Args:
        address: where robot and gripper listen.
        version: of the robot's server; a Panda has 5 or less.
        gripper_version: of the gripper's server.
        has_gripper: whether there is a hand.
    """

    def __init__(
        self,
        address: str,
        *,
        version: int | None = None,
        gripper_version: int | None = None,
        has_gripper: bool = True,
    ) -> None:
        self.address = address
        options = [f"--version={version}"] if version is not None else []
        options += [f"--gripper-version={gripper_version}"] if gripper_version is not None else []
        options += [] if has_gripper else ["--no-gripper"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hardware.fci_emulator", address, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "ready"

    def fail(self, error: str) -> None:
        """The robot stops itself by an error, named as libfranka names it."""
        self._send(error=error)

    def push(self, force_n: float) -> None:
        """Somebody pushes down on the hand; above the force threshold that was set, the robot's reflex stops it."""
        self._send(push_n=force_n)

    def press_user_stop(self) -> None:
        """The user stop is pressed."""
        self._send(user_stop=True)

    def set_mode(self, mode: str) -> None:
        """The robot's mode changes by hand, ending any motion: IDLE, GUIDING, OTHER (brakes locked), ..."""
        self._send(mode=mode)

    def guide(self, joints_rad: Sequence[float]) -> None:
        """Somebody guides the idle arm to a joint position (7) by hand."""
        self._send(joints_rad=list(joints_rad))

    def set_success_rate(self, rate: float | None) -> None:
        """The part of the control commands that arrives in time, while a motion runs; None: as counted."""
        self._send(success_rate=rate)

    def set_network(self, **changes: object) -> None:
        """Attributes of the robot's server: packet_loss, delay_s, off."""
        self._send(network=changes)

    def set_gripper(self, **changes: object) -> None:
        """Attributes of the gripper server: object_m, max_width_m, hangs, fails, dead."""
        self._send(gripper=changes)

    def heal(self) -> None:
        """Everything as it was at first, except where the arm is."""
        self._send(
            network={"packet_loss": 0.0, "delay_s": 0.0, "off": False},
            gripper={"object_m": None, "max_width_m": 0.08, "hangs": False, "fails": False, "dead": False},
            success_rate=None,
            push_n=0.0,
        )

    def report(self) -> Report:
        """What the robot knows about itself."""
        return self._send()

    def freeze(self) -> None:
        """The control box neither answers nor moves."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> FciEmulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, **request: object) -> Report:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout is not None
        return Report(**json.loads(self.process.stdout.readline()))
