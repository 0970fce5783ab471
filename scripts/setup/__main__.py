"""Command line of the set-up: `python3 -m scripts.setup [--lock default|jazzy] [--skip-system-packages]`."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from scripts.setup.environment import environment_steps
from scripts.setup.layout import LOCKS, Layout
from scripts.setup.runner import SetupError, alone, run_steps
from scripts.setup.system import system_step
from scripts.setup.workspace import workspace_step

_PYTHONS = ((3, 11), (3, 14))  # first and first-not: versions that the ROS 2 wheels and torch are built for
_DISK_BYTES = 6e9


def main() -> int:
    """Set the machine up; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make setup", description="Install and build everything that CLAR needs.")
    parser.add_argument("--lock", choices=LOCKS, default="default", help="versions to take (docs/setup.md)")
    parser.add_argument("--skip-system-packages", action="store_true", help="do not look for Debian packages")
    arguments = parser.parse_args()
    layout = Layout.detect(Path(__file__).parents[2], arguments.lock)
    start = time.monotonic()
    try:
        _check_machine(layout)
        with alone(layout.state):
            steps = [] if arguments.skip_system_packages else [system_step(layout)]
            steps += [*environment_steps(layout), workspace_step(layout)]
            ran = run_steps(steps, layout.state)
    except SetupError as error:
        print(f"\n{layout.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{layout.command}: interrupted; run it again to continue", file=sys.stderr)
        return 130
    if ran:
        print(f"set up in {time.monotonic() - start:.0f} s. A shell with everything: source setup.bash")
    return 0


def _check_machine(layout: Layout) -> None:
    first, beyond = _PYTHONS
    if not first <= sys.version_info[:2] < beyond:
        raise SetupError(
            f"expected Python 3.{first[1]} to 3.{beyond[1] - 1}, found {sys.version.split()[0]} in {sys.executable}. "
            f"Name another one: {layout.command} PYTHON=/usr/bin/python3.12"
        )
    free = shutil.disk_usage(layout.root).free
    if not layout.python.exists() and free < _DISK_BYTES:
        raise SetupError(
            f"expected {_DISK_BYTES / 1e9:.0f} GB of free disk in {layout.root}, found {free / 1e9:.1f} GB"
        )


if __name__ == "__main__":
    sys.exit(main())
