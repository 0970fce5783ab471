"""An FR3 with a hand behind the real robot interface: franky-sim in a child process, for tests of driver and arm node.

Run as a module it is that child: ``python -m tests.simulated_robot 127.0.1.7``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

START_JOINTS_RAD = (0.0, 0.0, 0.0, -1.57, 0.0, 1.57, 0.785)
"""Where franky-sim's robot stands at first: TCP at about (0.554, 0, 0.521) m, pointing down."""

_REPORT_TICKS = 200


class SimulatedRobot:
    """The child process, and how fast its time runs."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.real_time_factor = 1.0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulated_robot", address],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline())["ready"]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def freeze(self) -> None:
        """Stop its time: it neither answers nor moves."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self._thread.join(5.0)

    def __enter__(self) -> SimulatedRobot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.real_time_factor = json.loads(line)["real_time_factor"]


def serve(address: str) -> None:
    """Simulate in real time, reporting on standard output, until killed or until the parent has gone."""
    from franky_sim import SimulationServer
    from franky_sim.mujoco_simulator import MujocoSimulator

    from clar_core.simulation import pinocchio2  # noqa: F401  franky-sim needs it under NumPy 1.26

    with suppress(PermissionError):
        os.nice(-10)
    with MujocoSimulator() as simulator:
        simulator.add_robot()
        with SimulationServer(simulator, hostname_candidates=[address]) as server:
            print(json.dumps({"ready": True}), flush=True)
            due_s = mark_s = time.monotonic()
            ticks = 0
            parent = os.getppid()
            while os.getppid() == parent:
                server.run_once(realtime=False)
                ticks += 1
                if ticks % _REPORT_TICKS == 0:
                    now_s = time.monotonic()
                    factor = 0.001 * _REPORT_TICKS / (now_s - mark_s)
                    mark_s = now_s
                    print(json.dumps({"real_time_factor": factor}), flush=True)
                due_s = max(due_s + 0.001, time.monotonic() - 0.05)  # catches up with short stalls
                time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    serve(sys.argv[1])
