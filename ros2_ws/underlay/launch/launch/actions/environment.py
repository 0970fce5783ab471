"""Environment variables of the processes that a launch starts."""

from __future__ import annotations

from launch.action import Action
from launch.condition import Condition
from launch.launch_context import LaunchContext
from launch.substitution import SomeSubstitutionsType, perform_text


class SetEnvironmentVariable(Action):
    """Sets an environment variable for the processes that are started after it."""

    def __init__(
        self, name: SomeSubstitutionsType, value: SomeSubstitutionsType, *, condition: Condition | None = None
    ) -> None:
        super().__init__(condition=condition)
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        context.environment[perform_text(context, self._name)] = perform_text(context, self._value)
