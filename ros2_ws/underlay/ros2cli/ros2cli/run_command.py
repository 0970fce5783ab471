"""``ros2 run``: become an executable of a package."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from launch import LaunchContext
from launch_ros.substitutions import ExecutableInPackage


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("run", help="run an executable of a package", allow_abbrev=False)
    parser.add_argument("package_name", help="name of the package")
    parser.add_argument("executable_name", help="name of the executable")
    parser.add_argument("argv", nargs=argparse.REMAINDER, help="arguments of the executable")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    """Replace this process by the executable, so that signals reach it and nothing stands between."""
    path = ExecutableInPackage(executable=arguments.executable_name, package=arguments.package_name).perform(
        LaunchContext()
    )
    sys.stdout.flush()
    os.execv(path, [path, *arguments.argv])
