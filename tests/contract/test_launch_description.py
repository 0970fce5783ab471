"""launch: arguments, substitutions, conditions, scopes and includes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.launching import Launch, write_launch_file

pytest.importorskip("launch")

from launch import LaunchContext
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import (
    EnvironmentVariable,
    EqualsSubstitution,
    LaunchConfiguration,
    NotEqualsSubstitution,
    PathJoinSubstitution,
    PythonExpression,
    TextSubstitution,
)

Run = Callable[..., Launch]

ARGUMENT = """
DeclareLaunchArgument("hardware", default_value="real", choices=["real", "sim"], description="which robot"),
say("hardware is", LaunchConfiguration("hardware")),
"""


@pytest.fixture
def context() -> LaunchContext:
    context = LaunchContext()
    context.launch_configurations["device"] = "cpu"
    context.launch_configurations["rate"] = "10"
    return context


def test_an_argument_has_its_default(launch: Run) -> None:
    run = launch(ARGUMENT)
    assert run.ends() == 0
    assert "[echo-1] hardware is real" in run.output


def test_an_argument_is_set_from_outside(launch: Run) -> None:
    run = launch(ARGUMENT, "hardware:=sim")
    assert run.ends() == 0
    assert "[echo-1] hardware is sim" in run.output


def test_a_value_that_is_not_a_choice_is_an_error(launch: Run) -> None:
    run = launch(ARGUMENT, "hardware:=toy")
    assert run.ends() == 1
    assert '"hardware" provided value "toy" is not valid' in run.output
    assert "['real', 'sim']" in run.output
    assert "hardware is" not in run.output


def test_an_argument_without_default_is_required(launch: Run) -> None:
    run = launch('DeclareLaunchArgument("cell"), say("started"),')
    assert run.ends() == 1
    assert "cell" in run.output
    assert "started" not in run.output


def test_a_default_may_depend_on_another_argument(launch: Run) -> None:
    run = launch(
        """
        DeclareLaunchArgument("root", default_value="/data"),
        DeclareLaunchArgument("bag", default_value=[LaunchConfiguration("root"), "/bag"]),
        say(LaunchConfiguration("bag")),
        """,
        "root:=/tmp",
    )
    assert run.ends() == 0
    assert "] /tmp/bag" in run.output


def test_configurations_and_texts_become_text(context: LaunchContext) -> None:
    assert LaunchConfiguration("device").perform(context) == "cpu"
    assert LaunchConfiguration("absent", default="x").perform(context) == "x"
    assert LaunchConfiguration("absent", default=["on ", LaunchConfiguration("device")]).perform(context) == "on cpu"
    assert TextSubstitution(text="y").perform(context) == "y"
    with pytest.raises(Exception, match="absent"):
        LaunchConfiguration("absent").perform(context)


def test_paths_are_joined(context: LaunchContext) -> None:
    path = PathJoinSubstitution(["/share", LaunchConfiguration("device"), "config.yaml"])
    assert path.perform(context) == "/share/cpu/config.yaml"


def test_expressions_are_evaluated(context: LaunchContext) -> None:
    rate = LaunchConfiguration("rate")
    assert PythonExpression(["1.0 / ", rate]).perform(context) == "0.1"
    assert PythonExpression(["'", LaunchConfiguration("device"), "' == 'cpu'"]).perform(context) == "True"
    assert PythonExpression(["str(floor(", rate, " / 3))"]).perform(context) == "3"
    assert PythonExpression(["os.path.basename('/a/b')"], python_modules=["os"]).perform(context) == "b"


def test_environment_variables_are_read(context: LaunchContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAR_CONTRACT", "set")
    assert EnvironmentVariable("CLAR_CONTRACT").perform(context) == "set"
    assert EnvironmentVariable("CLAR_CONTRACT_ABSENT", default_value="none").perform(context) == "none"
    with pytest.raises(Exception, match="CLAR_CONTRACT_ABSENT"):
        EnvironmentVariable("CLAR_CONTRACT_ABSENT").perform(context)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [("a", "a", "true"), ("a", "b", "false"), ("1.0", "1", "true"), ("True", "1", "true"), (True, "false", "false")],
)
def test_equality_knows_texts_numbers_and_truth_values(
    context: LaunchContext, left: object, right: object, equal: str
) -> None:
    assert EqualsSubstitution(left, right).perform(context) == equal
    assert NotEqualsSubstitution(left, right).perform(context) != equal
    assert EqualsSubstitution(LaunchConfiguration("device"), "cpu").perform(context) == "true"


@pytest.mark.parametrize(
    ("text", "holds"), [("true", True), ("True", True), ("1", True), ("false", False), ("0", False)]
)
def test_conditions_read_truth_values(context: LaunchContext, text: str, holds: bool) -> None:
    assert IfCondition(text).evaluate(context) is holds
    assert UnlessCondition([TextSubstitution(text=text)]).evaluate(context) is not holds


def test_a_condition_of_another_text_is_an_error(context: LaunchContext) -> None:
    with pytest.raises(Exception, match="maybe"):
        IfCondition("maybe").evaluate(context)


def test_actions_without_their_condition_do_nothing(launch: Run) -> None:
    run = launch(
        """
        DeclareLaunchArgument("record", default_value="false"),
        say("recording", condition=IfCondition(LaunchConfiguration("record"))),
        say("idle", condition=UnlessCondition(LaunchConfiguration("record"))),
        GroupAction([say("grouped")], condition=IfCondition(LaunchConfiguration("record"))),
        """
    )
    assert run.ends() == 0
    assert "idle" in run.output
    assert "recording" not in run.output
    assert "grouped" not in run.output


def test_a_group_keeps_what_it_sets_to_itself(launch: Run) -> None:
    run = launch(
        """
        SetLaunchConfiguration("a", "outer"),
        GroupAction([
            SetLaunchConfiguration("a", "inner"),
            SetLaunchConfiguration("only_inner", "x"),
            SetEnvironmentVariable("CLAR_CONTRACT", "inner"),
            say("in", LaunchConfiguration("a"), EnvironmentVariable("CLAR_CONTRACT")),
        ]),
        say("out", LaunchConfiguration("a"), LaunchConfiguration("only_inner", default="unset"),
            EnvironmentVariable("CLAR_CONTRACT", default_value="unset")),
        GroupAction([SetLaunchConfiguration("a", "leaked")], scoped=False),
        say("after", LaunchConfiguration("a")),
        GroupAction([say("given", LaunchConfiguration("b"))], launch_configurations={"b": "value"}),
        """
    )
    assert run.ends() == 0
    for line in ("in inner inner", "out outer unset unset", "after leaked", "given value"):
        assert f"] {line}\n" in run.output


def test_an_include_gets_its_arguments(launch: Run, tmp_path: Path) -> None:
    write_launch_file(
        tmp_path / "inner.launch.py",
        """
        DeclareLaunchArgument("camera", default_value="builtin"),
        DeclareLaunchArgument("rate", default_value="30"),
        say("inner", LaunchConfiguration("camera"), LaunchConfiguration("rate"), LaunchConfiguration("outer")),
        """,
    )
    run = launch(
        """
        SetLaunchConfiguration("outer", "seen"),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution([HERE, "inner.launch.py"])),
            launch_arguments={"camera": LaunchConfiguration("outer"), "rate": "15"}.items(),
        ),
        """
    )
    assert run.ends() == 0
    assert "] inner seen 15 seen\n" in run.output


def test_a_missing_include_is_an_error(launch: Run) -> None:
    run = launch('IncludeLaunchDescription(PythonLaunchDescriptionSource("/absent/nothing.launch.py")),')
    assert run.ends() == 1
    assert "nothing.launch.py" in run.output


def test_a_function_decides_at_launch_time(launch: Run) -> None:
    run = launch(
        """
        DeclareLaunchArgument("count", default_value="1"),
        OpaqueFunction(function=lambda context, word: [
            say(word, str(i)) for i in range(int(LaunchConfiguration("count").perform(context)))
        ], args=["number"]),
        OpaqueFunction(function=lambda context: None),
        """,
        "count:=2",
    )
    assert run.ends() == 0
    assert "number 0" in run.output
    assert "number 1" in run.output


def test_an_exception_ends_the_launch(launch: Run) -> None:
    run = launch(
        """
        child("running.notes"),
        OpaqueFunction(function=lambda context: 1 / 0),
        """
    )
    assert run.ends() == 1
    assert "division by zero" in run.output


def test_messages_are_logged(launch: Run) -> None:
    run = launch('LogInfo(msg=["device ", LaunchConfiguration("device", default="auto")]),')
    assert run.ends() == 0
    assert "device auto" in run.output
