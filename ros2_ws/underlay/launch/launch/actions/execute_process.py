"""A process: started, shown, started again where asked for, and ended with the launch."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from launch.action import Action
from launch.condition import Condition
from launch.event_handlers import OnProcessExit, Reaction
from launch.events.process import ProcessExited, ProcessStarted
from launch.launch_context import LaunchContext
from launch.logging import get_logger
from launch.process_group import ProcessGroup
from launch.subset import outside
from launch.substitution import SomeSubstitutionsType, perform_text

# Where each stream of a process goes, by its `output`: (to the screen, to launch.log).
_OUTPUTS = {
    "screen": {"stdout": (True, False), "stderr": (True, False)},
    "log": {"stdout": (False, True), "stderr": (True, True)},
    "both": {"stdout": (True, True), "stderr": (True, True)},
}
_ESCALATION = ("SIGINT", "SIGTERM", "SIGKILL")
_process_number = itertools.count(1)


class ExecuteProcess(Action):
    """Runs a command.

    Args:
        cmd: the executable and its arguments.
        name: what to call it; the executable's name when left out. A number is added.
        cwd: where it runs.
        env: its whole environment; that of the launch when left out.
        additional_env: variables on top of it.
        shell: whether a shell interprets the command.
        output: "screen", "log" (all to launch.log, stderr also to the screen) or "both".
        on_exit: what to do when it ends: actions, or a callable of the event and the context.
        respawn: whether to start it again when it ends before the launch does.
        respawn_delay: seconds to wait before that.
        sigterm_timeout: seconds from SIGINT to SIGTERM when the launch ends.
        sigkill_timeout: seconds from SIGTERM to SIGKILL.
    """

    def __init__(
        self,
        *,
        cmd: Iterable[SomeSubstitutionsType],
        name: SomeSubstitutionsType | None = None,
        cwd: SomeSubstitutionsType | None = None,
        env: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        additional_env: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        shell: bool = False,
        output: SomeSubstitutionsType = "log",
        on_exit: Reaction | None = None,
        respawn: bool | SomeSubstitutionsType = False,
        respawn_delay: float | None = None,
        sigterm_timeout: SomeSubstitutionsType = "5",
        sigkill_timeout: SomeSubstitutionsType = "5",
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self._cmd = list(cmd)
        self._name, self._cwd, self._env, self._additional_env = name, cwd, env, additional_env
        self._shell = shell
        if isinstance(output, Mapping):
            outside("output as a dictionary")
        self._output = os.environ.get("OVERRIDE_LAUNCH_PROCESS_OUTPUT", output)
        self._on_exit = on_exit
        self._respawn, self._respawn_delay = respawn, respawn_delay or 0.0
        self._timeouts = (sigterm_timeout, sigkill_timeout)
        self._executed = False
        self.process_details: dict[str, Any] | None = None
        self.return_code: int | None = None

    def execute(self, context: LaunchContext) -> None:
        """Start the process, beside what else runs.

        Raises:
            RuntimeError: the same action was executed before.
        """
        if self._executed:
            raise RuntimeError(f"the same process action was executed more than once: {self._cmd}")
        self._executed = True
        if context.is_shutdown:
            return
        command = self.command(context)
        name = os.path.basename(command[0]) if self._name is None else perform_text(context, self._name)
        self.process_details = {
            "action": self,
            "name": f"{name}-{next(_process_number)}",
            "cmd": command,
            "cwd": None if self._cwd is None else perform_text(context, self._cwd),
            "env": self._environment(context),
        }
        output = perform_text(context, self._output)
        if output not in _OUTPUTS:
            outside(f"output={output!r} of process {name}")
        respawn = self._respawn if isinstance(self._respawn, bool) else perform_text(context, self._respawn)
        respawn = respawn is True or str(respawn).lower() in ("true", "1")
        timeouts = tuple(float(perform_text(context, timeout)) for timeout in self._timeouts)
        if self._on_exit is not None:
            context.register_event_handler(OnProcessExit(target_action=self, on_exit=self._on_exit))
        context.start_task(self._run(context, _OUTPUTS[output], respawn, timeouts))

    def command(self, context: LaunchContext) -> list[str]:
        """The executable and its arguments, in a context."""
        return [perform_text(context, part) for part in self._cmd]

    def _environment(self, context: LaunchContext) -> dict[str, str]:
        environment = dict(context.environment) if self._env is None else {}
        for additions in (self._env or {}, self._additional_env or {}):
            environment |= {
                perform_text(context, key): perform_text(context, value) for key, value in additions.items()
            }
        return environment

    async def _run(
        self, context: LaunchContext, output: dict[str, tuple[bool, bool]], respawn: bool, timeouts: tuple[float, ...]
    ) -> None:
        stopping = asyncio.ensure_future(context.shutdown_requested.wait())
        try:
            while not context.is_shutdown:
                await self._run_once(context, output, timeouts, stopping)
                if not respawn:
                    return
                await asyncio.wait([stopping], timeout=self._respawn_delay)
        finally:
            stopping.cancel()

    async def _run_once(
        self,
        context: LaunchContext,
        output: dict[str, tuple[bool, bool]],
        timeouts: tuple[float, ...],
        stopping: asyncio.Future[Any],
    ) -> None:
        assert self.process_details is not None
        details = self.process_details
        logger = get_logger(details["name"])

        def show(source: str, line: str) -> None:
            screen, log = output[source]
            context.log_line(details["name"], line, screen=screen, log=log)

        process = ProcessGroup(details["cmd"], cwd=details["cwd"], env=details["env"], shell=self._shell, on_line=show)
        details["pid"] = process.pid
        logger.info(f"process started with pid [{process.pid}]")
        context.emit_event_sync(ProcessStarted(**details))
        exited = asyncio.ensure_future(process.exited())
        await asyncio.wait([exited, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not exited.done():
            await self._end(process, details["name"], _ESCALATION, (*timeouts, None))
        elif left := process.leftovers():
            logger.warning(f"process[{details['name']}] left {len(left)} process(es) behind, ending them")
            await self._end(process, details["name"], _ESCALATION[1:], (timeouts[1], None))
        self.return_code = await exited
        await process.close()
        if self.return_code == 0:
            logger.info(f"process has finished cleanly [pid {process.pid}]")
        else:
            command = " ".join(part for part in details["cmd"] if part.strip())
            logger.error(f"process has died [pid {process.pid}, exit code {self.return_code}, cmd '{command}'].")
        # Respawning waits for what the exit causes: it may be the end of the launch.
        await context.emit_event(ProcessExited(**details, returncode=self.return_code))

    @staticmethod
    async def _end(
        process: ProcessGroup, name: str, signals: Iterable[str], patience_s: Iterable[float | None]
    ) -> None:
        logger = get_logger(name)
        failed: tuple[float, str] | None = None
        for signal_name, seconds in zip(signals, patience_s, strict=True):
            if failed is not None:
                logger.error(
                    f"process[{name}] failed to terminate '{failed[0]:g}' seconds after receiving '{failed[1]}', "
                    f"escalating to '{signal_name}'"
                )
            logger.info(f"sending signal '{signal_name}' to process[{name}]")
            process.send_signal(signal.Signals[signal_name])
            if await process.ended_within(seconds):
                return
            failed = (seconds or 0.0, signal_name)
