"""The observation spec of a checkpoint, read without loading the network (and without importing torch)."""

from __future__ import annotations

import json
from pathlib import Path

from clar_core.observation.spec import ObservationSpec


def spec_of_checkpoint(directory: Path | str) -> ObservationSpec:
    """The spec that a checkpoint was trained on.

    Raises:
        ValueError: there is no checkpoint, or its ``config.json`` does not hold a spec; names file and field.
    """
    path = Path(directory) / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); expected a checkpoint directory, as `clar train` writes it"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); copy the checkpoint again") from error
    observation = config.get("observation") if isinstance(config, dict) else None
    if not isinstance(observation, dict):
        raise ValueError(f"{path}: observation: expected an object, found {observation!r}; copy the checkpoint again")
    try:
        return ObservationSpec.from_dict(observation)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
