"""Service calls that end: with the response, or with an error that names the service and what to do next.

To be used from a thread that is not the executor's, or from a callback of a multi-threaded executor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.client import Client

from clar.node import NodeError

_POLL_S = 0.02


class CallError(NodeError):
    """A service did not answer, or answered that it did not succeed."""


def wait_until(condition: Callable[[], bool], timeout_s: float, give_up: Callable[[], bool] = lambda: False) -> bool:
    """Wait for a condition that callbacks bring about; False after ``timeout_s`` or once ``give_up`` holds."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s or give_up():
            return condition()
        time.sleep(_POLL_S)
    return True


def call(client: Client, request: Any, timeout_s: float, *, offered_within_s: float = 5.0) -> Any:
    """The response of a service.

    Args:
        client: of the service.
        request: of the service's type.
        timeout_s: how long the service may take to answer.
        offered_within_s: how long a service that nobody offers yet is waited for.

    Raises:
        CallError: nobody offers the service, it does not answer in time, or it failed.
    """
    if not client.wait_for_service(timeout_sec=offered_within_s):
        raise CallError(f"no node offers {client.srv_name}: is the stack up? (ros2 launch clar policy.launch.py)")
    done = threading.Event()
    future = client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    if not done.wait(timeout_s):
        client.remove_pending_request(future)
        raise CallError(f"{client.srv_name} did not answer within {timeout_s:g} s")
    return future.result()


def ask(client: Client, request: Any, timeout_s: float, *, attempt_s: float = 2.0) -> Any:
    """The response of a service that only reads, asked again while no answer comes.

    A server that has not yet discovered the client's response channel drops its answer (rmw_fastrtps gives it 100 ms),
    which happens in the first moments of a busy stack.

    Raises:
        CallError: as :func:`call`, after ``timeout_s``.
    """
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            return call(client, request, min(attempt_s, timeout_s))
        except CallError:
            if time.monotonic() > end_s:
                raise


def call_successfully(client: Client, request: Any, timeout_s: float) -> str:
    """The message of a service whose response has ``success`` and ``message``; CallError when it says no."""
    response = call(client, request, timeout_s)
    if not response.success:
        raise CallError(f"{client.srv_name}: {response.message}")
    return str(response.message)
