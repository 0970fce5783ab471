"""Options that the data commands share: which observation, which mapping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clar_core.data.mapping import BagMapping, load_mapping
from clar_core.observation.spec import ObservationSpec

if TYPE_CHECKING:
    from clar_core.data.bag_faults import Calibration

OBSERVATION_HELP = (
    "default, cell (the simulated cell's), rlbench, or the directory of a store or a checkpoint whose observation is "
    "to be met"
)


def observation(name: str) -> ObservationSpec:
    """The spec that an option names.

    Raises:
        ValueError: neither a known name nor a store nor a checkpoint.
    """
    if name == "default":
        return ObservationSpec()
    if name == "cell":
        from clar_core.simulation.env import CELL_SPEC

        return CELL_SPEC
    if name == "rlbench":
        from clar_core.data.rlbench_scene import SPEC

        return SPEC
    directory = Path(name)
    if (directory / "zarr.json").exists():
        from clar_core.data.store import Store

        return Store(directory).spec
    if not directory.is_dir():
        raise ValueError(f"--observation {name}: expected {OBSERVATION_HELP}; no such directory")
    from clar_core.observation.stored import spec_of_checkpoint

    return spec_of_checkpoint(directory)


def mapping(path: Path | None) -> BagMapping:
    """The mapping of a file, the stack's own names without one. Raises MappingError."""
    return BagMapping() if path is None else load_mapping(path)


def calibration(path: Path | None) -> Calibration | None:
    """The calibration of a file, None without one. Raises ValueError naming what is wrong with the file."""
    if path is None:
        return None
    from clar_calibration import load_calibration

    return load_calibration(path)
