"""``clar train controls``: what a policy is held against, trained on the same data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from clar_core.cli.main import fail
from clar_core.simulation.perturbation import Perturbation


@dataclass(frozen=True)
class TrainControls:
    """Train the controls of a run: blind, frozen_random and oracle_state, into <run>/controls."""

    run: Annotated[Path, tyro.conf.Positional]
    """Directory of a training run."""
    controls: tuple[str, ...] = ("blind", "frozen_random", "oracle_state")
    """Which of them."""
    samples: int | None = None
    """Training samples of each; those of the run when left out."""
    perturb: Perturbation = field(default_factory=Perturbation)
    """How the demonstrations were disturbed, as it was given to `clar data collect`."""


def main(arguments: list[str]) -> int:
    """Run ``clar train controls``; returns the exit status."""
    options = tyro.cli(TrainControls, args=arguments, prog="clar train controls")
    from tqdm import tqdm

    from clar_core.training.controls import train_controls
    from clar_core.training.loop import TrainingError

    bars: dict[str, tqdm[object]] = {}

    def progress(what: str, done: int, of: int) -> None:
        bar = bars.setdefault(what, tqdm(total=of, desc=what))
        bar.update(done - bar.n)
        if done == of:
            bar.close()

    try:
        made = train_controls(
            options.run,
            controls=options.controls,
            samples=options.samples,
            perturb=options.perturb,
            progress=progress,
        )
    except (ValueError, OSError, TrainingError) as error:
        return fail(str(error))
    print(f"controls: {', '.join(map(str, made.values()))}\nnext: evaluate {options.run} again, as its README.md says")
    return 0
