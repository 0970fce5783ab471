"""The cell's tasks, one file each, by registered name."""

from __future__ import annotations

import difflib

from clar_core.simulation.tasks.base import CellView, Task
from clar_core.simulation.tasks.open_drawer import OpenDrawer
from clar_core.simulation.tasks.pick_banana import PickBanana
from clar_core.simulation.tasks.place_cube_in_basin import PlaceCubeInBasin
from clar_core.simulation.tasks.put_bread import PutBread
from clar_core.simulation.tasks.water_flower import WaterFlower

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (PickBanana, PutBread, WaterFlower, PlaceCubeInBasin, OpenDrawer)
}

__all__ = ["TASKS", "CellView", "Task", "UnknownTaskError", "get_task"]


class UnknownTaskError(ValueError):
    """No task of that name is registered."""


def get_task(name: str) -> Task:
    """A task by its registered name. Raises UnknownTaskError with the nearest names."""
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=2, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UnknownTaskError(f"unknown task {name!r}{hint} Known tasks: {', '.join(sorted(TASKS))}.")
    return TASKS[name]()
