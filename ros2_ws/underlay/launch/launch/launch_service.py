"""LaunchService: runs launch descriptions until everything they started has ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import traceback
from collections.abc import Iterable, Iterator

from launch.action import LaunchDescriptionEntity
from launch.actions.timer import TimerElapsed
from launch.events import Event, Shutdown
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.logging import LaunchLog, get_logger


class LaunchService:
    """Visits entities, hands events to their handlers, and ends everything on Ctrl-C, SIGTERM or SIGHUP.

    Args:
        argv: kept for the entities.
        noninteractive: taken for compatibility; signals reach processes in the same way with and without a terminal.
        debug: also log debug messages.
    """

    def __init__(self, *, argv: Iterable[str] | None = None, noninteractive: bool = False, debug: bool = False) -> None:
        self.context = LaunchContext(argv=argv, noninteractive=noninteractive)
        self._logger = get_logger()
        if debug and self._logger.parent is not None:
            self._logger.parent.setLevel("DEBUG")
        self._descriptions: list[LaunchDescription] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failed = False

    def include_launch_description(self, launch_description: LaunchDescription) -> None:
        """Add a description, to be visited when the service runs."""
        self._descriptions.append(launch_description)

    def shutdown(self) -> None:
        """End the launch; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._request_shutdown, "LaunchService.shutdown() called")

    def run(self, *, shutdown_when_idle: bool = True) -> int:
        """Run until everything has ended; the exit status: 0, or 1 after an error or the death of a required process.

        Raises:
            RuntimeError: not called from the main thread, where signals arrive.
        """
        return asyncio.run(self.run_async(shutdown_when_idle=shutdown_when_idle))

    async def run_async(self, *, shutdown_when_idle: bool = True) -> int:
        """As ``run``, in a running loop."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a LaunchService runs in the main thread only: that is where signals arrive")
        self._loop = asyncio.get_running_loop()
        self.context.log = LaunchLog()
        try:
            with self._handle_signals(self._loop):
                self._logger.info(f"All log files can be found below {self.context.log.folder}")
                for description in self._descriptions:
                    self._visit_reporting(description)
                await self._run_until_idle(shutdown_when_idle)
        finally:
            self._loop = None
            self.context.log.close()
        return int(self._failed)

    async def _run_until_idle(self, shutdown_when_idle: bool) -> None:
        context = self.context
        while True:
            context.wake_up.clear()
            while context.events:
                event, handled = context.events.pop(0)
                self._handle(event)
                if handled is not None:
                    handled.set_result(None)
            for task in [task for task in context.tasks if task.done()]:
                context.tasks.discard(task)
                if not task.cancelled() and (error := task.exception()) is not None:
                    self._report(error)
            if context.events:
                continue
            if not context.tasks:
                if context.is_shutdown:
                    return
                if shutdown_when_idle:
                    self._request_shutdown("idle")
                    continue
            await context.wake_up.wait()

    def _handle(self, event: Event) -> None:
        context = self.context
        if isinstance(event, Shutdown):
            if context.is_shutdown:
                return
            context.is_shutdown = True
        context.locals.event = event
        try:
            for handler in list(context.event_handlers):
                if handler.matches(event):
                    for entity in handler.handle(event, context):
                        self._visit(entity)
            if isinstance(event, TimerElapsed):
                for entity in event.actions:
                    self._visit(entity)
        except Exception as error:
            self._report(error)
        finally:
            del context.locals.event
        if isinstance(event, Shutdown):
            context.shutdown_requested.set()
        elif isinstance(event, ProcessExited) and event.returncode != 0 and self._shutdown_is_queued():
            # The death of this process is what ends the launch, so the launch failed.
            self._failed = True

    def _shutdown_is_queued(self) -> bool:
        return not self.context.is_shutdown and any(isinstance(event, Shutdown) for event, _ in self.context.events)

    def _visit_reporting(self, entity: LaunchDescriptionEntity) -> None:
        try:
            self._visit(entity)
        except Exception as error:
            self._report(error)

    def _visit(self, entity: LaunchDescriptionEntity) -> None:
        for sub_entity in entity.visit(self.context) or ():
            self._visit(sub_entity)

    def _report(self, error: BaseException) -> None:
        self._failed = True
        self._logger.debug("".join(traceback.format_exception(error)))
        self._logger.error(f"Caught exception in launch (see debug for traceback): {error}")
        self._request_shutdown(str(error))

    def _request_shutdown(self, reason: str, due_to_sigint: bool = False) -> None:
        if not self.context.is_shutdown:
            self.context.emit_event_sync(Shutdown(reason=reason, due_to_sigint=due_to_sigint))

    @contextlib.contextmanager
    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        interrupted = False

        def on_sigint() -> None:
            nonlocal interrupted
            again = " again, ignoring..." if interrupted else ""
            self._logger.warning(f"user interrupted with ctrl-c (SIGINT){again}")
            if not interrupted:
                interrupted = True
                self._request_shutdown("ctrl-c (SIGINT)", due_to_sigint=True)

        def on_termination(name: str) -> None:
            self._logger.error(f"received {name}, shutting down")
            self._failed = True
            self._request_shutdown(name)

        terminations = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
        previous = {number: signal.getsignal(number) for number in (signal.SIGINT, *terminations)}
        loop.add_signal_handler(signal.SIGINT, on_sigint)
        for number in terminations:
            loop.add_signal_handler(number, on_termination, number.name)
        try:
            yield
        finally:
            for number, handler in previous.items():
                loop.remove_signal_handler(number)
                if handler is not None:
                    signal.signal(number, handler)
