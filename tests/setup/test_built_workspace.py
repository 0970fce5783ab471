"""What `source setup.bash` gives. Runs in the shell that `make test` made, so on whatever make setup built."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix, get_package_share_directory

ROOT = Path(__file__).parents[2]
SOURCED = {"ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTRTPS_DEFAULT_PROFILES_FILE", "MUJOCO_GL", "RMW_IMPLEMENTATION"}
SOURCED |= {
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
}
SOURCED |= {"_ROS_WHEELS_BOOTSTRAP_COMPLETE"}


def shell(command: str, *, cwd: Path = ROOT, program: str = "bash", env: Mapping[str, str] | None = None) -> str:
    """Output of a command in a shell that knows nothing of this project but LOCK; it must succeed."""
    bare = {name: value for name, value in os.environ.items() if name not in SOURCED}
    result = subprocess.run(
        [program, "-c", command], cwd=cwd, env={**bare, **(env or {})}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_every_package_imports_from_any_folder(tmp_path: Path) -> None:
    modules = "clar, clar_calibration, clar_core, clar_interfaces.msg, launch_ros, rclpy, tf2_ros, tf_transformations"
    shell(f'. "{ROOT}/setup.bash" && python -c "import {modules}"', cwd=tmp_path)


def test_commands_are_found(tmp_path: Path) -> None:
    found = shell(f'. "{ROOT}/setup.bash" && command -v clar ros2 python', cwd=tmp_path).splitlines()
    assert [Path(path).name for path in found] == ["clar", "ros2", "python"]


def test_sourcing_twice_changes_nothing() -> None:
    once = variables(shell(". ./setup.bash && env"))
    twice = variables(shell(". ./setup.bash && . ./setup.bash && env"))
    assert {name: once.get(name) for name in SOURCED} == {name: twice.get(name) for name in SOURCED}


def test_the_loader_never_searches_the_current_folder() -> None:
    assert "" not in variables(shell(". ./setup.bash && env"))["LD_LIBRARY_PATH"].split(":")


def test_what_the_caller_chose_is_kept() -> None:
    chosen = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "MUJOCO_GL": "egl", "FASTRTPS_DEFAULT_PROFILES_FILE": "/x.xml"}
    after = variables(shell(". ./setup.bash && env", env=chosen))
    assert {name: after[name] for name in chosen} == chosen


def test_discovery_stays_on_this_machine_by_default() -> None:
    after = variables(shell(". ./setup.bash && env"))
    assert after["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert Path(after["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh on this machine")
def test_zsh_can_source_it_too() -> None:
    shell('. ./setup.bash && python -c "import clar_interfaces.msg"', program="zsh")


def test_sourcing_without_a_build_says_what_to_run(tmp_path: Path) -> None:
    shutil.copy(ROOT / "setup.bash", tmp_path)
    result = subprocess.run(
        ["bash", "-c", ". ./setup.bash"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert f"run this first: make -C {tmp_path} setup" in result.stderr


@pytest.fixture(scope="module")
def nodes() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in distribution("clar").entry_points.select(group="console_scripts")}


def test_executables_run_under_the_interpreter_of_the_environment(nodes: Mapping[str, EntryPoint]) -> None:
    folder = Path(get_package_prefix("clar")) / "lib" / "clar"
    shebangs = {node: (folder / node).read_text().splitlines()[0] for node in nodes}
    # The system's interpreter would miss torch and franky.
    assert shebangs == dict.fromkeys(nodes, f"#!{sys.prefix}/bin/python")


def test_every_executable_has_a_main(nodes: Mapping[str, EntryPoint]) -> None:
    assert all(callable(point.load()) for point in nodes.values())


def test_launch_files_and_configuration_are_in_the_share_folder() -> None:
    share = Path(get_package_share_directory("clar"))
    for folder in ("launch", "config"):
        source = ROOT / "ros2_ws" / "src" / "clar" / folder
        wanted = {path.name for path in source.iterdir() if path.is_file()}
        assert {path.name for path in (share / folder).iterdir() if path.is_file()} == wanted
