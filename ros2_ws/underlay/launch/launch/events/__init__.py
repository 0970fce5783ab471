"""What happens during a launch."""

from __future__ import annotations

from launch.subset import refuse_others

__all__ = ["Event", "Shutdown"]
__getattr__ = refuse_others(__name__)


class Event:
    """Base of all events."""

    name = "launch.Event"


class Shutdown(Event):
    """The launch is to end, with everything it started."""

    name = "launch.events.Shutdown"

    def __init__(self, *, reason: str = "reason not given", due_to_sigint: bool = False) -> None:
        self.reason = reason
        self.due_to_sigint = due_to_sigint
