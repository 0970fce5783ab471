"""The steps of a recording session: prompt, preparation, countdown, episode, verdict. Pure; the node does the effects.

    idle --start--> prepare --done--> countdown --time--> recording --success | failure | discard--> idle

STOP, and whatever takes the arm away from the operator, ends an episode that runs: it is kept and marked as a failure,
because it is an episode that did not end well and not one that never was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from clar_core.teleop.reading import Button


class Phase(Enum):
    """Where the session stands."""

    IDLE = "idle"
    PREPARE = "prepare"
    COUNTDOWN = "countdown"
    RECORDING = "recording"


class Effect(Enum):
    """What the node must do now."""

    PREPARE = "prepare"
    BEGIN = "begin"
    END_SUCCESS = "end_success"
    END_FAILURE = "end_failure"
    END_DISCARD = "end_discard"
    UNDO = "undo"
    ARM = "arm"
    STOP = "stop"
    TAKE_OVER = "take_over"
    GIVE_BACK = "give_back"


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """Attributes: ``countdown_s`` from the end of the preparation to the start of the episode."""

    countdown_s: float = 3.0


_VERDICTS = {
    Button.SUCCESS: Effect.END_SUCCESS,
    Button.FAILURE: Effect.END_FAILURE,
    Button.DISCARD: Effect.END_DISCARD,
}
_ANYWHERE = {Button.ARM: Effect.ARM, Button.TAKE_OVER: Effect.TAKE_OVER, Button.GIVE_BACK: Effect.GIVE_BACK}


class Session:
    """The state machine. Feed presses and time, do the effects, and report how they went."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self.phase = Phase.IDLE
        self._ready_at_s = 0.0
        self._said = ""
        self._kept = 0

    @property
    def kept(self) -> int:
        """Episodes kept so far."""
        return self._kept

    def press(self, button: Button, now_s: float) -> tuple[Effect, ...]:
        """What a press asks for in this phase; presses that mean nothing here are explained by ``prompt``."""
        if button is Button.STOP:
            return self._stop()
        if button in _ANYWHERE:
            return (_ANYWHERE[button],)
        if button is Button.START:
            if self.phase is not Phase.IDLE:
                self._said = f"start means nothing while {self.phase.value}"
                return ()
            self.phase, self._said = Phase.PREPARE, ""
            return (Effect.PREPARE,)
        if button is Button.UNDO:
            if self.phase is not Phase.IDLE:
                self._said = "end the running episode first, then undo"
                return ()
            return (Effect.UNDO,)
        if button in _VERDICTS:
            if self.phase is Phase.RECORDING:
                self.phase = Phase.IDLE
                return (Effect.STOP, _VERDICTS[button])
            if button is Button.DISCARD and self.phase is Phase.COUNTDOWN:
                self.phase, self._said = Phase.IDLE, "called off"
                return ()
            self._said = "no episode is running: start one first"
        return ()

    def prepared(self, now_s: float) -> None:
        """The arm is at its start and the objects are out: the countdown begins."""
        if self.phase is Phase.PREPARE:
            self.phase, self._ready_at_s = Phase.COUNTDOWN, now_s + self._config.countdown_s

    def failed(self, reason: str) -> None:
        """An effect did not go well: back to idle, and say why."""
        self.phase, self._said = Phase.IDLE, reason

    def ended(self, text: str, kept: bool) -> None:
        """An episode was closed."""
        self._said = text
        self._kept += kept

    def undone(self, text: str) -> None:
        """The last episode was taken out."""
        self._said = text
        self._kept = max(self._kept - 1, 0)

    def say(self, text: str) -> None:
        """Show a sentence until the next one."""
        self._said = text

    def lost(self, reason: str) -> tuple[Effect, ...]:
        """The arm was taken away or stopped, or the device is gone."""
        if self.phase is not Phase.RECORDING:
            if self.phase is not Phase.IDLE:
                self.phase = Phase.IDLE
            self._said = reason
            return ()
        self.phase, self._said = Phase.IDLE, reason
        return (Effect.STOP, Effect.END_FAILURE)

    def tick(self, now_s: float) -> tuple[Effect, ...]:
        """What is due at a monotonic time."""
        if self.phase is Phase.COUNTDOWN and now_s >= self._ready_at_s:
            self.phase, self._said = Phase.RECORDING, ""
            return (Effect.BEGIN,)
        return ()

    def prompt(self, now_s: float) -> str:
        """One line for the operator."""
        said = f"   [{self._said}]" if self._said else ""
        if self.phase is Phase.IDLE:
            return f"{self._kept} kept; put the objects out, then start{said}"
        if self.phase is Phase.PREPARE:
            return f"going to the start{said}"
        if self.phase is Phase.COUNTDOWN:
            return f"recording in {math.ceil(max(self._ready_at_s - now_s, 0.0))}{said}"
        return f"RECORDING: success, failure or discard{said}"

    def _stop(self) -> tuple[Effect, ...]:
        if self.phase is Phase.RECORDING:
            self.phase, self._said = Phase.IDLE, "stopped by the operator"
            return (Effect.STOP, Effect.END_FAILURE)
        self.phase = Phase.IDLE
        return (Effect.STOP,)
