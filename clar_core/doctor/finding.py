"""One thing that was checked, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How a finding bears on a run."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"
    SKIP = "-"


@dataclass(frozen=True)
class Finding:
    """What was checked, how it is, what was found, and the remedy where one is needed."""

    name: str
    level: Level
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(name, Level.OK, found)


def warn(name: str, found: str, fix: str) -> Finding:
    """It may work; better is better."""
    return Finding(name, Level.WARN, found, fix)


def fail(name: str, found: str, fix: str) -> Finding:
    """A run on the robot does not work, or is not safe."""
    return Finding(name, Level.FAIL, found, fix)


def skip(name: str, found: str, fix: str = "") -> Finding:
    """Could not be checked."""
    return Finding(name, Level.SKIP, found, fix)


def examine(checks: Iterable[tuple[str, Callable[[], Iterable[Finding]]]]) -> list[Finding]:
    """The findings of all checks; a check that breaks is a finding of its own and stops no other."""
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check()
        except Exception as error:  # a doctor must survive any patient
            findings.append(skip(name, f"the check failed: {type(error).__name__}: {error}"))
    return findings


def report(findings: Iterable[Finding]) -> str:
    """The findings as aligned text, remedies below what they remedy."""
    listed = list(findings)
    width = max((len(finding.name) for finding in listed), default=0)
    lines = []
    for finding in listed:
        lines.append(f"{finding.level.value:>4}  {finding.name:<{width}}  {finding.found}")
        if finding.fix:
            lines.append(f"      {'':<{width}}  -> {finding.fix}")
    return "\n".join(lines)
