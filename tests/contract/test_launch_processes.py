"""launch: processes, what they say, how they are started again and how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.contract.launching import Launch, is_alive

pytest.importorskip("launch")

Run = Callable[..., Launch]


def test_output_is_shown_line_by_line_with_the_name_of_the_process(launch: Run) -> None:
    run = launch(
        """
        say("first"),
        ExecuteProcess(cmd=["sh", "-c", "printf 'a\\nb'; echo c >&2"], name="speaker", output="screen"),
        """
    )
    assert run.ends() == 0
    for line in ("[echo-1] first", "[speaker-2] a", "[speaker-2] b", "[speaker-2] c"):
        assert f"{line}\n" in run.output


def test_logged_output_shows_errors_only(launch: Run) -> None:
    run = launch('ExecuteProcess(cmd=["sh", "-c", "echo quiet; echo loud >&2"], output="log"),')
    assert run.ends() == 0
    assert "] loud" in run.output
    assert "] quiet" not in run.output
    assert any("] quiet" in log.read_text() for log in (run.folder / "log").glob("*/launch.log"))


def test_all_output_can_be_asked_for_from_outside(launch: Run) -> None:
    run = launch(
        'ExecuteProcess(cmd=["echo", "quiet"], output="log"),', environment={"OVERRIDE_LAUNCH_PROCESS_OUTPUT": "both"}
    )
    assert run.ends() == 0
    assert "] quiet" in run.output


def test_environment_and_folder_of_a_process(launch: Run) -> None:
    run = launch(
        """
        SetEnvironmentVariable("CLAR_A", "a"),
        ExecuteProcess(cmd=["sh", "-c", "echo $CLAR_A $CLAR_B $CLAR_OUTER; pwd"], output="screen", cwd="/",
                       additional_env={"CLAR_B": "b"}),
        ExecuteProcess(cmd=["/bin/sh", "-c", "echo only $CLAR_A$CLAR_C"], output="screen", env={"CLAR_C": "c"}),
        ExecuteProcess(cmd=["echo", "$CLAR_A"], output="screen", shell=True),
        """,
        environment={"CLAR_OUTER": "outer"},
    )
    assert run.ends() == 0
    for line in ("[sh-1] a b outer", "[sh-1] /", "[sh-2] only c", "[echo-3] a"):
        assert f"{line}\n" in run.output


def test_the_launch_ends_when_its_processes_have(launch: Run) -> None:
    run = launch('say("done"),')
    assert run.ends() == 0
    assert "process started with pid" in run.output
    assert "process has finished cleanly" in run.output


def test_a_death_is_reported_and_does_not_end_the_others(launch: Run) -> None:
    run = launch('child("fragile.notes", "--exit", "3"), child("other.notes"),')
    run.wait_until(lambda: "process has died" in run.output)
    assert "exit code 3" in run.output
    assert is_alive(run.pid("other.notes"))
    run.ends(signal.SIGINT)


def test_a_required_process_takes_the_others_along(launch: Run) -> None:
    run = launch(
        """
        child("other.notes"),
        TimerAction(period=1.0, actions=[child("required.notes", "--exit", "0", on_exit=Shutdown(reason="over"))]),
        """
    )
    other = run.pid("other.notes")
    assert run.ends() == 0
    assert "SIGINT" in run.notes("other.notes")
    assert not is_alive(other)
    assert "process[required.notes-2] was required: shutting down" in run.output


def test_the_exit_of_a_process_can_start_another(launch: Run) -> None:
    run = launch(
        """
        first := child("first.notes", "--exit", "0"),
        RegisterEventHandler(OnProcessExit(target_action=first, on_exit=[say("second")])),
        RegisterEventHandler(OnProcessExit(target_action=first, on_exit=lambda event, context: [
            say("status", str(event.returncode), event.process_name)
        ])),
        """
    )
    assert run.ends() == 0
    assert "] second\n" in run.output
    assert "] status 0 first.notes-1\n" in run.output


def test_the_start_of_a_process_and_the_end_of_the_launch_can_be_handled(launch: Run) -> None:
    run = launch(
        """
        RegisterEventHandler(OnProcessStart(on_start=lambda event, context: LogInfo(msg=f"saw {event.process_name}"))),
        RegisterEventHandler(OnShutdown(on_shutdown=lambda event, context: LogInfo(msg=f"because {event.reason}"))),
        child("a.notes", "--exit", "0", on_exit=EmitEvent(event=ShutdownEvent(reason="enough"))),
        """.replace("ShutdownEvent", "__import__('launch.events').events.Shutdown")
    )
    assert run.ends() == 0
    assert "saw a.notes-1" in run.output
    assert "because enough" in run.output


def test_a_process_is_started_again_until_the_launch_ends(launch: Run) -> None:
    run = launch('child("again.notes", "--exit", "1", respawn=True, respawn_delay=0.1),')
    run.wait_until(lambda: len(run.notes("again.notes")) >= 3)
    assert run.ends(signal.SIGINT) == 0


def test_a_process_killed_is_started_again(launch: Run) -> None:
    run = launch('child("again.notes", respawn=True),')
    first = run.pid("again.notes")
    os.kill(first, signal.SIGKILL)
    run.wait_until(lambda: len(run.notes("again.notes")) == 2)
    assert run.ends(signal.SIGINT) == 0
    assert run.notes("again.notes")[2:] == ["SIGINT"]


def test_timers_wait_and_do_not_keep_a_launch_alive_that_was_told_to_end(launch: Run) -> None:
    run = launch('TimerAction(period=0.2, actions=[say("late")]), TimerAction(period=3600.0, actions=[say("never")]),')
    run.wait_until(lambda: "] late" in run.output)
    assert run.ends(signal.SIGINT) == 0


def test_an_interrupt_reaches_every_process_once(launch: Run) -> None:
    run = launch('child("a.notes"), child("b.notes"), child("c.notes", respawn=True),')
    pids = [run.pid(name) for name in ("a.notes", "b.notes", "c.notes")]
    assert run.ends(signal.SIGINT) == 0
    for name in ("a.notes", "b.notes", "c.notes"):
        assert run.notes(name)[1:] == ["SIGINT"]
    assert not any(is_alive(pid) for pid in pids)


def test_a_process_that_does_not_listen_is_ended_harder(launch: Run) -> None:
    run = launch(
        """
        child("stubborn.notes", "--ignore", "SIGINT", sigterm_timeout="0.3", sigkill_timeout="5"),
        child("deaf.notes", "--ignore", "SIGINT", "SIGTERM", sigterm_timeout="0.3", sigkill_timeout="0.3"),
        """
    )
    pids = [run.pid("stubborn.notes"), run.pid("deaf.notes")]
    assert run.ends(signal.SIGINT) == 0
    assert run.notes("stubborn.notes")[1:] == ["SIGINT", "SIGTERM"]
    assert run.notes("deaf.notes")[1:] == ["SIGINT", "SIGTERM"]
    assert not any(is_alive(pid) for pid in pids)
    assert "escalating to 'SIGKILL'" in run.output
