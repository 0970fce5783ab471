"""A launch file of the package as a process, with all that runs below it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path


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
