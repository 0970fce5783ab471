import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup import runner
from scripts.setup.runner import Console, SetupError, Step, alone, run_steps

Action = Callable[[Console, bool], None]


class Machine:
    """A set-up of two steps that records what ran."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.product = folder / "product"
        self.version = "1"
        self.ran: list[str] = []
        self.interrupted: list[bool] = []
        self.first: Action = self._make_product

    def _make_product(self, console: Console, interrupted: bool) -> None:
        self.product.write_text("made")

    def run(self) -> int:
        def first(console: Console, interrupted: bool) -> None:
            self.ran.append("first")
            self.interrupted.append(interrupted)
            self.first(console, interrupted)

        def second(console: Console, interrupted: bool) -> None:
            self.ran.append("second")

        steps = [
            Step("first", "first step", lambda: [self.version], first, (self.product,)),
            Step("second", "second step", lambda: ["fixed"], second),
        ]
        self.ran.clear()
        return run_steps(steps, self.state)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_runs_when_nothing_changed(machine: Machine) -> None:
    assert machine.run() == 2
    assert machine.run() == 0


def test_a_changed_input_runs_its_step_and_the_ones_after_it(machine: Machine) -> None:
    machine.run()
    machine.version = "2"
    machine.run()
    assert machine.ran == ["first", "second"]


def test_a_product_that_is_gone_is_made_again(machine: Machine) -> None:
    machine.run()
    machine.product.unlink()
    machine.run()
    assert machine.ran == ["first", "second"]


def test_a_failed_step_runs_again_and_was_not_cut_off(machine: Machine) -> None:
    def fail(console: Console, interrupted: bool) -> None:
        raise SetupError("disk full")

    works = machine.first
    machine.first = fail
    with pytest.raises(SetupError, match="disk full"):
        machine.run()
    assert machine.ran == ["first"]
    machine.first = works
    assert machine.run() == 2
    assert machine.interrupted == [False, False]


def test_a_step_learns_that_its_last_attempt_was_cut_off(machine: Machine) -> None:
    def cut_off(console: Console, interrupted: bool) -> None:
        raise KeyboardInterrupt

    works = machine.first
    machine.first = cut_off
    with pytest.raises(KeyboardInterrupt):
        machine.run()
    machine.first = works
    machine.run()
    assert machine.interrupted == [False, True]


def test_output_of_a_command_is_in_the_log_of_its_step(machine: Machine) -> None:
    outcomes = []

    def talk(console: Console, interrupted: bool) -> None:
        outcomes.append(console.run(["sh", "-c", "echo to stdout; echo to stderr >&2; exit 3"]))
        machine.product.touch()

    machine.first = talk
    machine.run()
    assert outcomes == [False]
    assert (machine.state / "first.log").read_text().splitlines()[1:] == ["to stdout", "to stderr"]


def test_a_silent_command_still_shows_that_it_is_working(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "_HEARTBEAT_S", 0.01)
    fifo = machine.state.parent / "fifo"
    os.mkfifo(fifo)

    def wait_for_heartbeats(console: Console, interrupted: bool) -> None:
        shown = ""

        def release() -> None:
            nonlocal shown
            while shown.count("unpacking") < 3:
                shown += capsys.readouterr().out
            fifo.write_text("go")

        thread = threading.Thread(target=release)
        thread.start()
        console.run(["sh", "-c", f"echo unpacking; cat {fifo}"])
        thread.join()
        machine.product.touch()

    machine.first = wait_for_heartbeats
    machine.run()


def test_what_a_killed_setup_left_running_is_ended(tmp_path: Path) -> None:
    orphan = subprocess.Popen(["sleep", "60"], env={"CLAR_SETUP": str(tmp_path), "PATH": "/usr/bin:/bin"})
    bystander = subprocess.Popen(["sleep", "60"], env={"CLAR_SETUP": str(tmp_path / "other"), "PATH": "/usr/bin:/bin"})
    try:
        with alone(tmp_path):
            assert orphan.wait(timeout=10) == -9
            assert bystander.poll() is None
    finally:
        for process in (orphan, bystander):
            process.kill()
            process.wait()
