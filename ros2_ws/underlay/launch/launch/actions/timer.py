"""Actions at a later time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from launch.action import Action, LaunchDescriptionEntity
from launch.condition import Condition
from launch.events import Event
from launch.launch_context import LaunchContext
from launch.substitution import SomeSubstitutionsType, perform_text


class TimerElapsed(Event):
    """The time of a timer is over."""

    name = "launch.events.TimerEvent"

    def __init__(self, actions: list[LaunchDescriptionEntity]) -> None:
        self.actions = actions


class TimerAction(Action):
    """Visits actions after a period in seconds, unless the launch ends before."""

    def __init__(
        self,
        *,
        period: float | SomeSubstitutionsType,
        actions: Iterable[LaunchDescriptionEntity],
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self._period, self._actions = period, list(actions)

    def execute(self, context: LaunchContext) -> None:
        """Start the timer."""
        period = self._period if isinstance(self._period, int | float) else perform_text(context, self._period)
        context.start_task(self._wait(context, float(period)))

    def describe_sub_entities(self) -> list[LaunchDescriptionEntity]:
        """The actions."""
        return self._actions

    async def _wait(self, context: LaunchContext, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await context.shutdown_requested.wait()
        except TimeoutError:
            context.emit_event_sync(TimerElapsed(self._actions))
