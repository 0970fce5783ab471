"""Refuse what must not be committed: files above 15 MB, merge markers, private keys. `check_files.py FILE...`"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_LARGEST_BYTES = 15_000_000  # the shipped checkpoint is the largest thing in the repository
_MERGE_MARKER = re.compile(rb"^(<<<<<<< |>>>>>>> )", re.MULTILINE)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def problems(path: Path) -> list[str]:
    """What is wrong with a file, one line each."""
    if path.is_symlink() or not path.is_file():
        return []
    size = path.stat().st_size
    if size > _LARGEST_BYTES:
        return [
            f"{path}: expected at most {_LARGEST_BYTES / 1e6:.0f} MB, found {size / 1e6:.1f} MB; keep it out of git"
        ]
    content = path.read_bytes()
    found = []
    if _MERGE_MARKER.search(content):
        found.append(f"{path}: a merge marker was left in it; resolve the conflict")
    if _PRIVATE_KEY.search(content):
        found.append(f"{path}: holds a private key; remove it from the commit")
    return found


def main() -> int:
    """Check the files named on the command line; returns the exit status."""
    found = [problem for name in sys.argv[1:] for problem in problems(Path(name))]
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
