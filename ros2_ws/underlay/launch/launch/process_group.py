"""A process in a group of its own: started, read line by line, signalled, and ended with all that it started.

The group serves two ends. Ctrl-C in a terminal reaches only the launch, which passes it on exactly once; and what the
process leaves behind can be found and ended. If the launch itself is killed, the kernel interrupts the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LEFTOVER_POLL_S = 0.05
_OUTPUT_GRACE_S = 1.0


class ProcessGroup:
    """One running process, its group and its output.

    Args:
        cmd: the executable and its arguments.
        cwd: where it runs, or None for here.
        env: its whole environment.
        shell: hand the command to a shell instead.
        on_line: called with "stdout" or "stderr" and each line.

    Raises:
        OSError: it could not be started.
    """

    def __init__(
        self,
        cmd: list[str],
        *,
        cwd: str | None,
        env: dict[str, str],
        shell: bool,
        on_line: Callable[[str, str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._popen = subprocess.Popen(
            " ".join(cmd) if shell else cmd,
            cwd=cwd,
            env=env,
            shell=shell,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            preexec_fn=_die_with_parent(os.getpid()),
        )
        self.pid = self._popen.pid
        self._exited: asyncio.Future[int] = self._loop.create_future()
        self._readers = [
            asyncio.ensure_future(self._read(source, pipe, on_line))
            for source, pipe in (("stdout", self._popen.stdout), ("stderr", self._popen.stderr))
        ]
        # A thread that waits is the one way that needs neither a child watcher nor a recent kernel.
        threading.Thread(target=self._reap, daemon=True).start()

    async def exited(self) -> int:
        """The process's return code, once it ended; negative where a signal ended it."""
        return await asyncio.shield(self._exited)

    async def ended_within(self, seconds: float | None) -> bool:
        """Whether the process and everything in its group ended before the time was over."""
        try:
            async with asyncio.timeout(seconds):
                await self.exited()
                while self.leftovers():
                    await asyncio.sleep(_LEFTOVER_POLL_S)
        except TimeoutError:
            return False
        return True

    def send_signal(self, number: int) -> None:
        """Signal the process and everything in its group, as a terminal would."""
        if not self._exited.done() or self.leftovers():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def leftovers(self) -> list[int]:
        """The living processes of the group, the first one aside."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return []
        except PermissionError:
            pass
        return [pid for pid in _living_group_members(self.pid) if pid != self.pid]

    async def close(self) -> None:
        """Read what is left of the output. Processes that left the group may hold it open: they are not waited for."""
        _, unfinished = await asyncio.wait(self._readers, timeout=_OUTPUT_GRACE_S)
        for reader in unfinished:
            reader.cancel()

    def _reap(self) -> None:
        returncode = self._popen.wait()
        with contextlib.suppress(RuntimeError):  # The loop was closed: nobody is left to tell.
            self._loop.call_soon_threadsafe(lambda: self._exited.done() or self._exited.set_result(returncode))

    async def _read(self, source: str, pipe: object, on_line: Callable[[str, str], None]) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await self._loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        pending = b""
        try:
            while chunk := await reader.read(65536):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    on_line(source, line.decode(errors="replace").rstrip("\r"))
        finally:
            if pending:
                on_line(source, pending.decode(errors="replace"))
            transport.close()


def _die_with_parent(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return in_child


def _living_group_members(group: int) -> list[int]:
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold spaces: state, parent and group come after the last one.
            state, _, process_group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(process_group) == group and state not in "ZX":
            members.append(int(stat.parent.name))
    return members
