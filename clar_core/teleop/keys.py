"""A terminal's keys as a device. A key that repeats is held; its own repetition is the dead-man."""

from __future__ import annotations

import numpy as np

from clar_core.teleop.reading import Array, Button, Reading

HELP = """\
  w s   forward, back        q e   turn left, right      space  gripper       +  -  faster, slower
  a d   left, right          i k   pitch                 f      base or tool frame
  r v   up, down             j l   roll                  m      arm           x     STOP
  enter start the episode    y     success   n failure   z      discard       u     undo the last one
  t     take over            g     give back to the policy                    ctrl-c  end"""

_MOTION = {
    "w": (0, 1.0), "s": (0, -1.0), "a": (1, 1.0), "d": (1, -1.0), "r": (2, 1.0), "v": (2, -1.0),
    "j": (3, -1.0), "l": (3, 1.0), "i": (4, -1.0), "k": (4, 1.0), "q": (5, 1.0), "e": (5, -1.0),
    "\x1b[A": (0, 1.0), "\x1b[B": (0, -1.0), "\x1b[D": (1, 1.0), "\x1b[C": (1, -1.0),
}  # fmt: skip
_BUTTONS = {
    " ": Button.GRIPPER, "f": Button.FRAME, "+": Button.FASTER, "=": Button.FASTER, "-": Button.SLOWER,
    "m": Button.ARM, "x": Button.STOP, "t": Button.TAKE_OVER, "g": Button.GIVE_BACK, "\r": Button.START,
    "\n": Button.START, "y": Button.SUCCESS, "n": Button.FAILURE, "z": Button.DISCARD, "u": Button.UNDO,
}  # fmt: skip


def split(text: str) -> list[str]:
    """The keys in a piece of terminal input; an arrow is one key of three characters."""
    keys, i = [], 0
    while i < len(text):
        length = 3 if text.startswith("\x1b[", i) and i + 2 < len(text) else 1
        keys.append(text[i : i + length])
        i += length
    return keys


class KeyState:
    """Which keys are held, from the characters that a terminal sends.

    A terminal tells no release. A key counts as held for ``hold_s`` after each of its characters, so that a key which
    is let go stops the arm within that time.
    """

    def __init__(self, hold_s: float = 0.25) -> None:
        self._hold_s = hold_s
        self._until_s: dict[str, float] = {}
        self._pressed: set[Button] = set()

    def type(self, text: str, now_s: float) -> None:
        """Take characters that were typed at a monotonic time."""
        for key in split(text):
            key = key.lower() if len(key) == 1 else key
            if key in _MOTION:
                self._until_s[key] = now_s + self._hold_s
            elif key in _BUTTONS:
                self._pressed.add(_BUTTONS[key])

    def read(self, now_s: float) -> Reading:
        """The reading now; each typed button is down in one reading."""
        deflection: Array = np.zeros(6)
        for key, until_s in self._until_s.items():
            if now_s < until_s:
                axis, sign = _MOTION[key]
                deflection[axis] += sign
        pressed, self._pressed = frozenset(self._pressed), set()
        return Reading(np.clip(deflection, -1.0, 1.0), bool(deflection.any()), pressed)
