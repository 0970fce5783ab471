"""What a launch says, and what its processes say: to the screen, and to launch.log in a folder of its own."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from pathlib import Path

_SCREEN_FORMAT = "[%(levelname)s] [%(name)s]: %(message)s"
_ROOT = "clar_launch"


class _Screen(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever stdout is now; a reader that went away is not an error."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], BrokenPipeError | ValueError):
            super().handleError(record)


class _Named(logging.Formatter):
    """Names the logger without the common root."""

    def format(self, record: logging.LogRecord) -> str:
        record.name = record.name.removeprefix(_ROOT + ".")
        return super().format(record)


def get_logger(name: str | None = None) -> logging.Logger:
    """The logger of a part of the launch; its messages are shown as ``[LEVEL] [name]: message``."""
    root = logging.getLogger(_ROOT)
    if not root.handlers:
        screen = _Screen()
        screen.setFormatter(_Named(_SCREEN_FORMAT))
        root.addHandler(screen)
        root.setLevel(logging.INFO)
        root.propagate = False
    return root.getChild(name or "launch")


class LaunchLog:
    """The launch.log of one run, and where the lines of processes go."""

    def __init__(self) -> None:
        self.folder = _log_root() / f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-{socket.gethostname()}-{os.getpid()}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = (self.folder / "launch.log").open("a", encoding="utf-8", buffering=1)
        self._handler = logging.StreamHandler(self._file)
        self._handler.setFormatter(_Named("%(created).7f " + _SCREEN_FORMAT))
        get_logger()
        logging.getLogger(_ROOT).addHandler(self._handler)

    def write_line(self, name: str, line: str, *, screen: bool, log: bool) -> None:
        """One line that the named process wrote."""
        text = f"[{name}] {line}"
        if screen:
            try:
                print(text, flush=True)
            except (BrokenPipeError, ValueError):
                log = True
        if log:
            self._file.write(f"{time.time():.7f} {text}\n")

    def close(self) -> None:
        """Close launch.log."""
        logging.getLogger(_ROOT).removeHandler(self._handler)
        self._file.close()


def _log_root() -> Path:
    if os.environ.get("ROS_LOG_DIR"):
        return Path(os.environ["ROS_LOG_DIR"]).expanduser()
    return Path(os.environ.get("ROS_HOME") or "~/.ros").expanduser() / "log"
