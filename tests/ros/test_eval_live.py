"""The evaluation on the live stack around a stand-in for it: order, journal, report, and that nothing is left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clar_core.evaluation.trials import LIVE_SEEDS
from clar_core.training.checkpoints import save_checkpoint
from tests.core.training.policies import tiny_checkpoint
from tests.ros.stack_command import StackCommand, await_that


@pytest.fixture
def checkpoints(tmp_path: Path) -> tuple[str, str]:
    for name, seed in (("first", 0), ("second", 1)):
        checkpoint = tiny_checkpoint(seed=seed)
        checkpoint.provenance["tasks"] = ["place_cube_in_basin"]
        save_checkpoint(tmp_path / name, checkpoint)
    return str(tmp_path / "first"), str(tmp_path / "second")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., StackCommand]]:
    commands: list[StackCommand] = []

    def begin(*arguments: str) -> StackCommand:
        known_by = f"checkpoint:={tmp_path}"
        commands.append(StackCommand("clar.evaluation.main", tmp_path / "out", *arguments, known_by=known_by))
        return commands[-1]

    yield begin
    for command in commands:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()
        for pid in command.stack():
            os.kill(pid, signal.SIGKILL)


def test_two_policies_are_compared_without_the_operator_knowing_who_drives(
    ros2: Callable[[str], None], start: Callable[..., StackCommand], checkpoints: tuple[str, str]
) -> None:
    ros2("well")
    first, second = checkpoints
    arguments = (first, "--compare", second, "--trials", "1")
    code, text = start(*arguments).finish()
    assert code == 0, text
    results = json.loads((Path(first).parent / "out" / "results.json").read_text())
    assert [(r["contender"], r["tasks"]["place_cube_in_basin"]["trials"]) for r in results["results"]] == [
        ("policy", 1),
        ("compared", 1),
    ]
    assert results["comparison"]["over_all"]["both"] == 1
    assert results["evaluation"]["first_seed"] == LIVE_SEEDS
    running = text[: text.index("policy ")]
    assert "trial 2" in running
    assert "first" not in running.replace("first_seed", "")
    assert "second" not in running
    page = (Path(first).parent / "out" / "report.html").read_text()
    assert "through the live stack in the simulated cell" in page
    assert "No difference between" in page
    code, text = start(*arguments).finish()
    assert code == 0, text
    assert "2 trials, 2 are done" in text


def test_an_interrupted_evaluation_leaves_no_process_and_can_go_on(
    ros2: Callable[[str], None], start: Callable[..., StackCommand], checkpoints: tuple[str, str]
) -> None:
    ros2("endless")
    command = start(checkpoints[0], "--trials", "1")
    await_that(lambda: "arguments:" in command.log())
    await_that(lambda: bool(command.stack()))
    command.process.send_signal(signal.SIGINT)
    code, text = command.finish()
    assert code == 130, text
    assert "the same command goes on" in text
    assert "Traceback" not in text
    assert command.stack() == []


def test_trials_of_a_simulator_that_is_too_slow_do_not_count(
    ros2: Callable[[str], None], start: Callable[..., StackCommand], checkpoints: tuple[str, str]
) -> None:
    ros2("slow_sim")
    code, text = start(checkpoints[0], "--trials", "1").finish()
    assert code == 1
    assert "trial 1 does not count: real-time factor: expected at least 0.8, measured 0.50" in text
    assert not (Path(checkpoints[0]).parent / "out" / "trials.jsonl").exists()


def test_the_papers_suite_names_the_tasks_that_have_no_policy(
    ros2: Callable[[str], None], start: Callable[..., StackCommand], tmp_path: Path
) -> None:
    ros2("well")
    (tmp_path / "runs").mkdir()
    code, text = start(str(tmp_path / "runs"), "--suite", "paper").finish()
    assert code == 1
    assert "no checkpoint for task 'pick_banana'" in text
    assert "clar data collect --task pick_banana" in text
