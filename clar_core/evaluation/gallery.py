"""Pictures of failures: what the numbers do not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from clar_core.evaluation.cell import Evaluation
from clar_core.evaluation.contenders import Contender
from clar_core.evaluation.trials import Trial
from clar_core.simulation.env import STEP_S
from clar_core.visualization.film import Take, contact_sheet, draw

PICTURES = 6


def failures(evaluation: Evaluation, contender: Contender, most: int) -> list[tuple[str, Trial]]:
    """Failures of a contender whose states were kept, at most so many, spread over the tasks."""
    by_task = [
        [(task, t) for t in evaluation.of(contender, task) if not t.success and _states(evaluation, contender, task, t)]
        for task in evaluation.tasks
    ]
    spread = [failed[i] for i in range(most) for failed in by_task if i < len(failed)]
    return sorted(spread[:most], key=lambda entry: (entry[0], entry[1].seed))


def contact_sheets(
    evaluation: Evaluation,
    contender: Contender,
    most: int,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """(task, JPEG with a row of pictures a failure) for every task with failures to show.

    Raises:
        WorkerDiedError: a worker ended without an answer.
    """
    shown = failures(evaluation, contender, most)
    done = 0
    for task in evaluation.tasks:
        takes = [_take(evaluation, contender, task, trial) for name, trial in shown if name == task]
        frames: list[Sequence[bytes]] = [[] for _ in takes]
        for index, pictures in draw(task, takes, workers=workers):
            frames[index] = pictures
            done += 1
            if progress is not None:
                progress(done, len(shown))
        if takes:
            yield task, contact_sheet(takes, frames, columns=PICTURES)


def _states(evaluation: Evaluation, contender: Contender, task: str, trial: Trial) -> bool:
    return evaluation.journal.states(f"{contender.key}/{task}", trial.seed) is not None


def _take(evaluation: Evaluation, contender: Contender, task: str, trial: Trial) -> Take:
    """The states of a failure, thinned to what is drawn."""
    states = evaluation.journal.states(f"{contender.key}/{task}", trial.seed)
    assert states is not None
    keep = np.unique(np.linspace(0, len(states) - 1, PICTURES).round().astype(int))
    title = f"seed {trial.seed}: {trial.reason}"
    return Take(title, False, keep * STEP_S, states[keep].astype(np.float64))
