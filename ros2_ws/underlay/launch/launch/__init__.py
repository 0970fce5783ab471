"""The subset of ROS 2 launch that CLAR's launch files use. Stand-in, see ros2_ws/underlay/README.md."""

from launch import (
    actions,
    conditions,
    event_handlers,
    events,
    launch_description_sources,
    logging,
    substitutions,
    utilities,
)
from launch.action import Action, LaunchDescriptionEntity, SomeEntitiesType
from launch.condition import Condition
from launch.events import Event
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.launch_description_source import LaunchDescriptionSource
from launch.launch_service import LaunchService
from launch.subset import refuse_others
from launch.substitution import SomeSubstitutionsType, Substitution

__clar_stand_in__ = True
__all__ = [
    "Action",
    "Condition",
    "Event",
    "LaunchContext",
    "LaunchDescription",
    "LaunchDescriptionEntity",
    "LaunchDescriptionSource",
    "LaunchService",
    "SomeEntitiesType",
    "SomeSubstitutionsType",
    "Substitution",
    "actions",
    "conditions",
    "event_handlers",
    "events",
    "launch_description_sources",
    "logging",
    "substitutions",
    "utilities",
]
__getattr__ = refuse_others(__name__)
