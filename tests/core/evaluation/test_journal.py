from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clar_core.evaluation.journal import Journal, JournalError
from clar_core.evaluation.trials import Trial

IDENTITY = {"checkpoint": "a", "tasks": ("x",)}
TRIAL = Trial(3, True, 50, 5.0, 1.0, "success", 2.5, (0.5, -0.1), "do it")


def test_trials_are_there_again(tmp_path: Path) -> None:
    failure = replace(TRIAL, seed=4, success=False, reason="time limit", states=np.ones((3, 9), np.float32))
    first = Journal(tmp_path, IDENTITY)
    first.append("fresh/policy/x", TRIAL)
    first.append("fresh/policy/x", failure)
    first.append("control/blind/x", TRIAL)
    again = Journal(tmp_path, IDENTITY)
    assert again.trials("fresh/policy/x") == {3: TRIAL, 4: failure}
    assert again.trials("control/blind/x") == {3: TRIAL}
    assert again.trials("nobody") == {}
    states = again.states("fresh/policy/x", 4)
    assert states is not None
    assert states.shape == (3, 9)
    assert again.states("fresh/policy/x", 3) is None


def test_a_line_that_was_cut_off_is_run_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, IDENTITY)
    journal.append("a", TRIAL)
    journal.append("a", replace(TRIAL, seed=4))
    path = tmp_path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    again = Journal(tmp_path, IDENTITY)
    assert again.trials("a") == {3: TRIAL}
    again.append("a", replace(TRIAL, seed=4))
    assert sorted(Journal(tmp_path, IDENTITY).trials("a")) == [3, 4]


def test_another_evaluation_is_refused_by_field_and_thrown_away_on_demand(tmp_path: Path) -> None:
    Journal(tmp_path, IDENTITY).append("a", TRIAL)
    other = {**IDENTITY, "checkpoint": "b"}
    with pytest.raises(JournalError, match=r"another evaluation: checkpoint was 'a' and is 'b' now.*--restart"):
        Journal(tmp_path, other)
    assert Journal(tmp_path, other, restart=True).trials("a") == {}


def test_a_larger_evaluation_goes_on_from_a_smaller_one(tmp_path: Path) -> None:
    smaller = {**IDENTITY, "trials": 20, "controls": False, "weights": {"policy": "p"}}
    larger = {**IDENTITY, "trials": 100, "controls": True, "weights": {"policy": "p", "blind": "b"}}
    extent = ("trials", "controls", "weights")
    Journal(tmp_path, smaller, extent=extent).append("a", TRIAL)
    assert Journal(tmp_path, larger, extent=extent).trials("a") == {3: TRIAL}
    Journal(tmp_path, smaller, extent=extent)
    retrained = {**larger, "weights": {"policy": "p", "blind": "c"}}
    with pytest.raises(JournalError, match=r"weights was {'blind': 'b', .*} and is {'blind': 'c'"):
        Journal(tmp_path, retrained, extent=extent)
    with pytest.raises(JournalError, match="checkpoint was 'a' and is 'b'"):
        Journal(tmp_path, {**larger, "checkpoint": "b"}, extent=extent)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    Journal(tmp_path, IDENTITY).append("a", TRIAL)
    path = tmp_path / "trials.jsonl"
    path.write_text('{"arm": "a", "seed": 1}\n' + path.read_text())
    with pytest.raises(JournalError, match=r"trials.jsonl, line 1: cannot be read"):
        Journal(tmp_path, IDENTITY)
