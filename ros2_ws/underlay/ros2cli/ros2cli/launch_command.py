"""``ros2 launch``: run a launch file, or show its arguments."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_source import load_python_launch_file
from launch.launch_description_sources import PythonLaunchDescriptionSource


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("launch", help="run a launch file", allow_abbrev=False)
    parser.add_argument("-n", "--noninteractive", action="store_true", help="no terminal is attached")
    parser.add_argument("-d", "--debug", action="store_true", help="log debug messages, with tracebacks")
    parser.add_argument(
        "-s", "--show-args", "--show-arguments", action="store_true", help="show the arguments of the launch file"
    )
    parser.add_argument(
        "-a", "--show-all-subprocesses-output", action="store_true", help="show all output of all processes"
    )
    parser.add_argument("package_name", help="name of a package, or path of a launch file")
    parser.add_argument("launch_file_name", nargs="?", help="name of a launch file in the package")
    parser.add_argument("launch_arguments", nargs="*", help="arguments of the launch file, as <name>:=<value>")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    """Launch, or show the arguments."""
    given = list(arguments.launch_arguments)
    if os.path.isfile(arguments.package_name):
        path = Path(arguments.package_name)
        if arguments.launch_file_name is not None:
            given.insert(0, arguments.launch_file_name)
    elif arguments.launch_file_name is None:
        raise FileNotFoundError(
            f"'{arguments.package_name}' is not a file; give the path of a launch file, or a package and a file name"
        )
    else:
        path = find_launch_file(arguments.package_name, arguments.launch_file_name)
    if arguments.show_args:
        show_arguments(load_python_launch_file(str(path)))
        return 0
    if arguments.show_all_subprocesses_output:
        os.environ["OVERRIDE_LAUNCH_PROCESS_OUTPUT"] = "both"
    service = LaunchService(
        argv=given, noninteractive=arguments.noninteractive or not sys.stdin.isatty(), debug=arguments.debug
    )
    source = PythonLaunchDescriptionSource(str(path))
    service.include_launch_description(
        LaunchDescription([IncludeLaunchDescription(source, launch_arguments=parse_arguments(given).items())])
    )
    return service.run()


def find_launch_file(package: str, name: str) -> Path:
    """The one file of that name in a package's share folder. Raises FileNotFoundError or RuntimeError for several."""
    share = Path(get_package_share_directory(package))
    found = sorted(path for path in share.rglob(name) if path.is_file())
    if not found:
        known = ", ".join(sorted(path.name for path in share.rglob("*.launch.py"))) or "none"
        raise FileNotFoundError(f"no launch file '{name}' in package '{package}' ({share}); there are: {known}")
    if len(found) > 1:
        raise RuntimeError(f"launch file '{name}' exists more than once in package '{package}': {found}")
    return found[0]


def parse_arguments(arguments: list[str]) -> dict[str, str]:
    """Names and values of ``<name>:=<value>``; the last one wins. Raises RuntimeError for anything else."""
    values = {}
    for argument in arguments:
        name, separator, value = argument.partition(":=")
        if not name or not separator or not value:
            raise RuntimeError(f"malformed launch argument '{argument}', expected format '<name>:=<value>'")
        values[name] = value
    return values


def show_arguments(description: LaunchDescription) -> None:
    """Print the arguments that a launch description declares."""
    print("Arguments (pass arguments as '<name>:=<value>'):")
    arguments = description.get_launch_arguments()
    for argument in arguments:
        print(f"\n    '{argument.name}':\n        {argument.description}")
        if argument.default_value is not None:
            print(f"        (default: {' + '.join(part.describe() for part in argument.default_value)})")
    if not arguments:
        print("\n  No arguments.")
