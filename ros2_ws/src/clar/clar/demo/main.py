"""``clar demo``: trials of a policy in the live simulated cell, from launch to report."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import tyro
from rich.console import Console

# Imported where they are used: simulation and ROS take seconds, and --help should not.
if TYPE_CHECKING:
    from clar_core.evaluation.live import LiveRun
    from clar_core.simulation.tasks import Task

_OWN = ("bag", "bag.recording", "report.html", "video.mp4", "contact_sheet.jpg", "summary.json", "launch.log")
_FRESH = 1_000_000


@dataclass(frozen=True)
class Demo:
    """Run trials of a policy in the live simulated cell: real franky, real ROS 2 nodes, simulated robot and camera."""

    task: Annotated[str, tyro.conf.Positional] = "place_cube_in_basin"
    """What the robot shall do."""
    trials: int = 5
    """How many trials, from starts that training never saw."""
    seeds: tuple[int, ...] = ()
    """Starts to use instead of fresh ones, one trial each."""
    checkpoint: Path | None = None
    """Policy to run; the one shipped for the task when left out, or the run in outputs/training/<task>."""
    output: Path = Path("outputs/demo")
    """Where report.html, video.mp4, contact_sheet.jpg, summary.json and bag/ go."""
    robot_ip: str = ""
    """Loopback address that the simulated robot listens on; the simulated cell's own when left out."""
    video: bool = True
    """Draw the trials again for the report (takes half a minute)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; 0 when it was valid, 1 with the reason when not, 130 when interrupted."""
    options = tyro.cli(Demo, prog="clar demo", args=arguments)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    with ended_as_interrupt():
        try:
            return _Demonstration(options, console).run()
        except KeyboardInterrupt:
            console.print("interrupted: nothing is running any more")
            return 128 + signal.SIGINT


class _Demonstration:
    def __init__(self, options: Demo, console: Console) -> None:
        self._options = options
        self._console = console
        self._output = options.output.resolve()

    def run(self) -> int:
        from clar.demo.policy import find_checkpoint
        from clar.demo.session import DemoError, bags_in
        from clar.demo.stack import StackError
        from clar_core.evaluation.live import LiveRun, format_summary
        from clar_core.evaluation.live_report import write_summary
        from clar_core.simulation.tasks import UnknownTaskError, get_task

        started_s = time.monotonic()
        options = self._options
        try:
            task = get_task(options.task)
            seeds = self._seeds()
            checkpoint = find_checkpoint(task.name, options.checkpoint)
            self._prepare_output()
            run = LiveRun(task.name, str(checkpoint), task.instructions[0])
            self._drive(run, task, seeds)
        except (UnknownTaskError, DemoError, StackError, ValueError, OSError) as error:
            return self._fail(str(error))
        summary = run.summary()
        self._console.print(format_summary(run))
        if options.video:
            self._draw(run)
        summary["wall_time_s"] = round(time.monotonic() - started_s, 1)
        bags = [str(path.relative_to(self._output)) for path in bags_in(self._output / "bag")]
        summary["bags"] = bags
        self._report(run, summary["wall_time_s"], bags)
        write_summary(summary, self._output)
        self._console.print(f"\nreport: {self._output / 'report.html'}   ({summary['wall_time_s']:.0f} s in all)")
        if objections := run.objections():
            return self._fail("; ".join(objections))
        return 0

    def _drive(self, run: LiveRun, task: Task, seeds: Sequence[int]) -> None:
        """Stack up, trials, stack down: whatever happens, nothing is left running."""
        from clar.demo import session
        from clar.demo.observer import Observer
        from clar.demo.stack import Stack

        options = self._options
        arguments = [
            "hardware:=sim",
            "record:=true",
            "auto_arm:=true",
            f"bag:={self._output / 'bag'}",
            f"task:={options.task}",
            f"seed:={seeds[0]}",
            f"checkpoint:={run.checkpoint}",
            f"instruction:={run.instruction}",
        ]
        if options.robot_ip:
            arguments.append(f"robot_ip:={options.robot_ip}")
        status = self._console.status("starting the stack")
        tell = self._console.print
        with Observer(run) as observer:
            session.refuse_a_second_stack(observer)
            tell(f"ros2 launch clar policy.launch.py {' '.join(arguments)}")
            with status, Stack(arguments, self._output / "launch.log") as stack:
                try:
                    took_s = session.await_ready(observer, stack, status.update)
                    tell(f"the stack is ready after {took_s:.0f} s")
                    session.run_trials(observer, stack, task, seeds, say=status.update, tell=tell)
                finally:
                    with uninterrupted():
                        status.update("ending the stack")
                        if killed := stack.end():
                            tell("had to be killed, please report this: " + "; ".join(killed))

    def _seeds(self) -> list[int]:
        options = self._options
        if options.seeds:
            return list(options.seeds)
        if options.trials < 1:
            raise ValueError(f"--trials: expected at least 1, got {options.trials}")
        first = _FRESH + random.SystemRandom().randrange(1_000_000)
        return list(range(first, first + options.trials))

    def _prepare_output(self) -> None:
        """Make the folder and remove what an earlier run left in it; other files are not touched."""
        self._output.mkdir(parents=True, exist_ok=True)
        for name in _OWN:
            path = self._output / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _draw(self, run: LiveRun) -> None:
        from clar_core.evaluation.live_report import write_pictures
        from clar_core.workers import WorkerDiedError

        with self._console.status("drawing the trials") as status:
            try:
                write_pictures(
                    run, self._output, progress=lambda n, of: status.update(f"drawing the trials: {n} of {of}")
                )
            except (WorkerDiedError, RuntimeError, OSError) as error:
                self._console.print(f"no pictures: {error}")

    def _report(self, run: LiveRun, wall_time_s: float, bags: Sequence[str]) -> None:
        from clar_core.evaluation.live_report import write_report

        seeds = " ".join(str(t.seed) for t in run.trials)
        facts = [
            ("task", run.task),
            ("checkpoint", run.checkpoint),
            ("machine", _machine()),
            ("revision", _revision()),
            ("recorded", ", ".join(bags) or "no bag"),
            ("took", f"{wall_time_s:.0f} s, from launch to the last picture"),
        ]
        write_report(run, self._output, command=f"clar demo {run.task} --seeds {seeds}", facts=facts)

    def _fail(self, message: str) -> int:
        print(f"clar demo: {message}", file=sys.stderr, flush=True)
        return 1


@contextmanager
def ended_as_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demonstration as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """An impatient second Ctrl-C must not keep the stack from being ended."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _machine() -> str:
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {len(os.sched_getaffinity(0))} cores"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _revision() -> str:
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
