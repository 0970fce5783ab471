"""Whether a run was finished before, so that a command of many stages can skip it, and by the same settings."""

from __future__ import annotations

from clar_core.training.checkpoints import load_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.loop import TrainingError
from clar_core.training.run_directory import FILE


def is_finished(training: ImitationConfig) -> bool:
    """Whether ``training.output`` holds the end of this run.

    Raises:
        TrainingError: of a run that other settings made; a table would mix them. Names the first that differs.
        CheckpointError: its last checkpoint cannot be read.
    """
    if not (training.output / FILE).exists():
        return False
    made = ImitationConfig.from_dict(load_checkpoint(training.output / "last").provenance["training"]).recipe()
    for name, wanted in training.recipe().items():
        found = made.get(name)
        if found != wanted and (name, wanted) != ("precision", "auto"):
            raise TrainingError(
                f"{training.output}: finished with {name} {found!r}, and {wanted!r} is asked for; choose another "
                "--output, or move this run away"
            )
    return True
