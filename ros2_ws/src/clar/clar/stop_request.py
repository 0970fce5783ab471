"""The request to end a process, which signal handlers may make at any moment."""

from __future__ import annotations

import os
import select
import signal
import time
from types import FrameType

# Python notes a signal and runs its handler before the next instruction. When it comes between the last instruction and
# the system call that waits, nothing wakes that call.
_UNSEEN_SIGNAL_S = 0.1


class StopRequest:
    """A flag that threads wait for and that a signal handler may set.

    Unlike ``threading.Event`` it takes no lock. A handler runs in the main thread, between any two instructions of it:
    while that thread is inside ``Event.wait`` it may hold the very lock that ``Event.set`` needs, and such a process
    never ends.
    """

    def __init__(self) -> None:
        self._set = False
        self._counter = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __del__(self) -> None:
        os.close(self._counter)

    def is_set(self) -> bool:
        """Whether the request was made."""
        return self._set

    def set(self) -> None:
        """Make the request, once and for all."""
        if not self._set:
            self._set = True
            os.eventfd_write(self._counter, 1)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the request, for ``timeout_s`` seconds at most; returns whether it was made."""
        poll = select.poll()
        poll.register(self._counter, select.POLLIN)
        end_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while not self._set and (left_s := end_s - time.monotonic()) > 0.0:
            poll.poll(1e3 * min(left_s, _UNSEEN_SIGNAL_S))
        return self._set


def stop_on_signals(stop: StopRequest) -> None:
    """Let SIGINT and SIGTERM make the request; a second one ends the process at once.

    The first one never does, whoever made the request before it: a node that is ending by itself, its arm ramping down,
    is sent one by the launch that notices.
    """
    signalled = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal signalled
        if signalled:
            os._exit(128 + number)
        signalled = True
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
