"""A launch file within another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from launch.action import Action, LaunchDescriptionEntity
from launch.actions.configuration import SetLaunchConfiguration
from launch.condition import Condition
from launch.launch_context import LaunchContext
from launch.launch_description_source import LaunchDescriptionSource
from launch.subset import outside
from launch.substitution import SomeSubstitutionsType


class IncludeLaunchDescription(Action):
    """Visits another launch description, with the given arguments set. They stay set afterwards, as upstream."""

    def __init__(
        self,
        launch_description_source: LaunchDescriptionSource,
        *,
        launch_arguments: Iterable[tuple[SomeSubstitutionsType, SomeSubstitutionsType]] | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        if not isinstance(launch_description_source, LaunchDescriptionSource):
            outside("IncludeLaunchDescription of a path (give a PythonLaunchDescriptionSource)")
        self._source = launch_description_source
        self._arguments = tuple(launch_arguments or ())

    def execute(self, context: LaunchContext) -> Sequence[LaunchDescriptionEntity]:
        """Set the arguments, then the description's entities. Arguments missing there are its own error."""
        description = self._source.get_launch_description(context)
        return [*(SetLaunchConfiguration(name, value) for name, value in self._arguments), description]

    def describe_sub_entities(self) -> Sequence[LaunchDescriptionEntity]:
        """The description, where its path is known before the launch."""
        description = self._source.try_get_launch_description_without_context()
        return [] if description is None else [description]
