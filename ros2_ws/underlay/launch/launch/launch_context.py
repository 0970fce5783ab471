"""LaunchContext: the state that actions and substitutions share while a launch runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterable, MutableMapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.event_handlers import BaseEventHandler
    from launch.events import Event
    from launch.logging import LaunchLog
    from launch.substitution import Substitution


class LaunchContext:
    """Launch configurations, the environment of children, event handlers, queued events and running tasks."""

    def __init__(self, *, argv: Iterable[str] | None = None, noninteractive: bool = False) -> None:
        self.argv = list(argv or ())
        self.noninteractive = noninteractive
        self.launch_configurations: dict[str, Any] = {}
        self.locals = SimpleNamespace()
        self.is_shutdown = False
        self.shutdown_requested = asyncio.Event()
        self.event_handlers: list[BaseEventHandler] = []
        self.events: list[tuple[Event, asyncio.Future[None] | None]] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.wake_up = asyncio.Event()
        self.log: LaunchLog | None = None

    @property
    def environment(self) -> MutableMapping[str, str]:
        """The environment that processes are started with: that of this process, as upstream has it."""
        return os.environ

    def perform_substitution(self, substitution: Substitution) -> str:
        """The text of a substitution."""
        return substitution.perform(self)

    def register_event_handler(self, event_handler: BaseEventHandler) -> None:
        """From now on hand events to this handler, before those registered earlier."""
        self.event_handlers.insert(0, event_handler)

    def unregister_event_handler(self, event_handler: BaseEventHandler) -> None:
        """Stop handing events to this handler."""
        self.event_handlers.remove(event_handler)

    def emit_event_sync(self, event: Event) -> None:
        """Queue an event; from the thread of the launch."""
        self.events.append((event, None))
        self.wake_up.set()

    async def emit_event(self, event: Event) -> None:
        """Queue an event and wait until its handlers have run."""
        handled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.events.append((event, handled))
        self.wake_up.set()
        await handled

    def log_line(self, process_name: str, line: str, *, screen: bool, log: bool) -> None:
        """Show or keep a line that a process wrote."""
        if self.log is not None:
            self.log.write_line(process_name, line, screen=screen, log=log)

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the others; the launch lasts at least as long as it."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(lambda _: self.wake_up.set())
