"""Write the versions of this interpreter's environment into a lock file: `python scripts/write_lock.py FILE`.

The comment lines at the head of the file are kept. Only what pip installed counts: the ROS wheels carry further
packages inside, which no index knows.
"""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path

_OWN = {"clar", "clar-core", "clar-interfaces"}


def lock_lines() -> list[str]:
    """`name==version` of every package that pip installed, sorted; a build suffix as in 2.13.0+cpu is left out."""
    lines = set()
    for distribution in distributions():
        installed_by_pip = (distribution.read_text("INSTALLER") or "").strip() == "pip"
        if installed_by_pip and distribution.name.lower().replace("_", "-") not in _OWN:
            lines.add(f"{distribution.name}=={distribution.version.partition('+')[0]}")
    return sorted(lines, key=str.lower)


def main() -> None:
    """Replace the lock file named on the command line."""
    path = Path(sys.argv[1])
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    lines = lock_lines()
    temporary = path.with_suffix(".new")
    temporary.write_text("\n".join([*header, *lines]) + "\n", encoding="utf-8")
    temporary.replace(path)
    print(f"{path}: {len(lines)} packages")


if __name__ == "__main__":
    main()
