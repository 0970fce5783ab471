"""Actions that share a scope and a condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launch.action import Action, LaunchDescriptionEntity
from launch.actions.configuration import SetLaunchConfiguration
from launch.condition import Condition
from launch.launch_context import LaunchContext
from launch.subset import outside
from launch.substitution import SomeSubstitutionsType


class GroupAction(Action):
    """Several actions; what they set is forgotten after them, unless ``scoped`` is False."""

    def __init__(
        self,
        actions: Iterable[LaunchDescriptionEntity],
        *,
        scoped: bool = True,
        forwarding: bool = True,
        launch_configurations: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        if not forwarding:
            outside("GroupAction(forwarding=False)")
        configurations = [SetLaunchConfiguration(*item) for item in (launch_configurations or {}).items()]
        self._scoped = scoped
        self._actions: list[LaunchDescriptionEntity] = [*configurations, *actions]

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        """The actions, between saving and restoring configurations and environment where scoped."""
        return [*self._actions, _Restore(context)] if self._scoped else self._actions

    def describe_sub_entities(self) -> list[LaunchDescriptionEntity]:
        """The actions."""
        return self._actions


class _Restore(Action):
    """Puts launch configurations and environment back to what they were when this was made."""

    def __init__(self, context: LaunchContext) -> None:
        super().__init__()
        self._configurations = dict(context.launch_configurations)
        self._environment = dict(context.environment)

    def execute(self, context: LaunchContext) -> None:
        context.launch_configurations.clear()
        context.launch_configurations.update(self._configurations)
        for name in set(context.environment) - set(self._environment):
            del context.environment[name]
        context.environment.update(self._environment)
