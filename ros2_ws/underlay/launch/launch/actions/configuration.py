"""Launch arguments and configurations."""

from __future__ import annotations

from collections.abc import Sequence

from launch.action import Action
from launch.condition import Condition
from launch.launch_context import LaunchContext
from launch.substitution import (
    SomeSubstitutionsType,
    normalize_to_list_of_substitutions,
    perform_substitutions,
    perform_text,
)


class SetLaunchConfiguration(Action):
    """Sets a launch configuration for what comes after."""

    def __init__(
        self, name: SomeSubstitutionsType, value: SomeSubstitutionsType, *, condition: Condition | None = None
    ) -> None:
        super().__init__(condition=condition)
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        context.launch_configurations[perform_text(context, self._name)] = perform_text(context, self._value)


class DeclareLaunchArgument(Action):
    """An argument of a launch file: set from outside, or to its default, or an error."""

    def __init__(
        self,
        name: str,
        *,
        default_value: SomeSubstitutionsType | None = None,
        description: str | None = None,
        choices: Sequence[str] | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        if choices is not None and not choices:
            raise RuntimeError(f"launch argument '{name}': expected at least one choice, or choices=None for any value")
        if choices is not None and isinstance(default_value, str) and default_value not in choices:
            raise RuntimeError(f"launch argument '{name}': default '{default_value}' is not among {list(choices)}")
        self.name = name
        self.default_value = None if default_value is None else normalize_to_list_of_substitutions(default_value)
        self.choices = None if choices is None else list(choices)
        self.description = self._describe(description)

    def _describe(self, description: str | None) -> str:
        if description is None:
            return "no description given" if self.choices is None else f"One of: {self.choices}"
        if self.choices is None:
            return description
        return f"{description.removesuffix('.')}. Valid choices are: {self.choices}"

    def execute(self, context: LaunchContext) -> None:
        """Set the default where nothing is set. Raises RuntimeError without one, or for a value not among choices."""
        configurations = context.launch_configurations
        if self.name not in configurations:
            if self.default_value is None:
                raise RuntimeError(
                    f'Required launch argument "{self.name}" was not provided ({self.description}): '
                    f"add {self.name}:=<value>"
                )
            configurations[self.name] = perform_substitutions(context, self.default_value)
        if self.choices is not None and configurations[self.name] not in self.choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{configurations[self.name]}" is not valid. '
                f"Valid options are: {self.choices}"
            )
