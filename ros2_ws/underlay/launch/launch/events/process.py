"""What happens to processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launch.events import Event
from launch.subset import refuse_others

if TYPE_CHECKING:
    from launch.actions.execute_process import ExecuteProcess

__all__ = ["ProcessExited", "ProcessStarted"]
__getattr__ = refuse_others(__name__)


class _ProcessEvent(Event):
    def __init__(
        self, *, action: ExecuteProcess, name: str, cmd: list[str], cwd: str | None, env: dict[str, str], pid: int
    ) -> None:
        self.action = action
        self.process_name = name
        self.cmd = cmd
        self.cwd = cwd
        self.env = env
        self.pid = pid


class ProcessStarted(_ProcessEvent):
    """A process runs."""

    name = "launch.events.process.ProcessStarted"


class ProcessExited(_ProcessEvent):
    """A process ended; the return code is negative where a signal ended it."""

    name = "launch.events.process.ProcessExited"

    def __init__(
        self,
        *,
        action: ExecuteProcess,
        name: str,
        cmd: list[str],
        cwd: str | None,
        env: dict[str, str],
        pid: int,
        returncode: int,
    ) -> None:
        super().__init__(action=action, name=name, cmd=cmd, cwd=cwd, env=env, pid=pid)
        self.returncode = returncode
