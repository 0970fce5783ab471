"""``ros2 pkg``: where packages are, and what they can run."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_prefix, get_package_share_directory, get_packages_with_prefixes


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("pkg", help="where packages are, and what they can run", allow_abbrev=False)
    verbs = parser.add_subparsers(metavar="verb", required=True)
    verbs.add_parser("list", help="names of all packages").set_defaults(main=list_packages)
    prefix = verbs.add_parser("prefix", help="the folder a package is installed in")
    prefix.add_argument("--share", action="store_true", help="its share folder instead")
    prefix.add_argument("package_name")
    prefix.set_defaults(main=show_prefix)
    executables = verbs.add_parser("executables", help="the executables of a package")
    executables.add_argument("package_name")
    executables.set_defaults(main=list_executables)


def list_packages(arguments: argparse.Namespace) -> int:
    """Print the names of all packages."""
    print("\n".join(sorted(get_packages_with_prefixes())))
    return 0


def show_prefix(arguments: argparse.Namespace) -> int:
    """Print the folder of a package."""
    find = get_package_share_directory if arguments.share else get_package_prefix
    print(find(arguments.package_name))
    return 0


def list_executables(arguments: argparse.Namespace) -> int:
    """Print the executables of a package."""
    folder = Path(get_package_prefix(arguments.package_name)) / "lib" / arguments.package_name
    for path in sorted(folder.glob("*")):
        if path.is_file() and os.access(path, os.X_OK):
            print(arguments.package_name, path.name)
    return 0
