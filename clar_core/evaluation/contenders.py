"""Who is evaluated: a run or a checkpoint, what it is compared with, and the controls that belong to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clar_core.evaluation.trials import EXPERT, is_oracle

CONTROLS = {
    "blind": "sees no cloud: what the robot's own pose and the habits of the data are worth",
    "frozen_random": "an encoder that was never trained: what the head alone makes of any features",
    "oracle_state": "true object poses instead of a cloud: what the data allow if seeing were perfect",
}
"""Name -> what it tells."""

Role = Literal["selection", "fresh", "control"]


@dataclass(frozen=True)
class Contender:
    """Somebody who drives trials.

    Attributes:
        name: in reports, for example "policy" or "blind".
        role: ``selection`` chooses among the checkpoints of a run, ``fresh`` is what is reported, ``control`` is what
            it is held against.
        source: ``"expert"``, a checkpoint, or an oracle control.
    """

    name: str
    role: Role
    source: str

    @property
    def key(self) -> str:
        """Names the contender in journals."""
        return f"{self.role}/{self.name}"


def is_run(path: str | Path) -> bool:
    """Whether a directory is that of a training run."""
    return all((Path(path) / name / "config.json").is_file() for name in ("best", "last"))


def candidates(path: str) -> dict[str, str]:
    """The checkpoints that a path offers, by name: those of a run, or the one that it is."""
    if not is_run(path):
        return {"": path}
    run = Path(path)
    kept = sorted(p for p in (run / "kept").glob("*") if (p / "config.json").is_file())
    return {str(p.relative_to(run)): str(p) for p in (run / "best", run / "last", *kept)}


def run_of(path: str) -> Path | None:
    """The training run that a path is, or whose checkpoint it is; ``None`` for the expert and for a lone checkpoint."""
    if path == EXPERT:
        return None
    place = Path(path)
    return next((p for p in (place, place.parent, place.parent.parent) if is_run(p)), None)


def controls_of(path: str) -> dict[str, str]:
    """Controls that were trained beside a run (``clar train controls``), by name; of a checkpoint, those of its run."""
    home = run_of(path)
    if home is None:
        return {}
    found: dict[str, str] = {}
    for name in CONTROLS:
        place = home / "controls" / name
        if is_oracle(place):
            found[name] = str(place)
        elif (place / "last" / "config.json").is_file():
            found[name] = str(place / "last")
    return found


def fingerprint(source: str) -> str:
    """What identifies the weights behind a source: a path alone may hold another checkpoint tomorrow."""
    if source == EXPERT:
        return EXPERT
    name = "oracle.json" if is_oracle(source) else "provenance.json"
    try:
        return str(json.loads((Path(source) / name).read_bytes()).get("sha256", ""))
    except (OSError, ValueError):
        return ""
