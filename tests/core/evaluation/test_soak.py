"""The program that checks a soak run's log finds what must not be there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clar_core.evaluation.soak import (
    Fault,
    SoakLog,
    SoakLogError,
    State,
    forbidden_motion,
    load,
    memory_growth_mib,
    time_to_zero_s,
    unanswered_faults,
)

DISARMED, ARMED, RUNNING, HALTED = range(4)


def states(*rows: tuple[float, int, float]) -> list[State]:
    return [State(t_s, mode, "because", speed, speed) for t_s, mode, speed in rows]


def test_motion_after_a_halt_is_found_and_the_ramp_is_not() -> None:
    log = SoakLog(states=states((0.0, RUNNING, 0.1), (0.3, HALTED, 0.05), (1.0, HALTED, 0.0), (2.0, HALTED, 0.05)))
    found = forbidden_motion(log)
    assert len(found) == 1
    assert found[0].startswith("2.00 s: HALTED")


def test_the_way_home_is_allowed_while_armed_and_only_then() -> None:
    log = SoakLog(states=states((1.0, ARMED, 0.1), (5.0, ARMED, 0.1)), motions=[(0.5, 2.0)])
    assert [text[:6] for text in forbidden_motion(log)] == ["5.00 s"]
    log = SoakLog(states=states((1.0, DISARMED, 0.1)), motions=[(0.5, 2.0)])
    assert len(forbidden_motion(log)) == 1


@pytest.mark.parametrize(
    ("expects", "mode", "speed", "answered"),
    [
        ("halts", HALTED, 0.0, True),
        ("halts", RUNNING, 0.0, False),
        ("stops", RUNNING, 0.0, True),
        ("stops", RUNNING, 0.1, False),
        ("disarms", DISARMED, 0.0, True),
        ("disarms", RUNNING, 0.1, False),
        ("ignored", RUNNING, 0.1, True),
        ("ignored", HALTED, 0.0, False),
    ],
)
def test_a_fault_without_its_consequence_is_found(expects: str, mode: int, speed: float, answered: bool) -> None:
    log = SoakLog(states=states((1.3, mode, speed), (1.7, mode, speed)), faults=[Fault(1.0, "it", expects)])
    assert (unanswered_faults(log) == []) is answered


def test_a_node_that_was_killed_and_says_nothing_more_has_stopped() -> None:
    log = SoakLog(states=states((1.05, RUNNING, 0.1)), faults=[Fault(1.0, "kill -9", "disarms")])
    assert unanswered_faults(log) == []


def test_the_time_to_zero_counts_only_faults_in_motion() -> None:
    log = SoakLog(
        states=states((0.9, RUNNING, 0.1), (1.2, RUNNING, 0.0), (5.0, RUNNING, 0.0), (5.3, RUNNING, 0.0)),
        faults=[Fault(1.0, "killed", "stops"), Fault(5.1, "killed", "stops")],
    )
    assert time_to_zero_s(log, ["killed"]) == pytest.approx([0.2])


def test_growth_is_measured_after_the_warm_up() -> None:
    flat = [(float(t), 100.0 if t < 10 else 150.0) for t in range(100)]
    assert memory_growth_mib(flat, warm_up_s=10.0) == 0.0
    leak = [(float(t), 100.0 + t) for t in range(100)]
    assert memory_growth_mib(leak, warm_up_s=10.0) == pytest.approx(60.0, abs=2.0)


def test_what_was_not_measured_is_no_motion_and_what_was_commanded_is(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    halted = {"kind": "state", "mode": 3, "reason": "connection lost", "measured": None}
    path.write_text("\n".join(json.dumps({**halted, "t_s": t, "commanded": 0.1 * t}) for t in (0.0, 1.0)))
    (moved,) = forbidden_motion(load(path))
    assert moved.startswith("1.00 s: HALTED, commanded 100.0 mm/s")


def test_a_log_is_read_up_to_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    entries = [
        {"kind": "state", "t_s": 1, "mode": 2, "reason": "", "commanded": 0.1, "measured": 0.1},
        {"kind": "fault", "t_s": 2, "name": "kill", "expects": "stops"},
        {"kind": "memory", "t_s": 3, "mib": {"arm": 100.0}},
        {"kind": "death", "t_s": 4, "process": "policy", "intended": True},
        {"kind": "motion", "t_s": 6, "start_s": 5, "end_s": 6},
    ]
    path.write_text("\n".join(json.dumps(entry) for entry in entries) + '\n{"kind": "sta')
    log = load(path)
    assert (len(log.states), len(log.faults), len(log.memory["arm"]), len(log.deaths)) == (1, 1, 1, 1)
    path.write_text('{"kind": "song"}\n' + path.read_text())
    with pytest.raises(SoakLogError, match="line 1"):
        load(path)
