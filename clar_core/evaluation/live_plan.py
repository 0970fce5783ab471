"""The order of an evaluation on the live stack: who drives which trial, so that the operator cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from clar_core.evaluation.contenders import is_run

PAPER_TRIALS = 20
"""Trials a task in CLAR, Fig. 4."""


@dataclass(frozen=True)
class PlannedTrial:
    """One trial: its place in the order from 0, who drives, the task and the seed of the start."""

    index: int
    contender: str
    task: str
    seed: int


def schedule(
    contenders: Sequence[str], tasks: Sequence[str], seeds: Sequence[int], *, block: int, order_seed: int
) -> list[PlannedTrial]:
    """Every contender on every start of every task.

    The starts of a task are taken in blocks; within a block each contender drives all of its starts, and who goes first
    is drawn anew for each block, so that time of day, wear and the operator's expectations favour nobody.

    Raises:
        ValueError: a block of less than one start.
    """
    if block < 1:
        raise ValueError(f"--block: expected at least 1, got {block}")
    rng = np.random.default_rng(order_seed)
    drawn: list[tuple[str, str, int]] = []
    for task in tasks:
        for first in range(0, len(seeds), block):
            for i in rng.permutation(len(contenders)):
                drawn += [(contenders[i], task, seed) for seed in seeds[first : first + block]]
    return [PlannedTrial(index, *trial) for index, trial in enumerate(drawn)]


def stints(plan: Sequence[PlannedTrial]) -> list[list[PlannedTrial]]:
    """Consecutive trials of one contender on one task: those that one launch of the stack can serve."""
    return [list(trials) for _, trials in groupby(plan, key=lambda t: (t.contender, t.task))]


def checkpoint_for(source: str, task: str) -> Path:
    """The checkpoint that a source has for a task: itself, the best of a run, or that of a folder named as the task.

    Raises:
        ValueError: there is none; the text says how to train one.
    """
    place = Path(source)
    if (place / "config.json").is_file():
        return place
    if is_run(place):
        return place / "best"
    if task and (place / task).is_dir():
        return checkpoint_for(str(place / task), task)
    raise ValueError(
        f"{source}: no checkpoint for task {task!r}: expected a checkpoint, a run, or a folder {task}/ that is one. "
        f"Train one: clar data collect --task {task} --episodes 100 && "
        f"clar train --stores outputs/data/{task} --output {place / task}"
    )
