"""A process for launch tests. It notes in a file what happens to it, one word a line, until it is told to end.

usage: child.py NOTES [--exit STATUS] [--ignore SIGNAL ...] [--grandchild NOTES]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from types import FrameType


def main() -> None:
    """Run until a signal that is not ignored."""
    parser = argparse.ArgumentParser()
    parser.add_argument("notes")
    parser.add_argument("--exit", type=int)
    parser.add_argument("--ignore", nargs="*", default=[])
    parser.add_argument("--grandchild")
    arguments, _ = parser.parse_known_args()

    def note(text: str) -> None:
        with open(arguments.notes, "a", encoding="utf-8") as notes:
            notes.write(text + "\n")

    def on_signal(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        note(name)
        if name not in arguments.ignore:
            sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    if arguments.grandchild is not None:
        subprocess.Popen([sys.executable, __file__, arguments.grandchild, "--ignore", "SIGINT"])
    note(f"started {os.getpid()}")
    if arguments.exit is not None:
        sys.exit(arguments.exit)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
