"""Starts launch files for tests, in processes of their own, and watches what their children note."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
CHILD = HERE / "child.py"
PATIENCE_S = 60.0

_PREAMBLE = """
import os, sys
from launch import LaunchDescription
from launch.actions import *
from launch.conditions import *
from launch.event_handlers import *
from launch.launch_description_sources import *
from launch.substitutions import *

HERE = os.path.dirname(__file__)

def child(name, *arguments, **options):
    options.setdefault("name", name)
    return ExecuteProcess(cmd=[sys.executable, CHILD, os.path.join(HERE, name), *arguments], **options)

def say(*words, **options):
    return ExecuteProcess(cmd=["echo", *words], output="screen", **options)

def generate_launch_description():
    return LaunchDescription([
"""


class Launch:
    """A launch file that runs, its output so far, and the notes of its children in the same folder."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._output = folder / "output.txt"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "ROS_LOG_DIR": str(folder / "log"), **(environment or {})},
            )

    @property
    def output(self) -> str:
        """What was written to the screen so far."""
        return self._output.read_text(encoding="utf-8")

    def notes(self, name: str) -> list[str]:
        """What a child noted so far."""
        path = self.folder / name
        return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []

    def pid(self, name: str) -> int:
        """Process id of a child, once it runs."""
        self.wait_until(lambda: bool(self.notes(name)))
        return int(self.notes(name)[0].removeprefix("started "))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition. Fails with the output when it does not come true."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited {PATIENCE_S} s in vain; output so far:\n{self.output}"
            time.sleep(0.01)

    def ends(self, number: signal.Signals | None = None) -> int:
        """The exit status, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the launch did not end; output so far:\n{self.output}") from None

    def kill(self) -> None:
        """End the launch and every child that noted its process id, whatever they do."""
        pids = [self.process.pid] if self.process.poll() is None else []
        for notes in self.folder.glob("*.notes"):
            pids += [pid for line in self.notes(notes.name) if (pid := started(line)) and is_child(pid)]
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def launch(
    folder: Path, entities: str, *arguments: str, imports: str = "", environment: dict[str, str] | None = None
) -> Launch:
    """Run a launch file of the given entities."""
    path = write_launch_file(folder / "test.launch.py", entities, imports)
    return Launch([sys.executable, str(HERE / "run_launch.py"), str(path), *arguments], folder, environment)


def write_launch_file(path: Path, entities: str, imports: str = "") -> Path:
    """A launch file of the given entities, which may use ``child`` and ``say``."""
    body = textwrap.indent(textwrap.dedent(entities), "        ")
    path.write_text(f"CHILD = {str(CHILD)!r}\n{imports}{_PREAMBLE}{body}\n    ])\n", encoding="utf-8")
    return path


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_child(pid: int) -> bool:
    """Whether a process is one of ``child.py``, and not one that got its number later."""
    try:
        return str(CHILD) in Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def started(line: str) -> int | None:
    """The process id in a note, if it is the first one."""
    return int(line.split()[1]) if line.startswith("started ") else None
