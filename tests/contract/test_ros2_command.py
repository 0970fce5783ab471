"""The ros2 command: launch, run and pkg."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.launching import CHILD, Launch, is_alive, write_launch_file

pytestmark = pytest.mark.skipif(shutil.which("ros2") is None, reason="no ros2 command is installed")

ENTITIES = """
DeclareLaunchArgument("hardware", default_value="real", choices=["real", "sim"], description="Which robot"),
DeclareLaunchArgument("instruction", default_value=[LaunchConfiguration("hardware"), " robot"]),
DeclareLaunchArgument("cell"),
say("hardware", LaunchConfiguration("hardware"), "cell", LaunchConfiguration("cell")),
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where a package ``robot`` with a launch file and an executable is found."""
    prefix = tmp_path / "prefix"
    for folder in ("share/ament_index/resource_index/packages", "share/robot/launch", "lib/robot"):
        (prefix / folder).mkdir(parents=True)
    (prefix / "share/ament_index/resource_index/packages/robot").touch()
    write_launch_file(prefix / "share/robot/launch/robot.launch.py", ENTITIES)
    executable = prefix / "lib/robot/child"
    executable.write_text(f'#!/bin/sh\nexec {sys.executable} {CHILD} "$@"\n')
    executable.chmod(stat.S_IRWXU)
    return {
        **os.environ,
        "AMENT_PREFIX_PATH": f"{prefix}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}",
        "ROS_LOG_DIR": str(tmp_path / "log"),
    }


@pytest.fixture
def ros2(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``ros2`` to its end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ros2", *arguments],
            env=environment,
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Runs ``ros2`` beside the test."""
    running: list[Launch] = []

    def run(*arguments: str) -> Launch:
        running.append(Launch(["ros2", *arguments], tmp_path, environment))
        return running[-1]

    yield run
    for one in running:
        one.kill()


Ros2 = Callable[..., subprocess.CompletedProcess[str]]


def test_a_launch_file_of_a_package_is_run_with_arguments(ros2: Ros2) -> None:
    done = ros2("launch", "robot", "robot.launch.py", "hardware:=sim", "cell:=a.yaml", "cell:=b.yaml")
    assert done.returncode == 0, done.stderr
    assert "[echo-1] hardware sim cell b.yaml" in done.stdout


def test_a_launch_file_is_run_by_its_path(ros2: Ros2, tmp_path: Path) -> None:
    path = write_launch_file(tmp_path / "own.launch.py", ENTITIES)
    done = ros2("launch", str(path), "cell:=c.yaml")
    assert done.returncode == 0, done.stderr
    assert "hardware real cell c.yaml" in done.stdout


@pytest.mark.parametrize("flag", ["--show-args", "-s"])
def test_arguments_are_shown_with_description_choices_and_default(ros2: Ros2, flag: str) -> None:
    done = ros2("launch", flag, "robot", "robot.launch.py")
    assert done.returncode == 0
    assert done.stdout.startswith("Arguments (pass arguments as '<name>:=<value>'):\n")
    assert "\n    'hardware':\n        Which robot. Valid choices are: ['real', 'sim']\n" in done.stdout
    assert "        (default: 'real')\n" in done.stdout
    assert "        (default: LaunchConfig('hardware') + ' robot')\n" in done.stdout
    assert done.stdout.endswith("'cell':\n        no description given\n")


def test_the_flag_may_follow_the_file(ros2: Ros2) -> None:
    assert "'hardware':" in ros2("launch", "robot", "robot.launch.py", "--show-args").stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("robot", "absent.launch.py"), "absent.launch.py"),
        (("absent_robot", "robot.launch.py"), "absent_robot"),
        (("robot", "robot.launch.py", "hardware=sim"), "hardware=sim"),
        (("robot", "robot.launch.py"), "cell"),
    ],
)
def test_what_is_wrong_is_named(ros2: Ros2, arguments: tuple[str, ...], named: str) -> None:
    done = ros2("launch", *arguments)
    assert done.returncode != 0
    assert named in done.stdout + done.stderr


def test_an_interrupt_ends_all(start: Callable[..., Launch], tmp_path: Path) -> None:
    path = write_launch_file(tmp_path / "own.launch.py", 'child("a.notes"), child("b.notes"),')
    run = start("launch", "--noninteractive", str(path))
    pids = [run.pid("a.notes"), run.pid("b.notes")]
    assert run.ends(signal.SIGINT) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert run.notes("a.notes")[1:] == ["SIGINT"]


def test_an_executable_is_run_with_its_arguments_and_status(ros2: Ros2, tmp_path: Path) -> None:
    done = ros2("run", "robot", "child", "a.notes", "--exit", "3", "--ros-args", "-r", "__node:=x")
    assert done.returncode == 3
    assert (tmp_path / "a.notes").exists()


def test_an_interrupt_reaches_an_executable(start: Callable[..., Launch]) -> None:
    run = start("run", "robot", "child", "a.notes")
    pid = run.pid("a.notes")
    os.kill(pid, signal.SIGINT)
    assert run.ends() == 0
    assert run.notes("a.notes")[1:] == ["SIGINT"]


def test_a_missing_executable_is_named(ros2: Ros2) -> None:
    for package, executable in (("robot", "absent_tool"), ("absent_robot", "child")):
        done = ros2("run", package, executable)
        assert done.returncode != 0
        assert done.stdout + done.stderr


def test_packages_are_shown(ros2: Ros2, tmp_path: Path) -> None:
    assert ros2("pkg", "prefix", "robot").stdout.strip() == str(tmp_path / "prefix")
    assert ros2("pkg", "prefix", "--share", "robot").stdout.strip() == str(tmp_path / "prefix/share/robot")
    assert "robot" in ros2("pkg", "list").stdout.split()
    assert ros2("pkg", "executables", "robot").stdout.strip() == "robot child"
    assert ros2("pkg", "prefix", "absent_robot").returncode != 0
