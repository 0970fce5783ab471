"""Entities of a launch description, and actions: those that do something."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.condition import Condition
    from launch.launch_context import LaunchContext


class LaunchDescriptionEntity:
    """Anything that a launch description may list."""

    def visit(self, context: LaunchContext) -> Sequence[LaunchDescriptionEntity] | None:
        """Do what the entity is for, and return the entities to visit next."""
        raise NotImplementedError

    def describe_sub_entities(self) -> Sequence[LaunchDescriptionEntity]:
        """The entities inside this one, as far as they are known before the launch runs."""
        return ()


SomeEntitiesType = LaunchDescriptionEntity | Iterable[LaunchDescriptionEntity]


class Action(LaunchDescriptionEntity):
    """Does something when visited, if its condition holds."""

    def __init__(self, *, condition: Condition | None = None) -> None:
        self.condition = condition

    def visit(self, context: LaunchContext) -> Sequence[LaunchDescriptionEntity] | None:
        """Execute the action, unless its condition does not hold."""
        if self.condition is not None and not self.condition.evaluate(context):
            return None
        return self.execute(context)

    def execute(self, context: LaunchContext) -> Any:
        """Do it, and return the entities to visit next."""
        raise NotImplementedError


def as_entities(entities: SomeEntitiesType | None) -> list[LaunchDescriptionEntity]:
    """One entity, several or none, as a list. Raises TypeError for anything else."""
    if entities is None:
        return []
    found = [entities] if isinstance(entities, LaunchDescriptionEntity) else list(entities)
    for entity in found:
        if not isinstance(entity, LaunchDescriptionEntity):
            raise TypeError(f"expected launch actions, got {entity!r} of type {type(entity).__name__}")
    return found
