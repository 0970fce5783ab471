"""What a recorded episode did, ready to be done again: where it began, the executed steps, and where each led."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clar_core.control.action import Action
from clar_core.control.tracking import limit_norm
from clar_core.data.bag_episode import windows
from clar_core.data.bag_log import read_log
from clar_core.data.bags import BagError, BagReader
from clar_core.data.labels import executed_commands
from clar_core.data.mapping import OWN_NAMES, BagMapping
from clar_core.geometry.poses import Array, delta_between
from clar_core.simulation.expert import Pace, step_towards

_APPROACH = Pace(far_m=0.015, turn_rad=0.05)
_ARRIVED_M, _ARRIVED_RAD = 0.003, 0.02
_CORRECTION_M, _CORRECTION_RAD = 0.005, 0.03


@dataclass(frozen=True, eq=False)
class RecordedMotion:
    """One episode's motion.

    Attributes:
        episode, task: what it was.
        seed: of the simulated cell's start, -1 on a real one.
        T_start: (4, 4) commanded pose before the first step.
        times_s: (n,) of each step, from the first.
        actions: (n, 7) as executed.
        T_commanded: (n, 4, 4) commanded pose after each step.
        T_recorded: (n, 4, 4) measured pose when each step was executed.
    """

    episode: str
    task: str
    seed: int
    T_start: Array
    times_s: NDArray[np.float64]
    actions: Array
    T_commanded: Array
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
        np.array([step.T_commanded for step in steps]),
        states.T_measured[at],
    )


def approach(T_base_tcp: Array, motion: RecordedMotion) -> Action | None:
    """The next bounded step towards the start of a motion; None once the TCP is there."""
    translation, rotation = delta_between(T_base_tcp, motion.T_start)
    if np.linalg.norm(translation) < _ARRIVED_M and np.linalg.norm(rotation) < _ARRIVED_RAD:
        return None
    gripper = float(motion.actions[0, 6])
    return step_towards(T_base_tcp, motion.T_start[:3, 3], motion.T_start[:3, :3], gripper, pace=_APPROACH)


class Follower:
    """The steps that lead along a recording; those after it make up for what was lost, refused or scaled on the way.

    As long as every step is executed, they are the recorded ones.
    """

    def __init__(self, motion: RecordedMotion) -> None:
        self._motion = motion
        self._under_way: list[tuple[int, Action]] = []

    def step(self, number: int, sequence: int, T_commanded: Array, last_sequence: int) -> Action:
        """The step of a number, longer than the recorded one by at most 5 mm and 0.03 rad.

        Args:
            number: of the recorded step.
            sequence: under which it will be published.
            T_commanded: (4, 4) the arm's commanded pose.
            last_sequence: of the last command in it.
        """
        self._under_way = [(sent, action) for sent, action in self._under_way if sent > last_sequence]
        for _, action in self._under_way:
            T_commanded = action.applied_to(T_commanded)
        recorded = Action.from_array(self._motion.actions[number])
        translation, rotation = delta_between(T_commanded, self._motion.T_commanded[number])
        action = Action(
            limit_norm(translation, float(np.linalg.norm(recorded.translation)) + _CORRECTION_M),
            limit_norm(rotation, float(np.linalg.norm(recorded.rotation)) + _CORRECTION_RAD),
            recorded.gripper,
        )
        self._under_way.append((sequence, action))
        return action
