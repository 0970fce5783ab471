"""Commands that launch the stack, as processes, around a stand-in for what they launch."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TIMEOUT_S = 120.0


class StackCommand:
    """The process of a command that launches the stack, and the stack that it started.

    Args:
        module: of the command.
        output: its output folder.
        arguments: more of them.
        known_by: text that stands in the command line of the stack that it launches; the output folder when left out.
    """

    def __init__(self, module: str, output: Path, *arguments: str, known_by: str = "") -> None:
        self.output = output
        self.known_by = known_by or str(output)
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--output", str(output), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> tuple[int, str]:
        text, _ = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, text

    def log(self) -> str:
        """What the stack said."""
        path = self.output / "launch.log"
        return path.read_text() if path.exists() else ""

    def stack(self) -> list[int]:
        """Processes that carry the mark of such a command and were started for this output."""
        return [pid for pid in marked() if self.known_by in command(pid) or parent_is_marked(pid)]


def marked() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and b"CLAR_DEMO_RUN=" in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def parent_is_marked(pid: int) -> bool:
    return "signal.SIG_IGN" in command(pid)


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
