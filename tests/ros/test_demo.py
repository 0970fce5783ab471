"""The demo around a stand-in for the launched stack: what it waits for, what it writes, and that nothing is left."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ros.stack_command import StackCommand, await_that


class Demo(StackCommand):
    def __init__(self, output: Path, *arguments: str) -> None:
        super().__init__("clar.demo.main", output, "--no-video", *arguments)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    demos: list[Demo] = []

    def begin(*arguments: str) -> Demo:
        demos.append(Demo(tmp_path / "demo", *arguments))
        return demos[-1]

    yield begin
    for demo in demos:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()
        for pid in demo.stack():
            os.kill(pid, signal.SIGKILL)


def test_a_good_run_is_reported_and_leaves_nothing_behind(
    ros2: Callable[[str], None], start: Callable[..., Demo]
) -> None:
    ros2("well")
    demo = start("--seeds", "1000001", "1000002", "1000003")
    code, text = demo.finish()
    assert code == 0, text
    assert demo.stack() == []
    summary = json.loads((demo.output / "summary.json").read_text())
    assert (summary["trials"], summary["successes"]) == (3, 2)
    assert summary["seeds"] == [1000001, 1000002, 1000003]
    assert 15 <= summary["ticks"] <= 40
    assert summary["capture_to_command_ms"]["p50"] == pytest.approx(40.0, abs=0.1)
    assert summary["stages_ms"]["policy"]["encode"]["p50"] == pytest.approx(5.0)
    assert summary["real_time_factor"] == pytest.approx(0.95)
    assert "time limit of 1 s" in text
    page = (demo.output / "report.html").read_text()
    assert "2 of 3" in page
    assert "clar demo place_cube_in_basin --seeds 1000001 1000002 1000003" in page
    log = (demo.output / "launch.log").read_text()
    assert "policy.launch.py hardware:=sim record:=true auto_arm:=true" in log


def test_a_policy_trained_here_is_found(
    ros2: Callable[[str], None], start: Callable[..., Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ros2("well")
    trained = tmp_path / "outputs" / "training" / "put_bread" / "best"
    trained.mkdir(parents=True)
    (trained / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    demo = start("put_bread", "--trials", "1")
    code, text = demo.finish()
    assert code == 0, text
    assert f"checkpoint:={trained}" in demo.log()


def test_seeds_are_fresh_unless_given(ros2: Callable[[str], None], start: Callable[..., Demo]) -> None:
    ros2("well")
    demo = start("--trials", "1")
    code, text = demo.finish()
    assert code == 0, text
    assert json.loads((demo.output / "summary.json").read_text())["seeds"][0] >= 1_000_000


def test_a_slow_simulator_fails_the_demo_by_name_and_is_reported(
    ros2: Callable[[str], None], start: Callable[..., Demo]
) -> None:
    ros2("slow_sim")
    demo = start("--trials", "1")
    code, text = demo.finish()
    assert code == 1
    assert "real-time factor: expected at least 0.8, measured 0.50" in text
    assert json.loads((demo.output / "summary.json").read_text())["real_time_factor"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("dies_early", "the stand-in's last words"),
        ("dies_in_trials", "the stand-in's last words"),
        ("fails", "could not be brought up"),
    ],
)
def test_a_stack_that_fails_is_quoted_and_no_result_is_written(
    ros2: Callable[[str], None], start: Callable[..., Demo], kind: str, words: str
) -> None:
    ros2(kind)
    demo = start("--trials", "2")
    code, text = demo.finish()
    assert code == 1
    assert words in text
    assert "Traceback" not in text
    assert demo.stack() == []
    assert not (demo.output / "summary.json").exists()


def test_a_result_of_an_earlier_run_does_not_survive_a_failed_one(
    ros2: Callable[[str], None], start: Callable[..., Demo], tmp_path: Path
) -> None:
    ros2("dies_early")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "summary.json").write_text("{}")
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    start("--trials", "1").finish()
    assert not (tmp_path / "demo" / "summary.json").exists()
    assert (tmp_path / "demo" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process(
    ros2: Callable[[str], None], start: Callable[..., Demo], number: signal.Signals
) -> None:
    ros2("endless")
    demo = start("--trials", "1")
    await_that(lambda: "arguments:" in demo.log())
    await_that(lambda: bool(demo.stack()))
    demo.process.send_signal(number)
    code, text = demo.finish()
    assert code == 130, text
    assert "Traceback" not in text
    assert demo.stack() == []


def test_what_ignores_signals_is_killed_and_named(ros2: Callable[[str], None], start: Callable[..., Demo]) -> None:
    ros2("stubborn")
    demo = start("--trials", "1")
    code, text = demo.finish()
    assert code == 0, text
    assert "had to be killed" in text
    assert "SIG_IGN" in text
    assert demo.stack() == []


def test_a_killed_demo_takes_the_stack_with_it(ros2: Callable[[str], None], start: Callable[..., Demo]) -> None:
    ros2("endless")
    demo = start("--trials", "1")
    await_that(lambda: "arguments:" in demo.log())
    await_that(lambda: bool(demo.stack()))
    time.sleep(0.5)
    demo.process.kill()
    demo.process.wait()
    await_that(lambda: demo.stack() == [])


def test_a_second_stack_on_the_domain_is_refused(
    ros2: Callable[[str], None], start: Callable[..., Demo], tmp_path: Path
) -> None:
    ros2("endless")
    first = start("--trials", "1")
    await_that(lambda: "trials began" in first.log())
    other = Demo(tmp_path / "other", "--trials", "1")
    try:
        code, text = other.finish()
    finally:
        first.process.send_signal(signal.SIGINT)
    assert code == 1
    assert "ROS_DOMAIN_ID=" in text
    assert first.finish()[0] == 130


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials", "0"], "--trials: expected at least 1"),
        (["no_such_task"], "unknown task 'no_such_task'"),
        (["put_bread"], "clar train --stores outputs/data/put_bread"),
    ],
)
def test_bad_input_is_named_before_anything_starts(
    ros2: Callable[[str], None], start: Callable[..., Demo], arguments: list[str], words: str
) -> None:
    ros2("well")
    demo = start(*arguments)
    code, text = demo.finish()
    assert code == 1
    assert words in text
    assert not (demo.output / "launch.log").exists()
