"""Saying something."""

from __future__ import annotations

from launch.action import Action
from launch.condition import Condition
from launch.launch_context import LaunchContext
from launch.logging import get_logger
from launch.substitution import SomeSubstitutionsType, perform_text


class LogInfo(Action):
    """Logs a message."""

    def __init__(self, *, msg: SomeSubstitutionsType, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        self._message = msg

    def execute(self, context: LaunchContext) -> None:
        """Log it."""
        get_logger("launch.user").info(perform_text(context, self._message))
