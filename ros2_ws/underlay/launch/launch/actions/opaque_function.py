"""Any Python, at the time the launch runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from launch.action import Action, LaunchDescriptionEntity, as_entities
from launch.condition import Condition
from launch.launch_context import LaunchContext


class OpaqueFunction(Action):
    """Calls ``function(context, *args, **kwargs)`` and visits the entities it returns, if any."""

    def __init__(
        self,
        *,
        function: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        if not callable(function):
            raise TypeError(f"OpaqueFunction: expected a callable, got {function!r}")
        self._function, self._args, self._kwargs = function, tuple(args or ()), dict(kwargs or {})

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        """Call it."""
        return as_entities(self._function(context, *self._args, **self._kwargs))
