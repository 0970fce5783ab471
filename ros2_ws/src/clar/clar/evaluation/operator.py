"""The operator's verdict by one key: s when the trial succeeded, f when it failed."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Self

_POLL_S = 0.1
_KEYS = 64
VERDICTS = {"s": True, "f": False}


class OperatorKeys:
    """Reads single keys from the terminal in a thread and passes the verdicts on. Does nothing without a terminal.

    Args:
        on_verdict: called with True (s) or False (f).
    """

    def __init__(self, on_verdict: Callable[[bool], None]) -> None:
        self._on_verdict = on_verdict
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="operator_keys", daemon=True)
        self._before: list[object] | None = None

    def __enter__(self) -> Self:
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._before is not None:
            self._thread.join(timeout=2.0)
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def _read(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([sys.stdin], [], [], _POLL_S)
            # Past the stream's own buffer, into which it would read keys that select cannot see any more.
            for key in os.read(sys.stdin.fileno(), _KEYS).decode(errors="ignore").lower() if ready else "":
                if key in VERDICTS:
                    self._on_verdict(VERDICTS[key])
