"""A launch file of the package as a process, with all that runs below it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus

from clar import names, qos
from clar_interfaces.msg import RobotState
from tests.ros.processes import Probe, wait_for

READY_WITHIN_S = 180.0


class Launch:
    """`ros2 launch clar <file> hardware:=sim` in a session of its own.

    Args:
        folder: it runs in, and logs to.
        arguments: of the launch.
        file: which launch file.
    """

    def __init__(self, folder: Path, *arguments: str, file: str = "policy.launch.py") -> None:
        self.log = folder / f"{file}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["ros2", "launch", "clar", file, "hardware:=sim", *arguments],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> dict[int, str]:
        """Ids and command lines of all that runs below the launch."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
        found, heap = {}, list(children.get(self.process.pid, []))
        while heap:
            pid = heap.pop()
            heap += children.get(pid, [])
            try:
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def pid_of(self, executable: str) -> int:
        """The process of one node."""
        return next(pid for pid, command in self.processes().items() if f"lib/clar/{executable} " in command)

    def end(self) -> None:
        """End everything, whatever state it is in."""
        started = self.processes()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
        for pid in started:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)


@contextmanager
def ready(probe: Probe, folder: Path, *arguments: str, file: str = "policy.launch.py") -> Iterator[Launch]:
    """A launch, once its manager says that the stack is ready; gone when the context ends."""
    statuses = probe.collect(DiagnosticStatus, names.TOPIC_MANAGER_STATUS, qos.LATCHED)
    launch = Launch(folder, *arguments, file=file)
    try:
        wait_for(
            lambda: launch.process.poll() is not None or (statuses and statuses[-1].message == "ready"),
            "the stack to be ready",
            READY_WITHIN_S,
        )
        assert launch.process.poll() is None, launch.log.read_text()
        yield launch
    finally:
        launch.end()


def position(state: RobotState) -> np.ndarray:
    """The measured TCP (3,), metres in the base frame."""
    p = state.measured_pose.position
    return np.array([p.x, p.y, p.z])
