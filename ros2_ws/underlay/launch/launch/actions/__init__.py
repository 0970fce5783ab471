"""The actions that launch files use."""

from launch.actions.configuration import DeclareLaunchArgument, SetLaunchConfiguration
from launch.actions.environment import SetEnvironmentVariable
from launch.actions.events import EmitEvent, RegisterEventHandler, Shutdown
from launch.actions.execute_process import ExecuteProcess
from launch.actions.group import GroupAction
from launch.actions.include import IncludeLaunchDescription
from launch.actions.log_info import LogInfo
from launch.actions.opaque_function import OpaqueFunction
from launch.actions.timer import TimerAction
from launch.subset import refuse_others

__all__ = [
    "DeclareLaunchArgument",
    "EmitEvent",
    "ExecuteProcess",
    "GroupAction",
    "IncludeLaunchDescription",
    "LogInfo",
    "OpaqueFunction",
    "RegisterEventHandler",
    "SetEnvironmentVariable",
    "SetLaunchConfiguration",
    "Shutdown",
    "TimerAction",
]
__getattr__ = refuse_others(__name__)
