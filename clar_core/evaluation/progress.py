"""The progress of an evaluation on a bar of tqdm."""

from __future__ import annotations

from typing import Any

from clar_core.evaluation.cell import Progress


def shown_on(bar: Any) -> Progress:
    """What ``run_evaluation`` calls after every trial, so that a tqdm bar names who is tried and how far that is."""

    def progress(what: str, done: int, of: int) -> None:
        bar.set_description(what, refresh=False)
        bar.total, bar.n = of, done
        bar.refresh()

    return progress
