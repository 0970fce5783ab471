"""Events: making them happen, and reacting to them."""

from __future__ import annotations

from launch.action import Action
from launch.condition import Condition
from launch.event_handlers import BaseEventHandler
from launch.events import Event
from launch.events import Shutdown as ShutdownEvent
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.logging import get_logger


class EmitEvent(Action):
    """Makes an event happen."""

    def __init__(self, *, event: Event, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        self.event = event

    def execute(self, context: LaunchContext) -> None:
        """Queue the event."""
        context.emit_event_sync(self.event)


class Shutdown(EmitEvent):
    """Ends the launch. As the ``on_exit`` of a process it makes the process a required one."""

    def __init__(self, *, reason: str = "reason not given", condition: Condition | None = None) -> None:
        super().__init__(event=ShutdownEvent(reason=reason), condition=condition)

    def execute(self, context: LaunchContext) -> None:
        """Queue the shutdown, and say which process asked for it."""
        cause = getattr(context.locals, "event", None)
        if isinstance(cause, ProcessExited) and not context.is_shutdown:
            get_logger().info(f"process[{cause.process_name}] was required: shutting down launched system")
        super().execute(context)


class RegisterEventHandler(Action):
    """Reacts to events from now on."""

    def __init__(self, event_handler: BaseEventHandler, *, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        self.event_handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        """Register the handler."""
        context.register_event_handler(self.event_handler)
