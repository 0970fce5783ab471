"""The emulator from the test's side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys


class FciEmulator:
    """An emulated robot and hand at a loopback address, in a child process."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hardware.fci_emulator", address],
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

    def press_user_stop(self) -> None:
        """The user stop is pressed."""
        self._send(user_stop=True)

    def set_mode(self, mode: str) -> None:
        """The robot's mode changes by hand: IDLE, GUIDING, OTHER (brakes locked), ..."""
        self._send(mode=mode)

    def set_success_rate(self, rate: float) -> None:
        """The part of the control commands that arrives in time, while a motion runs."""
        self._send(success_rate=rate)

    def set_gripper(self, **changes: object) -> None:
        """Attributes of the gripper server: object_m, max_width_m, hangs, fails."""
        self._send(gripper=changes)

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

    def _send(self, **request: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "done"
