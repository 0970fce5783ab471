"""One demonstration: bring the stack up, run the trials through the manager, take the stack down."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clar.demo.observer import Observer
from clar.demo.stack import Stack
from clar_core.evaluation.live import MIN_REAL_TIME_FACTOR, LiveRun, LiveTrial
from clar_core.simulation.tasks import Task
from clar_interfaces.action import RunTrials

_POLL_S = 0.05
_DISCOVERY_S = 3.0
"""A busy machine takes its time to find other nodes; a second stack unseen would fight the first for the arm."""
_READY_WITHIN_S = 150.0
_PREPARE_S = 60.0
"""What opening the gripper, going home and resetting the cell may take per trial."""

Say = Callable[[str], None]


class DemoError(RuntimeError):
    """The demonstration cannot be run, or broke off; the text says why and what to do."""


@dataclass
class _Windows:
    """START and verdict of each trial on the wall clock, from the manager's feedback."""

    started_s: dict[int, float]
    ended_s: dict[int, float]

    def note(self, feedback: RunTrials.Feedback, now_s: float) -> None:
        index = int(feedback.trial)
        if feedback.phase == "running" and index not in self.started_s:
            self.started_s[index] = now_s - feedback.elapsed_s
        elif feedback.phase == "done":
            self.ended_s[index] = self.started_s.get(index, now_s - feedback.elapsed_s) + feedback.elapsed_s


def refuse_a_second_stack(observer: Observer) -> None:
    """Raise DemoError when a stack is up already on this ROS domain: both would answer each other's calls."""
    end_s = time.monotonic() + _DISCOVERY_S
    while time.monotonic() < end_s:
        if observer.other_stack():
            raise DemoError(
                "another stack is up on this ROS domain (its manager answers); end it, or choose another domain: "
                "ROS_DOMAIN_ID=42 make demo"
            )
        time.sleep(_POLL_S)


def await_ready(observer: Observer, stack: Stack, say: Say) -> float:
    """Wait until the manager reports the stack ready; returns the seconds it took.

    Raises:
        StackError: the stack ended.
        DemoError: it is not ready in time.
    """
    start_s = time.monotonic()
    while True:
        stack.check()
        elapsed_s = time.monotonic() - start_s
        if observer.status == "ready" and observer.accepts_trials():
            return elapsed_s
        if observer.status == "failed":
            raise DemoError(f"the stack could not be brought up:\n{stack.tail()}")
        if elapsed_s > _READY_WITHIN_S:
            raise DemoError(f"the stack was not ready within {_READY_WITHIN_S:.0f} s:\n{stack.tail()}")
        say(f"starting the stack: {observer.status or 'processes'} ({elapsed_s:.0f} s)")
        time.sleep(_POLL_S)


def run_trials(
    observer: Observer,
    stack: Stack,
    task: Task,
    seeds: Sequence[int],
    *,
    say: Say,
    tell: Say,
    limit_s: float | None = None,
) -> None:
    """Run one trial a seed and put them into the observer's run.

    Args:
        observer: of the running stack.
        stack: the stack, whose early end ends the wait.
        task: what to do.
        seeds: of the starts.
        say: shows a passing state.
        tell: prints a line that stays.
        limit_s: time for a trial; the task's own when left out.

    Raises:
        StackError: the stack ended.
        DemoError: the trials were refused or broke off; those that ended are in the run.
    """
    run: LiveRun = observer.run
    windows = _Windows({}, {})
    told = 0

    def on_feedback(feedback: RunTrials.Feedback) -> None:
        windows.note(feedback, observer.now_s())
        what = f", {feedback.elapsed_s:.1f} s" if feedback.phase == "running" else ""
        say(
            f"trial {feedback.trial + 1} of {len(seeds)}, seed {seeds[feedback.trial]}: {feedback.phase}{what}"
            f"   ({feedback.successes} succeeded)"
        )

    # The limit is simulated time for a policy; the wall may run ahead of it by as much as a valid run allows.
    limit_s = limit_s or task.time_limit_s / MIN_REAL_TIME_FACTOR
    goal = RunTrials.Goal(task=task.name, instruction=run.instruction, seeds=list(seeds), time_limit_s=float(limit_s))
    result = observer.send_trials(goal, on_feedback)
    deadline_s = time.monotonic() + len(seeds) * (limit_s + _PREPARE_S)
    while (outcome := result()) is None:
        stack.check()
        if time.monotonic() > deadline_s:
            raise DemoError(f"the trials did not end in time:\n{stack.tail()}")
        for index in range(told, len(windows.ended_s)):
            duration_s = windows.ended_s[index] - windows.started_s[index]
            tell(f"trial {index + 1} of {len(seeds)}  seed {seeds[index]}  ended after {duration_s:.1f} s")
            told = index + 1
        time.sleep(_POLL_S)
    for index, (success, duration_s, reason) in enumerate(
        zip(outcome.outcomes, outcome.durations_s, outcome.reasons, strict=True)
    ):
        start_s = windows.started_s.get(index, observer.now_s())
        run.trials.append(
            LiveTrial(
                index=index,
                seed=int(seeds[index]),
                success=bool(success),
                duration_s=float(duration_s),
                reason=str(reason),
                start_s=start_s,
                end_s=windows.ended_s.get(index, start_s + float(duration_s)),
            )
        )
    if not outcome.success:
        raise DemoError(f"the trials broke off: {outcome.message}\n{stack.tail()}")


def bags_in(folder: Path) -> list[Path]:
    """The bags of the run, each a folder with metadata.yaml."""
    return sorted(path.parent for path in folder.rglob("metadata.yaml"))
