"""``clar cell init``: write the commented cell.yaml of a site."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from clar_core.cli.main import fail


@dataclass(frozen=True)
class Init:
    """Write a commented template of cell.yaml: robot address, camera, home, motion box, keep-outs, gripper."""

    path: Annotated[Path, tyro.conf.Positional] = Path("cell.yaml")
    """Where to write it."""
    force: bool = False
    """Replace a file that is there."""


def main(arguments: list[str]) -> int:
    """Write the template; 1 when the file exists or cannot be written."""
    options = tyro.cli(Init, prog="clar cell init", args=arguments)
    from clar_core.cell_config import write_template

    if options.path.exists() and not options.force:
        return fail(f"{options.path} exists and is left as it is; choose another name, or replace it with --force")
    try:
        options.path.parent.mkdir(parents=True, exist_ok=True)
        write_template(options.path)
    except OSError as error:
        return fail(f"cannot write {options.path}: {error.strerror or error}")
    print(f"written: {options.path}")
    print(f"Fill in what it marks as required, then: ros2 launch clar policy.launch.py cell:={options.path}")
    return 0
