"""A thread that tells others, so that whoever moves the arm never waits for whoever listens.

A middleware may hold its caller for a second when a listener's process is frozen. In the thread of the control loop
that would be a second in which nothing is checked and the last twist stands.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Teller:
    """Does jobs in a thread of its own, one after the other.

    Args:
        on_error: called in that thread with what a job raised; the jobs after it are done as well.
        kept: jobs that wait at most; of more, the oldest are dropped.
    """

    def __init__(self, on_error: Callable[[Exception], None], kept: int = 50) -> None:
        self._on_error = on_error
        self._waiting: deque[Callable[[], object]] = deque(maxlen=kept)
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], object]) -> None:
        """Have a job done; returns at once."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def close(self, timeout_s: float = 0.5) -> None:
        """Do what still waits and end the thread, which is left behind after the time limit. Harmless a second time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                job = self._waiting.popleft()
            try:
                job()
            except Exception as error:  # what cannot be told must not silence what comes after it
                self._on_error(error)
