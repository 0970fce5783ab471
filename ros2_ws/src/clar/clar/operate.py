"""``clar arm | start | stop | disarm | recover | status``: the operator's commands, straight to the arm node.

No other process stands between these commands and the arm: STOP works while manager, policy and camera are gone.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import Executor, ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from clar import names, qos
from clar.calls import CallError, call_successfully, wait_until
from clar_interfaces.msg import RobotState
from clar_interfaces.srv import Start

SERVICES = {
    "arm": names.SERVICE_ARM,
    "stop": names.SERVICE_STOP,
    "disarm": names.SERVICE_DISARM,
    "recover": names.SERVICE_RECOVER,
    "home": names.SERVICE_HOME,
    "return": names.SERVICE_RETURN,
    "gripper open": names.SERVICE_OPEN_GRIPPER,
    "gripper home": names.SERVICE_HOME_GRIPPER,
}
_MOTIONS = ("home", "return", "gripper open", "gripper home")
_MOTION_TIMEOUT_S = 40.0
MODES = {
    RobotState.MODE_DISARMED: "DISARMED",
    RobotState.MODE_ARMED: "ARMED",
    RobotState.MODE_RUNNING: "RUNNING",
    RobotState.MODE_HALTED: "HALTED",
}
_LEVELS = {DiagnosticStatus.OK: "ok", DiagnosticStatus.WARN: "WARN", DiagnosticStatus.ERROR: "ERROR"}
_STATUS_WAIT_S = 3.0
_DIAGNOSTICS_PERIOD_S = 1.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one operator command; returns 0 when the arm node did it, 1 when it refused or did not answer."""
    parsed = _parser().parse_args(arguments)
    with short_lived_node() as node:
        try:
            if parsed.command == "status":
                return _status(node)
            print(_operate(node, parsed))
        except CallError as error:
            print(f"clar {parsed.command}: {error}", file=sys.stderr)
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clar", description="Operate the arm of the running stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("arm", "allow motion: DISARMED -> ARMED"),
        ("start", "let one source command the arm: ARMED -> RUNNING"),
        ("stop", "stop the arm; the gripper keeps its grip"),
        ("disarm", "forbid motion"),
        ("recover", "clear the robot's errors after a halt; arm again afterwards"),
        ("home", "move slowly to the home joints of cell.yaml; only while ARMED"),
        ("return", "move slowly, straight, to where the last run started; only while ARMED"),
        ("gripper open", "open the gripper; it lets go"),
        ("gripper home", "let the gripper find its largest opening; it lets go"),
        ("status", "print the state of the arm and of every node"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--timeout",
            type=float,
            default=_MOTION_TIMEOUT_S if name in _MOTIONS else 10.0,
            metavar="SECONDS",
            help="wait this long (default %(default)g)",
        )
        if name == "start":
            command.add_argument(
                "owner",
                nargs="?",
                default=names.SOURCE_POLICY,
                help=f"source of the commands, e.g. policy or teleop (default {names.SOURCE_POLICY})",
            )
    return parser


@contextmanager
def short_lived_node(name: str = "clar_operate", *, threads: int = 1) -> Iterator[Node]:
    """A node whose callbacks run beside the caller, in one thread or in several."""
    context = rclpy.Context()
    context.init()
    node = Node(name, context=context, start_parameter_services=False, enable_rosout=False)
    executor: Executor
    if threads == 1:
        executor = SingleThreadedExecutor(context=context)
    else:
        executor = MultiThreadedExecutor(num_threads=threads, context=context)
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        context.try_shutdown()
        thread.join(timeout=2.0)
        executor.shutdown(timeout_sec=2.0)  # a thread that still runs at the interpreter's end aborts the process


def _spin(executor: Executor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


def _operate(node: Node, parsed: argparse.Namespace) -> str:
    if parsed.command == "start":
        request: Any = Start.Request(owner=parsed.owner)
        client = node.create_client(Start, names.SERVICE_START)
    else:
        request = Trigger.Request()
        client = node.create_client(Trigger, SERVICES[parsed.command])
    return call_successfully(client, request, parsed.timeout)


def _status(node: Node) -> int:
    states: list[RobotState] = []
    diagnostics: dict[str, DiagnosticStatus] = {}

    def on_diagnostics(message: DiagnosticArray) -> None:
        diagnostics.update({status.name: status for status in message.status})

    _listen(node, RobotState, names.TOPIC_ROBOT_STATE, states.append)
    _listen(node, DiagnosticArray, names.TOPIC_DIAGNOSTICS, on_diagnostics)
    wait_until(lambda: bool(states and diagnostics), _STATUS_WAIT_S)
    if diagnostics:
        time.sleep(_DIAGNOSTICS_PERIOD_S)  # every node speaks once a second
    print(describe(states[-1]) if states else f"arm: no state on {names.TOPIC_ROBOT_STATE}; is the stack up?")
    for name in sorted(diagnostics):
        status = diagnostics[name]
        phase = next((value.value for value in status.values if value.key == "phase"), "")
        print(f"{name:20} {_LEVELS.get(status.level, '?'):5} {phase:12} {status.message}")
    return 0 if states else 1


def _listen(node: Node, kind: type, topic: str, callback: Callable[[Any], object]) -> None:
    node.create_subscription(kind, topic, callback, qos.STATE)


def describe(state: RobotState) -> str:
    """The arm's state in a few lines, for people."""
    p = state.measured_pose.position
    owner = f", owner {state.owner}" if state.owner else ""
    lines = [
        f"arm: {MODES.get(state.mode, state.mode)}{owner}" + (f" ({state.reason})" if state.reason else ""),
        f"  TCP {p.x:.3f} {p.y:.3f} {p.z:.3f} m, gripper {state.gripper_width * 1e3:.0f} mm,"
        f" robot mode {state.robot_mode or 'unknown'}, control success rate {state.control_command_success_rate:.2f}",
        f"  since START: {state.clamped_commands} commands clamped, {state.rejected_commands} rejected",
    ]
    if state.errors:
        lines.append(f"  errors: {', '.join(state.errors)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
