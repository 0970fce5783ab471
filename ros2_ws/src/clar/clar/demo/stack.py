"""The stack under demonstration as one child process, of which nothing is left at the end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_MARK = "CLAR_DEMO_RUN"
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.05
_SHUTDOWN_S = 20.0
_TERMINATE_S = 3.0
_NICENESS = 10
_TAIL_LINES = 12


class StackError(RuntimeError):
    """The stack did not start, or ended by itself; the text has its last words."""


class Stack:
    """Runs ``ros2 launch`` with these arguments in a session of its own, its output in a log file.

    Every process of the stack carries a mark in its environment, by which leftovers are found. Should this process be
    killed, the launch gets the same signal as from Ctrl-C.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._log = log
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        log.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()
        prctl = ctypes.CDLL(None).prctl

        def follow_parent() -> None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
            if os.getppid() != parent:
                os._exit(1)

        with log.open("wb") as output:
            self._launch = subprocess.Popen(
                ["ros2", "launch", "clar", "policy.launch.py", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=follow_parent,
                env=os.environ | {name: value, "PYTHONUNBUFFERED": "1"},
            )
        # Watching must not slow down what is watched.
        os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def check(self) -> None:
        """Raise StackError when the launch has ended."""
        code = self._launch.poll()
        if code is not None:
            raise StackError(f"the stack ended with exit code {code}; its last words ({self._log}):\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of the log."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])

    def end(self) -> list[str]:
        """End everything in good order; returns the commands of what had to be killed. Safe to call twice."""
        if self._launch.poll() is None:
            self._launch.send_signal(signal.SIGINT)
        if self._gone_within(_SHUTDOWN_S):
            return []
        for pid in self.processes():
            _signal(pid, signal.SIGTERM)
        if self._gone_within(_TERMINATE_S):
            return []
        stubborn = self.processes()
        names = [command for pid in stubborn if (command := _command(pid))]
        for pid in stubborn:
            _signal(pid, signal.SIGKILL)
        self._gone_within(_TERMINATE_S)
        return names

    def processes(self) -> list[int]:
        """Ids of the stack's processes that are alive."""
        mark = self._mark.encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def _gone_within(self, timeout_s: float) -> bool:
        end_s = time.monotonic() + timeout_s
        while True:
            self._launch.poll()
            if not self.processes():
                return True
            if time.monotonic() > end_s:
                return False
            time.sleep(_POLL_S)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
