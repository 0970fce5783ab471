"""launch_ros: how a Node action starts its executable."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.launching import Launch

pytest.importorskip("launch_ros")

# An executable that keeps what it was started with, parameter files included (they may not outlive the launch).
_EXECUTABLE = f"""#!{sys.executable}
import json, os, sys
files = [sys.argv[i + 1] for i, argument in enumerate(sys.argv) if argument == "--params-file"]
started = {{"argv": sys.argv[1:], "files": [open(file).read() for file in files], "color": os.environ.get("COLOR")}}
with open(os.path.join(os.getcwd(), "started.json"), "w") as file:
    json.dump(started, file)
"""

_NODE = f"""#!{sys.executable}
import rclpy
rclpy.init()
node = rclpy.create_node("reader", automatically_declare_parameters_from_overrides=True)
for name, parameter in sorted(node.get_parameters_by_prefix("").items()):
    if not name.startswith(("use_sim_time", "start_type")):
        print(node.get_fully_qualified_name(), name, repr(parameter.value), flush=True)
print(node.resolve_topic_name("chatter"), flush=True)
rclpy.shutdown()
"""

_IMPORTS = """
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import ExecutableInPackage, FindPackagePrefix, FindPackageShare
from typing import List
"""


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    """A package ``robot`` with two executables; the environment in which it is found."""
    prefix = tmp_path / "prefix"
    index = prefix / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    (index / "robot").touch()
    (prefix / "share/robot").mkdir()
    libexec = prefix / "lib/robot"
    libexec.mkdir(parents=True)
    for name, text in (("keep", _EXECUTABLE), ("reader", _NODE)):
        (libexec / name).write_text(text)
        (libexec / name).chmod(stat.S_IRWXU)
    return {"AMENT_PREFIX_PATH": f"{prefix}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}"}


@pytest.fixture
def start(launch: Callable[..., Launch], package: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """``start(entities, *arguments)`` runs a launch file to its end; what ``keep`` was started with."""

    def run(entities: str, *arguments: str) -> dict[str, Any]:
        running = launch(entities, *arguments, imports=_IMPORTS, environment=package)
        assert running.ends() == 0, running.output
        started: dict[str, Any] = json.loads((running.folder / "started.json").read_text())
        return started

    return run


def pairs_after(argv: list[str], flag: str) -> list[str]:
    return [argv[index + 1] for index, argument in enumerate(argv) if argument == flag]


def test_names_remappings_and_arguments_are_passed(start: Callable[..., dict[str, Any]]) -> None:
    started = start(
        """
        Node(package="robot", executable="keep", name=["ca", "mera"], namespace="left",
             remappings=[("image", "/depth"), (LaunchConfiguration("x", default="info"), "/info")],
             arguments=["--verbose", LaunchConfiguration("x", default="y")], additional_env={"COLOR": "1"}),
        """
    )
    argv = started["argv"]
    assert argv[:2] == ["--verbose", "y"]
    rules = pairs_after(argv[argv.index("--ros-args") :], "-r")
    assert set(rules) == {"__node:=camera", "__ns:=/left", "image:=/depth", "info:=/info"}
    assert started["color"] == "1"


def test_a_plain_node_gets_no_rules(start: Callable[..., dict[str, Any]]) -> None:
    argv = start('Node(package="robot", executable="keep"),')["argv"]
    assert argv[0] == "--ros-args"
    assert pairs_after(argv, "-r") == []
    assert pairs_after(argv, "--params-file") == []


def test_ros_arguments_are_passed(start: Callable[..., dict[str, Any]]) -> None:
    argv = start('Node(package="robot", executable="keep", ros_arguments=["--log-level", "debug"]),')["argv"]
    assert pairs_after(argv[argv.index("--ros-args") :], "--log-level") == ["debug"]


def test_an_executable_may_be_a_path(start: Callable[..., dict[str, Any]]) -> None:
    started = start('Node(executable=ExecutableInPackage("keep", "robot"), name="any"),')
    assert "__node:=any" in started["argv"]


def test_parameter_files_keep_their_order(start: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "common.yaml").write_text("/**: {ros__parameters: {rate: 10}}")
    started = start(
        """
        DeclareLaunchArgument("config", default_value="common.yaml"),
        Node(package="robot", executable="keep", parameters=[
            PathJoinSubstitution([HERE, LaunchConfiguration("config")]),
            {"rate": 20},
            ParameterFile(os.path.join(HERE, "common.yaml")),
        ]),
        """
    )
    rates = [yaml.safe_load(text)["/**"]["ros__parameters"]["rate"] for text in started["files"]]
    assert rates == [10, 20, 10]


# What a launch file says, and what the node gets.
VALUES: dict[str, Any] = {
    "True": True,
    "3": 3,
    "2.5": 2.5,
    "'text'": "text",
    "'3'": "3",
    "'true'": "true",
    "''": "",
    "[1, 2]": [1, 2],
    "[1, 2.5]": [1.0, 2.5],
    "['a', 'b']": ["a", "b"],
    "[True, False]": [True, False],
    "LaunchConfiguration('number')": 7,
    "LaunchConfiguration('words')": "two words",
    "[LaunchConfiguration('words'), '!']": "two words!",
    "LaunchConfiguration('numbers')": [1.5, 2.5],
    "LaunchConfiguration('nothing')": "",
    "ParameterValue(LaunchConfiguration('number'), value_type=str)": "7",
    "ParameterValue(LaunchConfiguration('number'), value_type=float)": 7.0,
    "ParameterValue(LaunchConfiguration('truth'), value_type=bool)": True,
    "ParameterValue(LaunchConfiguration('numbers'), value_type=List[float])": [1.5, 2.5],
    "ParameterValue(0.5)": 0.5,
    "PythonExpression(['2 * ', LaunchConfiguration('number')])": 14,
}


def test_parameter_values_have_their_type(start: Callable[..., dict[str, Any]]) -> None:
    written = ", ".join(f"'p{index}': {value}" for index, value in enumerate(VALUES))
    started = start(
        f"""
        *[SetLaunchConfiguration(*item) for item in {{
            "number": "7", "words": "two words", "numbers": "[1.5, 2.5]", "truth": "true", "nothing": ""
        }}.items()],
        Node(package="robot", executable="keep", parameters=[{{{written}}}]),
        """
    )
    # Upstream tags sequences as tuples, which rcl reads like any other.
    text = started["files"][0].replace("!!python/tuple", "")
    read = yaml.safe_load(text)["/**"]["ros__parameters"]
    # As text, since 1 == 1.0 == True.
    assert {value: repr(read[f"p{index}"]) for index, value in enumerate(VALUES)} == {
        value: repr(expected) for value, expected in VALUES.items()
    }


def test_nested_names_are_joined_and_may_be_substitutions(start: Callable[..., dict[str, Any]]) -> None:
    started = start(
        """
        Node(package="robot", executable="keep", name="arm", namespace="/left/", parameters=[
            {"limits": {"step": 0.05, (LaunchConfiguration("x", default="t"), "ilt"): 0.3}}
        ]),
        """
    )
    values = yaml.safe_load(started["files"][0])
    assert values == {"/left/arm": {"ros__parameters": {"limits.step": 0.05, "limits.tilt": 0.3}}}


def test_a_value_that_no_parameter_can_have_is_an_error(launch: Callable[..., Launch], package: dict[str, str]) -> None:
    for wrong in ("None", "object()"):
        entities = f'Node(package="robot", executable="keep", parameters=[{{"value": {wrong}}}]),'
        run = launch(entities, imports=_IMPORTS, environment=package)
        assert run.ends() == 1, run.output


def test_rcl_reads_what_is_passed(launch: Callable[..., Launch], package: dict[str, str], ros_domain: int) -> None:
    pytest.importorskip("rclpy")
    run = launch(
        """
        Node(package="robot", executable="reader", name="arm", namespace="left", output="screen",
             remappings=[("chatter", "/said")],
             parameters=[{"rate": 10.0, "names": ["a", "b"]},
                         {"deep": {"flag": LaunchConfiguration("f", default="true")}}]),
        """,
        imports=_IMPORTS,
        environment=package,
    )
    assert run.ends() == 0, run.output
    for line in ("/left/arm rate 10.0", "/left/arm names ['a', 'b']", "/left/arm deep.flag True", "/said"):
        assert f"[reader-1] {line}\n" in run.output


def test_packages_are_found(launch: Callable[..., Launch], package: dict[str, str]) -> None:
    run = launch(
        'say(FindPackageShare("robot")), say(FindPackagePrefix("robot")),',
        imports=_IMPORTS,
        environment=package,
    )
    assert run.ends() == 0
    assert f"[echo-1] {run.folder}/prefix/share/robot\n" in run.output
    assert f"[echo-2] {run.folder}/prefix\n" in run.output


@pytest.mark.parametrize(
    ("node", "named"),
    [
        ('package="absent_robot", executable="keep"', "absent_robot"),
        ('package="robot", executable="absent_tool"', "absent_tool"),
    ],
)
def test_what_is_missing_is_named(
    launch: Callable[..., Launch], package: dict[str, str], node: str, named: str
) -> None:
    run = launch(f"Node({node}),", imports=_IMPORTS, environment=package)
    assert run.ends() == 1
    assert named in run.output
