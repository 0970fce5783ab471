"""What franky raises, and what a person at the robot makes of it."""

from __future__ import annotations

from typing import Any

import franky

from clar_core.control.robot import RobotError

# Not all of franky's exceptions have its Exception as their base.
FRANKY_ERRORS = (
    franky.Exception,
    franky.InvalidMotionTypeException,
    franky.MotionReuseException,
    RuntimeError,
    ValueError,
    TypeError,
)


def error_names(errors: Any) -> tuple[str, ...]:
    """Names of the errors that a ``franky.Errors`` holds, sorted."""
    return tuple(sorted(name for name in _ERROR_NAMES if getattr(errors, name)))


_ERROR_NAMES = tuple(name for name in dir(franky.Errors) if not name.startswith("_"))


def connection_advice(error: Exception, host: str) -> str:
    """Why there is no connection to the robot at ``host``, and what the operator does about it."""
    text = " ".join(str(error).replace("libfranka:", "").split())
    if isinstance(error, RobotError):
        return str(error)
    if isinstance(error, franky.IncompatibleVersionException):
        step = (
            "this franky speaks to an FR3 (robot server version 10, system 5.9 and newer). A Franka Emika Panda has"
            " server version 5 or lower and needs the franky wheel for it; an FR3 with an older system needs an update"
            " on Desk"
        )
    elif isinstance(error, franky.RealtimeException):
        step = (
            "boot a PREEMPT_RT kernel and allow real-time priority (ulimit -r 99); for a simulator set realtime:=ignore"
        )
    elif "refused" in text:
        step = (
            "check robot_ip in the cell file (does it answer a ping?), activate FCI on the robot's Desk, and end any"
            " other program that controls the robot"
        )
    else:
        step = "check the cable, the robot's power and robot_ip in the cell file (ping it)"
    return f"no robot at {host}: {text}: {step}"
