"""The controls that belong to a run: the same data, the same head, and no, random or perfect sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from clar_core.evaluation.contenders import CONTROLS
from clar_core.evaluation.trials import ORACLE_FILE
from clar_core.simulation.perturbation import NO_PERTURBATION, Perturbation
from clar_core.training.checkpoints import load_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.imitation import train_imitation
from clar_core.training.oracle import train_oracle


def train_controls(
    run: Path,
    *,
    controls: tuple[str, ...] = tuple(CONTROLS),
    samples: int | None = None,
    perturb: Perturbation = NO_PERTURBATION,
    progress: Callable[[str, int, int], Any] | None = None,
) -> dict[str, Path]:
    """Train the controls of a run into ``<run>/controls/<name>``; what is there already is kept.

    Args:
        run: directory of a training run.
        controls: which of them.
        samples: training samples of each; those of the run when left out.
        perturb: how the demonstrations were disturbed, for the oracle's.
        progress: called with (what, done, of).

    Raises:
        ValueError: an unknown control.
        CheckpointError, StoreError, TrainingError: as training does.
    """
    if unknown := sorted(set(controls) - set(CONTROLS)):
        raise ValueError(f"controls: expected of {', '.join(CONTROLS)}, got {unknown[0]!r}")
    config = ImitationConfig.from_dict(load_checkpoint(run / "last").provenance.get("training", {}))
    base = replace(
        config,
        head=config.head_name,  # that of the run, whatever encoder the control has
        samples=samples or config.samples,
        init_from=None,
        init_encoder_only=False,
        encoder_training="scratch",
        keep_every=0,
        resume=True,
    )
    made: dict[str, Path] = {}
    for name in controls:
        output = run / "controls" / name
        if name == "oracle_state":
            if not (output / ORACLE_FILE).exists():
                train_oracle(base, output, perturb=perturb, progress=progress)
        else:
            blind = name == "blind"
            train_imitation(
                replace(
                    base,
                    output=output,
                    encoder="blind" if blind else config.encoder,
                    encoder_training="scratch" if blind else "frozen_random",
                )
            )
        made[name] = output
    return made
