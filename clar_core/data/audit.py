"""The audit of one bag in a process of its own: ``python -m clar_core.data.audit BAG`` writes ``BAG/audit.json``.

The recorder starts it when an episode ends, so that the operator hears within seconds whether the episode was good.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clar_core.data.bags import BagError
from clar_core.data.quality import EpisodeReport, assess
from clar_core.observation.spec import ObservationSpec

AUDIT_FILE = "audit.json"
_NICENESS = 15


@dataclass(frozen=True)
class Verdict:
    """What an audit found: the bag, ok / warn / bad / failed, and one sentence."""

    bag: Path
    level: str
    text: str


class Auditor:
    """Audits bags one after the other in child processes, and tells the verdicts as they come."""

    def __init__(self, timeout_s: float = 120.0) -> None:
        self._timeout_s = timeout_s
        self._waiting: list[Path] = []
        self._running: tuple[Path, subprocess.Popen[bytes]] | None = None

    @property
    def busy(self) -> bool:
        """Whether an audit runs or waits."""
        return self._running is not None or bool(self._waiting)

    def submit(self, bag: Path) -> None:
        """Audit a finished bag."""
        self._waiting.append(bag)
        self._start_next()

    def poll(self) -> Verdict | None:
        """The verdict of an audit that has ended since the last call; None when none has. Never waits."""
        if self._running is None:
            self._start_next()
            return None
        bag, process = self._running
        if process.poll() is None:
            return None
        self._running = None
        self._start_next()
        return read_verdict(bag)

    def close(self) -> None:
        """End what runs; ``clar data validate`` does it later."""
        self._waiting.clear()
        if self._running is not None:
            self._running[1].kill()
            self._running[1].wait()
            self._running = None

    def _start_next(self) -> None:
        if self._running is None and self._waiting:
            bag = self._waiting.pop(0)
            process = subprocess.Popen(
                [sys.executable, "-m", "clar_core.data.audit", str(bag)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._running = bag, process


def read_verdict(bag: Path) -> Verdict:
    """The verdict that an audit left in a bag's folder."""
    try:
        document = json.loads((bag / AUDIT_FILE).read_text("utf-8"))
        return Verdict(bag, str(document["verdict"]), str(document["summary"]))
    except (OSError, ValueError, KeyError):
        return Verdict(bag, "failed", f"no audit of {bag.name}: clar data validate {bag} tells why")


def audit(bag: Path, reports: list[EpisodeReport]) -> dict[str, Any]:
    """Write the reports into the bag's folder; returns what was written."""
    worst = max((r.verdict for r in reports), key=("ok", "warn", "bad").index, default="bad")
    summary = "; ".join(f"{r.episode}: {r.verdict}, {r.steps} steps" + _because(r) for r in reports) or "no episode"
    document = {"verdict": worst, "summary": summary, "episodes": [report.to_dict() for report in reports]}
    write_audit(bag, document)
    return document


def write_audit(bag: Path, document: dict[str, Any]) -> None:
    """Write the file in one step."""
    part = bag / f"{AUDIT_FILE}.part"
    part.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    os.replace(part, bag / AUDIT_FILE)


def _because(report: EpisodeReport) -> str:
    return f": {'; '.join(report.reasons[:3])}" if report.reasons else ""


def main() -> int:
    """Audit the bag named on the command line."""
    os.nice(_NICENESS)
    bag = Path(sys.argv[1])
    try:
        audit(bag, assess(bag, ObservationSpec()))
    except BagError as error:
        write_audit(bag, {"verdict": "bad", "summary": str(error), "episodes": []})
    return 0


if __name__ == "__main__":
    sys.exit(main())
