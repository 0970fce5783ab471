"""Runs a launch file as ``ros2 launch`` does, also where only the launch library is installed."""

import sys

from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
source = PythonLaunchDescriptionSource(path)
values = [tuple(argument.split(":=", 1)) for argument in arguments]
service = LaunchService(argv=arguments, noninteractive=True)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=values)]))
sys.exit(service.run())
