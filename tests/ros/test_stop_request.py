"""The request to end a process, made by a signal at the worst moment."""

from __future__ import annotations

import subprocess
import sys
import threading

from clar.stop_request import StopRequest

TIMEOUT_S = 60.0

# The signal comes 1 to 100 microseconds later, so that some arrive while the wait is just being entered.
ROUNDS = """
import signal
from clar.stop_request import StopRequest
stop = None
signal.signal(signal.SIGALRM, lambda *_: stop.set())
for i in range(20000):
    stop = StopRequest()
    signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + i % 100))
    assert stop.wait()
print("ended")
"""


def test_a_signal_at_any_moment_ends_the_wait() -> None:
    run = subprocess.run([sys.executable, "-c", ROUNDS], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert run.stdout == "ended\n", run.stderr


def test_every_waiting_thread_is_told() -> None:
    stop = StopRequest()
    assert not stop.wait(0.0)
    told: list[bool] = []
    threads = [threading.Thread(target=lambda: told.append(stop.wait(TIMEOUT_S))) for _ in range(3)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert told == [True] * 3
    assert stop.is_set()
    assert stop.wait()
