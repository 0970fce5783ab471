"""Entry point of ``ros2``."""

from __future__ import annotations

import argparse
import sys

from ament_index_python.packages import PackageNotFoundError

from ros2cli import launch_command, pkg_command, run_command


def main(argv: list[str] | None = None) -> int:
    """Run a ``ros2`` command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="ros2", description="CLAR's stand-in for the ros2 command: launch, run and pkg.", allow_abbrev=False
    )
    commands = parser.add_subparsers(metavar="command", required=True)
    launch_command.add_to(commands)
    run_command.add_to(commands)
    pkg_command.add_to(commands)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.main(arguments))
    except PackageNotFoundError as error:
        print(f"Package not found: {error}", file=sys.stderr)
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
