"""One trial: the order of its steps, and that it always ends with STOP."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from clar.calls import CallError
from clar.trials import AbortedError, TrialResult, run_trial


class FakeCell:
    """Records what is asked of it; success and trouble come after a number of looks."""

    def __init__(
        self, *, success_after: int | None = None, stopped_after: int | None = None, refuses: str = ""
    ) -> None:
        self.steps: list[str] = []
        self._looks = itertools.count()
        self._success_after = success_after
        self._stopped_after = stopped_after
        self._refuses = refuses
        self._look = 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        def step(*arguments: object) -> None:
            self.steps.append(" ".join([name, *map(str, arguments)]))
            if name == self._refuses:
                raise CallError(f"{name}: no")

        return step

    def verdict(self) -> bool | None:
        self._look = next(self._looks)
        return True if self._success_after is not None and self._look >= self._success_after else None

    def not_running(self) -> str | None:
        stopped = self._stopped_after is not None and self._look >= self._stopped_after
        return "the arm stopped: reflex" if stopped else None


def run(cell: FakeCell, *, time_limit_s: float = 30.0, cancelled: Callable[[], bool] = lambda: False) -> TrialResult:
    phases: list[str] = []
    result = run_trial(
        cell,
        task="place",
        seed=5,
        time_limit_s=time_limit_s,
        cancelled=cancelled,
        report=lambda phase, elapsed_s: phases.append(phase),
    )
    assert [phase for phase, _ in itertools.groupby(phases)] == ["home", "reset", "running", "done"]
    return result


PREPARATION = ["make_armed", "open_gripper", "home", "reset place 5", "start"]


def test_a_success_ends_the_trial_with_stop() -> None:
    cell = FakeCell(success_after=3)
    result = run(cell)
    assert (result.success, result.reason) == (True, "success")
    assert cell.steps == [*PREPARATION, "stop"]


def test_the_time_limit_ends_the_trial_as_a_failure() -> None:
    cell = FakeCell()
    result = run(cell, time_limit_s=0.1)
    assert not result.success
    assert "time limit of 0.1 s" in result.reason
    assert result.duration_s >= 0.1
    assert cell.steps[-1] == "stop"


def test_an_arm_that_stops_by_itself_ends_the_trial_with_its_reason() -> None:
    result = run(FakeCell(stopped_after=2))
    assert (result.success, result.reason) == (False, "the arm stopped: reflex")


@pytest.mark.parametrize("step", ["make_armed", "open_gripper", "home", "reset"])
def test_a_cell_that_cannot_be_prepared_aborts_the_trials_without_moving(step: str) -> None:
    cell = FakeCell(refuses=step)
    with pytest.raises(AbortedError, match=f"{step}: no"):
        run(cell)
    assert "stop" not in cell.steps


def test_a_start_that_is_not_confirmed_is_stopped() -> None:
    cell = FakeCell(refuses="start")
    with pytest.raises(AbortedError, match="start: no"):
        run(cell)
    assert cell.steps[-1] == "stop"


def test_calling_the_trials_off_stops_the_arm() -> None:
    cell = FakeCell()
    with pytest.raises(AbortedError, match="called off"):
        run(cell, cancelled=lambda: True)
    assert cell.steps[-1] == "stop"
