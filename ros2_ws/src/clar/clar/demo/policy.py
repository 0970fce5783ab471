"""Whose trials are shown: the policy that was asked for, the one shipped for the task, or the one trained here."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory

TRAINED = Path("outputs/training")


def find_checkpoint(task: str, given: Path | None = None) -> Path:
    """The checkpoint directory to run for a task.

    Raises:
        ValueError: there is none; the text says how to train one.
    """
    if given is not None:
        return given.resolve()
    shipped = Path(get_package_share_directory("clar")) / "checkpoints"
    for place in (shipped / task, TRAINED / task / "best"):
        if (place / "config.json").is_file():
            return place.resolve()
    names = ", ".join(sorted(path.name for path in shipped.glob("*/")))
    raise ValueError(
        f"no checkpoint is shipped for task {task!r} (shipped: {names}). Train one, then run the same command again:\n"
        f"  clar data collect --task {task} --episodes 100\n"
        f"  clar train --stores outputs/data/{task} --output {TRAINED / task} --encoder clar_cpu --samples 100000\n"
        f"It is looked for in {TRAINED / task / 'best'}; another place is given by --checkpoint."
    )
