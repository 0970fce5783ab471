"""The stand-ins themselves: marked, honest about their limits, leaving nothing behind. Skipped for the real ones."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable

import pytest

from tests.contract.launching import Launch, is_alive

Run = Callable[..., Launch]

PACKAGES = ("tf2_ros", "tf2_py", "sensor_msgs_py", "tf_transformations", "launch", "launch_ros", "ros2cli")


def is_stand_in(name: str) -> bool:
    try:
        return bool(getattr(importlib.import_module(name), "__clar_stand_in__", False))
    except ModuleNotFoundError:
        return False


needs_stand_in_launch = pytest.mark.skipif(not is_stand_in("launch_ros"), reason="the real launch is installed")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_of_the_underlay_is_marked(name: str) -> None:
    module = pytest.importorskip(name)
    if f"{os.sep}underlay{os.sep}" not in os.path.realpath(module.__file__ or ""):
        pytest.skip(f"the real {name} is installed")
    assert module.__clar_stand_in__ is True


@needs_stand_in_launch
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("launch", "LaunchIntrospector"),
        ("launch.actions", "UnsetEnvironmentVariable"),
        ("launch.substitutions", "Command"),
        ("launch.conditions", "LaunchConfigurationEquals"),
        ("launch.event_handlers", "OnProcessIO"),
        ("launch_ros.actions", "LifecycleNode"),
        ("launch_ros.descriptions", "ComposableNode"),
    ],
)
def test_a_name_outside_the_subset_is_refused_by_name(module: str, name: str) -> None:
    with pytest.raises(ImportError, match=rf"{module}\.{name} is outside the subset"):
        exec(f"from {module} import {name}", {})


@pytest.mark.skipif(not is_stand_in("tf2_ros"), reason="the real tf2_ros is installed")
def test_names_outside_tf2_ros_are_refused_by_name() -> None:
    with pytest.raises(ImportError, match=r"tf2_ros\.BufferClient is outside the subset"):
        exec("from tf2_ros import BufferClient", {})


@needs_stand_in_launch
def test_an_argument_outside_the_subset_is_refused_by_name() -> None:
    from launch.actions import ExecuteProcess, GroupAction
    from launch_ros.actions import Node
    from launch_ros.descriptions import ParameterFile

    with pytest.raises(TypeError, match="cached_output"):
        ExecuteProcess(cmd=["true"], cached_output=True)
    with pytest.raises(TypeError, match="prefix"):
        Node(executable="true", prefix="gdb")
    with pytest.raises(NotImplementedError, match="output as a dictionary"):
        ExecuteProcess(cmd=["true"], output={"both": "screen"})
    with pytest.raises(NotImplementedError, match="forwarding"):
        GroupAction([], forwarding=False)
    with pytest.raises(NotImplementedError, match="allow_substs"):
        ParameterFile("a.yaml", allow_substs=True)


@needs_stand_in_launch
def test_an_output_outside_the_subset_is_refused_by_name(launch: Run) -> None:
    run = launch('say("a"), ExecuteProcess(cmd=["true"], output="own_log"),')
    assert run.ends() == 1
    assert "output='own_log' of process true" in run.output


@needs_stand_in_launch
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_process_is_left_whatever_ends_the_launch(launch: Run, number: signal.Signals) -> None:
    run = launch(
        """
        child("a.notes", "--grandchild", os.path.join(HERE, "grandchild.notes"), sigterm_timeout="0.5"),
        child("b.notes", respawn=True),
        """
    )
    pids = [run.pid(name) for name in ("a.notes", "b.notes", "grandchild.notes")]
    assert run.ends(number) == (0 if number == signal.SIGINT else 1)
    assert not any(is_alive(pid) for pid in pids)
    assert run.notes("a.notes")[1:2] == ["SIGINT"]
    assert run.notes("grandchild.notes")[1:] == ["SIGINT", "SIGTERM"]


@needs_stand_in_launch
def test_what_a_killed_process_leaves_behind_is_ended(launch: Run) -> None:
    run = launch('child("a.notes", "--grandchild", os.path.join(HERE, "grandchild.notes")), child("b.notes"),')
    grandchild = run.pid("grandchild.notes")
    os.kill(run.pid("a.notes"), signal.SIGKILL)
    run.wait_until(lambda: not is_alive(grandchild))
    assert is_alive(run.pid("b.notes"))
    run.wait_until(lambda: "exit code -9" in run.output)
    assert "left 1 process(es) behind" in run.output


@needs_stand_in_launch
def test_processes_are_interrupted_when_the_launch_is_killed(launch: Run) -> None:
    run = launch('child("a.notes"),')
    pid = run.pid("a.notes")
    run.ends(signal.SIGKILL)
    run.wait_until(lambda: not is_alive(pid))
    assert run.notes("a.notes")[1:] == ["SIGINT"]


@needs_stand_in_launch
def test_the_launch_fails_when_a_required_process_does(launch: Run) -> None:
    run = launch('child("other.notes"), child("required.notes", "--exit", "3", on_exit=Shutdown()),')
    assert run.ends() == 1


@needs_stand_in_launch
def test_a_process_whose_exit_ends_the_launch_is_not_started_again(launch: Run) -> None:
    run = launch('child("once.notes", "--exit", "0", respawn=True, on_exit=Shutdown()),')
    assert run.ends() == 0
    assert len(run.notes("once.notes")) == 1


@needs_stand_in_launch
def test_a_command_that_cannot_be_started_ends_the_launch(launch: Run) -> None:
    run = launch('child("other.notes"), ExecuteProcess(cmd=["/absent/tool"]),')
    assert run.ends() == 1
    assert "/absent/tool" in run.output


@needs_stand_in_launch
def test_a_missing_parameter_file_ends_the_launch(launch: Run) -> None:
    run = launch(
        'Node(executable="true", parameters=["/absent/arm.yaml"]),', imports="from launch_ros.actions import Node"
    )
    assert run.ends() == 1
    assert "parameter file '/absent/arm.yaml' does not exist" in run.output


@needs_stand_in_launch
def test_processes_that_left_their_group_do_not_keep_the_launch_waiting(launch: Run) -> None:
    run = launch(
        """
        ExecuteProcess(cmd=[
            sys.executable, "-c",
            "import subprocess, sys; subprocess.Popen([sys.executable, *sys.argv[1:]], start_new_session=True)",
            CHILD, os.path.join(HERE, "d.notes"),
        ]),
        """
    )
    assert run.ends() == 0
    assert is_alive(run.pid("d.notes"))


@pytest.mark.skipif(not is_stand_in("tf2_ros"), reason="the real tf2_ros is installed")
def test_a_changed_static_transform_is_refused(ros_domain: int) -> None:
    import rclpy
    import tf2_ros
    from geometry_msgs.msg import TransformStamped

    context = rclpy.Context()
    context.init()
    try:
        broadcaster = tf2_ros.StaticTransformBroadcaster(rclpy.create_node("sender", context=context))
        first, second = TransformStamped(child_frame_id="camera"), TransformStamped(child_frame_id="camera")
        broadcaster.sendTransform(first)
        broadcaster.sendTransform(first)
        second.transform.translation.x = 1.0
        with pytest.raises(ValueError, match="'camera' was already sent"):
            broadcaster.sendTransform(second)
    finally:
        context.shutdown()


def test_launch_starts_quickly() -> None:
    if not is_stand_in("launch_ros"):
        pytest.skip("the real launch is installed")
    # The launch process must stay light beside the nodes: neither ROS nor numerics belong in it.
    code = (
        "import sys, launch, launch_ros.actions; sys.exit(any(m in sys.modules for m in ('rclpy', 'numpy', 'torch')))"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
