"""Reading the wall clock and the monotonic clock as one instant."""

from __future__ import annotations

import time

_CLOSE_ENOUGH_S = 0.002
_ATTEMPTS = 10


def read_clocks() -> tuple[int, float]:
    """Wall time in nanoseconds and monotonic time in seconds of the same instant, to 2 ms.

    On a busy machine a thread may lose the processor between the two readings, which would look like a jump of the
    clock: such readings are repeated.
    """
    for _ in range(_ATTEMPTS):
        before_s = time.monotonic()
        wall_ns = time.time_ns()
        after_s = time.monotonic()
        if after_s - before_s < _CLOSE_ENOUGH_S:
            break
    return wall_ns, 0.5 * (before_s + after_s)
