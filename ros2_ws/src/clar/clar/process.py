"""A process of one node: it starts the node, spins it, and ends in good order.

def main() -> int:
return run_node(CloudNode)
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import rclpy
from rclpy.executors import Executor, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from clar.node import EXPECTED, LifecycleNode, SimpleNode
from clar.parameters import ParameterError
from clar.stop_request import StopRequest, stop_on_signals
from clar.transport import keep_off_shared_memory

_AUTOSTART_POLL_S = 0.2


def run_node(
    node_type: Callable[[], SimpleNode | LifecycleNode],
    *,
    arguments: Sequence[str] | None = None,
    threads: int = 1,
    shutdown_limit_s: float = 4.0,
    niceness: int = 0,
    shared_memory: bool = True,
) -> int:
    """Run one node until SIGINT, SIGTERM or its own ``request_stop``; returns the exit status of the process.

    Signals are taken over from rclpy (``SignalHandlerOptions.NO``): on the first one callbacks stop, then the node
    deactivates and cleans up with a working ROS context, so that it can still publish, ramp down and close files. A
    second signal, or an end that takes longer than ``shutdown_limit_s``, ends the process at once.

    Args:
        node_type: makes the node.
        arguments: ROS arguments; ``sys.argv`` by default.
        threads: 1 for a single-threaded executor, more for callback groups that must not wait for each other.
        shutdown_limit_s: seconds from the signal to the end of the process.
        niceness: scheduling niceness of the process. On a busy machine, what does not lie between the camera and the
            arm must wait: the recorder has its queue, the policy has 100 ms. Negative values need a privilege.
        shared_memory: whether messages may go through shared memory, as images should. There a listener that is frozen
            can hold this process up: see :mod:`clar.transport`.
    """
    if niceness:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, niceness)
    kept = "" if shared_memory else keep_off_shared_memory()
    rclpy.init(args=list(arguments) if arguments is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    if kept:
        get_logger(getattr(node_type, "node_name", "clar")).warning(
            f"{kept}. The transport is left as it is: where that is shared memory of Fast DDS, a frozen listener can "
            "hold this process up for a second"
        )
    stop = StopRequest()
    stop_on_signals(stop)
    try:
        return _run(node_type, stop, threads, shutdown_limit_s)
    finally:
        rclpy.try_shutdown()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the interpreter is on its way out, with this exit status


def _run(node_type: Callable[[], Any], stop: StopRequest, threads: int, shutdown_limit_s: float) -> int:
    try:
        node = node_type()
    except ParameterError as error:
        get_logger(getattr(node_type, "node_name", "clar")).error(f"refuses to start, parameters: {error}")
        return 1
    except EXPECTED as error:
        get_logger(getattr(node_type, "node_name", "clar")).error(f"refuses to start: {error}")
        return 1
    node.stop_requested = stop
    executor = SingleThreadedExecutor() if threads == 1 else MultiThreadedExecutor(num_threads=threads)
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor, node), name="executor", daemon=True)
    spinner.start()
    executor.create_task(_start, node)
    stop.wait()
    watchdog = threading.Timer(shutdown_limit_s, _abort, (node.get_name(), shutdown_limit_s))
    watchdog.daemon = True
    watchdog.start()
    executor.create_task(lambda: None)  # wakes the executor, which then sees the stop
    spinner.join()
    failed = node.failed
    clean = node.end_active() & node.end_configured()
    executor.remove_node(node)
    node.destroy_node()
    executor.shutdown()  # left to the garbage collector, it may outlive its context
    watchdog.cancel()
    return 0 if clean and not failed else 1


def _spin(executor: Executor, node: Any) -> None:
    """Spin until the stop. The main thread stays free for signals, which Python delivers only there."""

    def spin() -> None:
        while not node.stop_requested.is_set():
            executor.spin_once()

    node.guarded("a callback", spin)


def _start(node: Any) -> None:
    """Bring a simple node, or one with ``autostart``, up; the process ends with an error when it refuses."""
    if isinstance(node, LifecycleNode):
        if not node.parameters.autostart:
            return
        configured = node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        activate = node.trigger_activate
    else:
        configured = node.start_configured()
        activate = node.start_active
    if not configured:
        node.stop_requested.set()
        return

    def activate_when_ready() -> None:
        if node.waiting_for():
            return
        node.destroy_timer(poll)
        if activate() not in (True, TransitionCallbackReturn.SUCCESS):
            node.stop_requested.set()

    poll = node.create_timer(_AUTOSTART_POLL_S, activate_when_ready)
    activate_when_ready()


def _abort(name: str, limit_s: float) -> None:
    print(f"{name}: did not end within {limit_s:g} s, ended by force", file=sys.stderr, flush=True)
    os._exit(1)
