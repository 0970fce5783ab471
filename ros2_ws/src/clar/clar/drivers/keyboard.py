"""The keys of this process's terminal, without waiting for Enter."""

from __future__ import annotations

import os
import select
import termios
import tty

from clar_core.teleop.keys import KeyState
from clar_core.teleop.reading import DeviceLostError, Reading

_TERMINAL = "/dev/tty"
_MOST_BYTES = 1024


class Keyboard:
    """The terminal in raw input mode until :meth:`close`.

    Args:
        path: of the terminal.
        hold_s: how long a key counts as held after each of its characters.

    Raises:
        DeviceLostError: there is no terminal.
    """

    name = "keyboard"

    def __init__(self, path: str = _TERMINAL, hold_s: float = 0.25) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
            self._before = termios.tcgetattr(self._descriptor)
        except (OSError, termios.error) as error:
            raise DeviceLostError(
                f"keyboard: {path} is no terminal of this process ({error}); run `clar teleop keyboard` in a terminal"
                " of its own, not from a launch file"
            ) from error
        # Ctrl-C keeps its meaning.
        tty.setcbreak(self._descriptor)
        self._keys = KeyState(hold_s)

    def read(self, now_s: float) -> Reading:
        """Keys typed since the last call. Raises DeviceLostError when the terminal is gone."""
        try:
            while select.select([self._descriptor], [], [], 0.0)[0]:
                data = os.read(self._descriptor, _MOST_BYTES)
                if not data:
                    raise DeviceLostError("keyboard: the terminal was closed")
                self._keys.type(data.decode(errors="ignore"), now_s)
        except OSError as error:
            raise DeviceLostError(f"keyboard: the terminal is gone: {error}") from error
        return self._keys.read(now_s)

    def close(self) -> None:
        """Give the terminal back as it was."""
        try:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        except (OSError, termios.error):
            return  # it is gone
        finally:
            os.close(self._descriptor)
