"""What to do when something happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from launch.action import LaunchDescriptionEntity, SomeEntitiesType, as_entities
from launch.events import Event, Shutdown
from launch.events.process import ProcessExited, ProcessStarted
from launch.subset import refuse_others

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext

__all__ = ["BaseEventHandler", "OnProcessExit", "OnProcessStart", "OnShutdown"]
__getattr__ = refuse_others(__name__)

Reaction = SomeEntitiesType | Callable[[Any, "LaunchContext"], SomeEntitiesType | None]


class BaseEventHandler:
    """Reacts to the events that its matcher accepts, once or every time."""

    def __init__(self, *, matcher: Callable[[Event], bool], reaction: Reaction, handle_once: bool = False) -> None:
        self._matcher = matcher
        self._reaction: Any = reaction if callable(reaction) else as_entities(reaction)
        self._handle_once = handle_once

    def matches(self, event: Event) -> bool:
        """Whether the handler reacts to this event."""
        return self._matcher(event)

    def handle(self, event: Event, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        """React, and return the entities to visit next."""
        if self._handle_once:
            context.unregister_event_handler(self)
        if isinstance(self._reaction, list):
            return self._reaction
        return as_entities(self._reaction(event, context))


class _OnProcessEvent(BaseEventHandler):
    def __init__(self, event_type: type[Event], target_action: Any, reaction: Reaction, handle_once: bool) -> None:
        def matches(event: Event) -> bool:
            if not isinstance(event, event_type):
                return False
            if target_action is None:
                return True
            action = event.action  # type: ignore[attr-defined]
            return bool(target_action(action)) if callable(target_action) else action is target_action

        super().__init__(matcher=matches, reaction=reaction, handle_once=handle_once)


class OnProcessStart(_OnProcessEvent):
    """When a process starts: that of an action, of those that a callable accepts, or any."""

    def __init__(self, *, target_action: Any = None, on_start: Reaction, handle_once: bool = False) -> None:
        super().__init__(ProcessStarted, target_action, on_start, handle_once)


class OnProcessExit(_OnProcessEvent):
    """When a process ends: that of an action, of those that a callable accepts, or any."""

    def __init__(self, *, target_action: Any = None, on_exit: Reaction, handle_once: bool = False) -> None:
        super().__init__(ProcessExited, target_action, on_exit, handle_once)


class OnShutdown(BaseEventHandler):
    """When the launch is to end, before the processes are told."""

    def __init__(self, *, on_shutdown: Reaction, handle_once: bool = False) -> None:
        super().__init__(
            matcher=lambda event: isinstance(event, Shutdown), reaction=on_shutdown, handle_once=handle_once
        )
