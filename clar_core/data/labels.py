"""Labels of a recording: which action belongs to which observation.

Where commands were recorded, the label of a command is what the arm's commanded pose changed by when it was executed,
after the envelope, paired with the observation that the command names. A command that was refused, or that names no
observation (a push, a hand let go), labels nothing. Elsewhere (hand guiding, other recorders) labels are differences of
measured poses at 10 Hz.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clar_core.control.action import STEP_PERIOD_S
from clar_core.data.bag_log import RUNNING, BagLog, LoggedCommand, StateLog
from clar_core.geometry.poses import Array, delta_between

COMMANDED, MEASURED = "commanded", "measured"

_STEP_NS = int(STEP_PERIOD_S * 1e9)
_CLOSING_M = 0.003
"""A gripper that closes by more than this in a step is told to close; one that opens, to open."""
_IDLE_M, _IDLE_RAD = 0.0005, 0.002
_KEPT_IDLE = 2


@dataclass(frozen=True, eq=False)
class Label:
    """One action (7,) and the capture stamp of the observation it answers; ``source`` is who commanded it."""

    observation_ns: int
    action: Array
    source: str


@dataclass(frozen=True, eq=False)
class Executed:
    """One command that the arm executed: what the commanded pose changed by, what it became, the command itself."""

    action: Array
    T_commanded: Array
    command: LoggedCommand


def executed_commands(log: BagLog, start_ns: int, stop_ns: int, skipped: Counter[str]) -> list[Executed]:
    """The commands of [start, stop] that were executed, in order, with the action (7,) that became of each.

    Args:
        log: of a bag with robot states and commands.
        start_ns, stop_ns: times of publication.
        skipped: counts, by reason, the others.
    """
    states = log.states
    if states.T_commanded is None:
        return []
    commands = {(c.source, c.sequence): c for c in log.commands if start_ns <= c.stamp_ns <= stop_ns}
    found: list[Executed] = []
    executed = 0
    for i in range(1, len(states)):
        owner, sequence, before = states.owner[i], int(states.last_sequence[i]), int(states.last_sequence[i - 1])
        if states.mode[i] != RUNNING or sequence == 0 or sequence == before:
            continue
        command = commands.get((owner, sequence))
        if command is None:
            continue
        executed += 1
        if _another_between(commands, owner, before, sequence, int(states.stamps_ns[i - 1])):
            skipped["several commands between two robot states"] += 1
            continue
        translation, rotation = delta_between(states.T_commanded[i - 1], states.T_commanded[i])
        gripper = float(np.clip(command.values[6], 0.0, 1.0))
        action = np.concatenate([translation, rotation, [gripper]])
        found.append(Executed(action, states.T_commanded[i], command))
    if refused := len(commands) - executed:
        skipped["not executed"] += refused
    return found


def commanded_labels(log: BagLog, start_ns: int, stop_ns: int, skipped: Counter[str]) -> list[Label]:
    """Labels from executed commands whose observation lies in [start, stop], in order.

    Args:
        log: of a bag with robot states and commands.
        start_ns, stop_ns: capture stamps.
        skipped: counts, by reason, commands that label nothing.
    """
    labels: list[Label] = []
    for executed in executed_commands(log, start_ns, stop_ns, skipped):
        observation_ns = executed.command.observation_ns
        if observation_ns == 0:
            skipped["names no observation"] += 1
        elif not start_ns <= observation_ns <= stop_ns:
            skipped["its observation is outside the episode"] += 1
        else:
            labels.append(Label(observation_ns, executed.action, executed.command.source))
    labels.sort(key=lambda label: label.observation_ns)
    return _one_each(labels, skipped)


def measured_labels(states: StateLog, stamps_ns: NDArray[np.int64], skipped: Counter[str]) -> list[Label]:
    """Labels from measured poses, one every 100 ms: the way to the next observation.

    Args:
        states: measured.
        stamps_ns: (n,) capture stamps of the depth images, in order.
        skipped: counts, by reason, observations that label nothing.
    """
    chosen: list[int] = []
    for stamp in np.asarray(stamps_ns, np.int64).tolist():
        if not chosen or stamp - chosen[-1] >= _STEP_NS - _STEP_NS // 10:
            chosen.append(stamp)
    labels: list[Label] = []
    is_open = True
    for now_ns, next_ns in itertools.pairwise(chosen):
        if next_ns - now_ns > 2 * _STEP_NS:
            skipped["no image for two steps"] += 1
            continue
        now, then = _nearest(states, now_ns), _nearest(states, next_ns)
        if now is None or then is None:
            skipped["no robot state near the image"] += 1
            continue
        change = states.width_m[then] - states.width_m[now]
        is_open = False if change < -_CLOSING_M else True if change > _CLOSING_M else is_open
        translation, rotation = delta_between(states.T_measured[now], states.T_measured[then])
        # Measured over a longer or shorter way than a step, told for a step.
        scale = _STEP_NS / (next_ns - now_ns)
        action = np.concatenate([translation * scale, rotation * scale, [float(is_open)]])
        labels.append(Label(now_ns, action, MEASURED))
    return labels


def trim_idle(labels: list[Label]) -> list[Label]:
    """The labels without the standing still at head and tail, of which two steps each stay."""
    moving = [
        i
        for i, label in enumerate(labels)
        if np.linalg.norm(label.action[:3]) > _IDLE_M
        or np.linalg.norm(label.action[3:6]) > _IDLE_RAD
        or (i > 0 and (label.action[6] > 0.5) != (labels[i - 1].action[6] > 0.5))
    ]
    if not moving:
        return []
    return labels[max(moving[0] - _KEPT_IDLE, 0) : moving[-1] + 1 + _KEPT_IDLE]


def _another_between(
    commands: dict[tuple[str, int], LoggedCommand], owner: str, before: int, now: int, since_ns: int
) -> bool:
    """Whether an earlier command than the last came after the state before: it may have been executed as well."""
    for sequence in range(now - 1, max(before, now - 4), -1):
        earlier = commands.get((owner, sequence))
        if earlier is not None and earlier.stamp_ns > since_ns:
            return True
    return False


def _one_each(labels: list[Label], skipped: Counter[str]) -> list[Label]:
    """One label for each observation: of several, the newest command's."""
    by_observation = {label.observation_ns: label for label in labels}
    repeated = len(labels) - len(by_observation)
    if repeated:
        skipped["another command answers the same observation"] += repeated
    return list(by_observation.values())


def _nearest(states: StateLog, stamp_ns: int, within_ns: int = 50_000_000) -> int | None:
    index = int(np.searchsorted(states.stamps_ns, stamp_ns))
    candidates = [i for i in (index - 1, index) if 0 <= i < len(states)]
    best = min(candidates, key=lambda i: abs(int(states.stamps_ns[i]) - stamp_ns), default=None)
    return best if best is not None and abs(int(states.stamps_ns[best]) - stamp_ns) <= within_ns else None
