"""Calls that may hang, with a time-out: some of the robot's library calls never return when its server dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from clar_core.control.robot import RobotError

T = TypeVar("T")


def watched(call: Callable[[], T], timeout_s: float, what: str, next_step: str) -> T:
    """The result of ``call``, run in a thread of its own, or what it raised.

    A call that does not return in time is left behind in its daemon thread.

    Raises:
        RobotError: the call did not return within ``timeout_s``; the text names it and the next step.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=what, daemon=True).start()
    try:
        return future.result(timeout_s)
    except FutureTimeoutError:
        if future.done():
            raise
        raise RobotError(f"{what} did not return within {timeout_s:g} s: {next_step}") from None
