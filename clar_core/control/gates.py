"""Gates: what other programs have to say before the arm may move (is the camera calibrated, does the scene look right).

Whoever checks something publishes the state of its gate; the arm refuses to arm, and halts, while a gate is closed, or
while one that is required has never spoken. An override is possible by name, and is told to the log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """What one check says.

    Attributes:
        name: of the check, for example ``calibration``.
        objection: why the arm must not move and what to do about it; empty while nothing speaks against it.
        remark: what the operator should know although the gate is open.
    """

    name: str
    objection: str = ""
    remark: str = ""


class Gates:
    """The last word of every gate. Thread-safe.

    Args:
        required: gates that must have spoken.
        overridden: gates that are not obeyed.
        on_remark: told, once each, what an overridden gate objects to and what an open one remarks.
    """

    def __init__(
        self,
        required: Iterable[str] = (),
        overridden: Iterable[str] = (),
        on_remark: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._lock = threading.Lock()
        self._gates: dict[str, Gate] = {}
        self._required = tuple(required)
        self._overridden = frozenset(overridden)
        self._on_remark = on_remark
        self._told: dict[str, str] = {}

    def update(self, gate: Gate) -> None:
        """Take a gate's newest word."""
        with self._lock:
            self._gates[gate.name] = gate
        text = gate.remark
        if gate.objection and gate.name in self._overridden:
            text = f"overridden: {gate.objection}"
        if text and self._told.get(gate.name) != text:
            self._told[gate.name] = text
            self._on_remark(f"gate {gate.name}: {text}")

    def objections(self) -> list[str]:
        """Everything that the gates have against motion, each with what to do about it; empty when nothing."""
        with self._lock:
            gates = dict(self._gates)
        problems = [
            f"no word from the gate {name!r}: is the node that checks it running?"
            for name in self._required
            if name not in gates and name not in self._overridden
        ]
        problems += [
            f"{gate.name}: {gate.objection}"
            for gate in gates.values()
            if gate.objection and gate.name not in self._overridden
        ]
        return problems
