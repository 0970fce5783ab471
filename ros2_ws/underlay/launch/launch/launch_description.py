"""LaunchDescription: what a launch file describes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from launch.action import Action, LaunchDescriptionEntity
from launch.actions.configuration import DeclareLaunchArgument
from launch.launch_context import LaunchContext


class LaunchDescription(LaunchDescriptionEntity):
    """A list of entities, visited in order."""

    def __init__(self, initial_entities: Iterable[LaunchDescriptionEntity] | None = None) -> None:
        self.entities = list(initial_entities or ())

    def visit(self, context: LaunchContext) -> Sequence[LaunchDescriptionEntity]:
        """The entities."""
        return self.entities

    def describe_sub_entities(self) -> Sequence[LaunchDescriptionEntity]:
        """The entities."""
        return self.entities

    def add_entity(self, entity: LaunchDescriptionEntity) -> None:
        """Append an entity."""
        self.entities.append(entity)

    def add_action(self, action: Action) -> None:
        """Append an action."""
        self.add_entity(action)

    def get_launch_arguments(self) -> list[DeclareLaunchArgument]:
        """The arguments declared here and in what is included, the first of each name."""
        arguments: dict[str, DeclareLaunchArgument] = {}
        for entity in _walk(self):
            if isinstance(entity, DeclareLaunchArgument):
                arguments.setdefault(entity.name, entity)
        return list(arguments.values())


def _walk(entity: LaunchDescriptionEntity) -> Iterator[LaunchDescriptionEntity]:
    yield entity
    for sub_entity in entity.describe_sub_entities():
        yield from _walk(sub_entity)
