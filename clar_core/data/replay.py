"""What a recorded episode did, ready to be done again: where it began, the executed steps, and where each led."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clar_core.control.action import Action
from clar_core.data.bag_episode import windows
from clar_core.data.bag_log import read_log
from clar_core.data.bags import BagError, BagReader
from clar_core.data.labels import executed_commands
from clar_core.data.mapping import OWN_NAMES, BagMapping
from clar_core.geometry.poses import Array, delta_between
from clar_core.simulation.expert import Pace, step_towards

_APPROACH = Pace(far_m=0.015, turn_rad=0.05)
_ARRIVED_M, _ARRIVED_RAD = 0.003, 0.02


@dataclass(frozen=True, eq=False)
class RecordedMotion:
    """One episode's motion.

    Attributes:
        episode, task: what it was.
        seed: of the simulated cell's start, -1 on a real one.
        T_start: (4, 4) commanded pose before the first step.
        times_s: (n,) of each step, from the first.
        actions: (n, 7) as executed.
        T_recorded: (n, 4, 4) measured pose when each step was executed.
    """

    episode: str
    task: str
    seed: int
    T_start: Array
    times_s: NDArray[np.float64]
    actions: Array
    T_recorded: Array


def read_motion(path: Path, number: int = 0, mapping: BagMapping = OWN_NAMES) -> RecordedMotion:
    """The motion of one of a bag's episodes.

    Raises:
        BagError: no such episode, no commands, or none was executed.
    """
    with BagReader(path) as bag:
        log = read_log(bag, mapping)
        found = windows(bag, log, mapping)
    if not 0 <= number < len(found):
        raise BagError(f"{path}: no episode {number}; the bag has {len(found)}")
    window = found[number]
    steps = executed_commands(log, window.start_ns, window.stop_ns, Counter())
    if not steps:
        raise BagError(f"{path}: episode {window.name}: no command was executed, so there is nothing to replay")
    stamps = np.array([step.command.stamp_ns for step in steps], np.int64)
    states = log.states
    at = np.clip(np.searchsorted(states.stamps_ns, stamps) - 1, 0, len(states) - 1)
    assert states.T_commanded is not None
    return RecordedMotion(
        window.name,
        window.task,
        int(window.info.get("seed", -1)),
        states.T_commanded[at[0]],
        (stamps - stamps[0]) * 1e-9,
        np.array([step.action for step in steps]),
        states.T_measured[at],
    )


def approach(T_base_tcp: Array, motion: RecordedMotion) -> Action | None:
    """The next bounded step towards the start of a motion; None once the TCP is there."""
    translation, rotation = delta_between(T_base_tcp, motion.T_start)
    if np.linalg.norm(translation) < _ARRIVED_M and np.linalg.norm(rotation) < _ARRIVED_RAD:
        return None
    gripper = float(motion.actions[0, 6])
    return step_towards(T_base_tcp, motion.T_start[:3, 3], motion.T_start[:3, :3], gripper, pace=_APPROACH)
