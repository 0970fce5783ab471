"""The Franka hand through franky. No ROS.

Every request runs in a worker thread under a watchdog, because a call never returns when the gripper's server dies; a
second thread keeps the state fresh. Opening is ``move``, closing is ``grasp`` with a force: a plain move to zero would
let go of what it holds as soon as it slips.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import franky

from clar.drivers.watched import watched
from clar_core.control.robot import GripperReading, RobotError

_CONNECT_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 0.5
_STATE_PERIOD_S = 1.0 / 30.0
_STATE_AGE_MAX_S = 1.0
_INNER_TOLERANCE_M = 0.005
_NOT_HOMED_FRACTION = 0.9


@dataclass(frozen=True, kw_only=True)
class FrankaGripperConfig:
    """How to connect to the hand, and how it moves.

    Attributes:
        host: address of the robot's control interface.
        force_n: grasping force.
        speed_m_s: of the fingers' opening.
        max_width_m: opening of the homed gripper.
        timeout_s: a request that takes longer hangs.
    """

    host: str
    force_n: float = 40.0
    speed_m_s: float = 0.1
    max_width_m: float = 0.08
    timeout_s: float = 8.0


class FrankaGripper:
    """One Franka hand. Connects when it is made; no call blocks."""

    def __init__(self, config: FrankaGripperConfig) -> None:
        """Connect. Raises RobotError when there is no gripper server."""
        self.config = config
        self._connect()

    def read(self) -> GripperReading:
        """The newest state, with the fault of the last request, or of the connection."""
        return self._session.read()

    def request(self, is_open: bool) -> None:
        """Open, or grasp. A request that comes while another is executed replaces what waits, not what runs."""
        self._session.request(is_open)

    def home(self) -> None:
        """Find the largest opening: the fingers close and open, and let go of what they hold."""
        self._session.request(True, homing=True)

    def recover(self) -> None:
        """Forget a failed request; connect again when calls still hang, leaving them behind.

        Raises:
            RobotError: there is no gripper server.
        """
        self._session.forget_fault()
        if not self._session.read().fault:
            return
        self._session.close()
        self._connect()

    def close(self) -> None:
        """Disconnect; the fingers keep their grip."""
        self._session.close()

    def _connect(self) -> None:
        host = self.config.host
        step = f"check on the robot's Desk that the hand is mounted and configured, and robot_ip ({host})"
        try:
            gripper = watched(
                lambda: franky.Gripper(host), _CONNECT_TIMEOUT_S, f"connecting to the gripper at {host}", step
            )
            state = watched(lambda: gripper.state, _CONNECT_TIMEOUT_S, "reading the gripper", step)
        except (franky.Exception, franky.GripperException, RuntimeError) as error:
            if isinstance(error, RobotError):
                raise
            raise RobotError(f"no gripper at {host}: {error}: {step}") from error
        self._session = _Session(self.config, gripper, state)


class _Session:
    """One connection with its two threads, both left behind when they hang."""

    def __init__(self, config: FrankaGripperConfig, gripper: Any, state: Any) -> None:
        self._config = config
        self._gripper = gripper
        self._state, self._state_at_s = state, time.monotonic()
        self._goal: bool | None = None
        self._waiting = self._homing = False
        self._busy_since_s: float | None = None
        self._fault = ""
        self._closing = False
        self._wake = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name="gripper", daemon=True),
            threading.Thread(target=self._watch_state, name="gripper state", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def read(self) -> GripperReading:
        state, now_s = self._state, time.monotonic()
        with self._wake:
            goal, busy_since_s, busy = self._goal, self._busy_since_s, self._waiting or self._busy_since_s is not None
            fault, homing = self._fault, self._homing
        if not fault and busy_since_s is not None and now_s - busy_since_s > self._config.timeout_s:
            verb = "home" if homing else "open" if goal else "grasp"
            fault = f"the gripper did not finish to {verb} within {self._config.timeout_s:g} s: run `clar recover`"
        if not fault and now_s - self._state_at_s > _STATE_AGE_MAX_S:
            fault = f"the gripper's state is {now_s - self._state_at_s:.1f} s old, its server died: run `clar recover`"
        if not fault and not (busy and homing) and state.max_width < _NOT_HOMED_FRACTION * self._config.max_width_m:
            fault = (
                f"the gripper is not homed (it opens {state.max_width:.3f} m, expected"
                f" {self._config.max_width_m:.3f} m): run `clar gripper home`,"
                " or correct gripper.max_width_m in the cell file"
            )
        return GripperReading(
            width_m=float(state.width),
            max_width_m=float(state.max_width),
            is_grasped=bool(state.is_grasped),
            goal_open=goal,
            busy=busy,
            fault=fault,
        )

    def request(self, is_open: bool, homing: bool = False) -> None:
        with self._wake:
            self._goal, self._homing, self._waiting = is_open, homing, True
            self._wake.notify()

    def forget_fault(self) -> None:
        with self._wake:
            self._fault = ""

    def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        until_s = time.monotonic() + _CLOSE_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        self._gripper = None  # the hand serves one client: this closes the connection before there is another

    def _work(self) -> None:
        while True:
            with self._wake:
                self._busy_since_s = None
                self._wake.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return
                self._waiting = False
                self._busy_since_s = time.monotonic()
                goal, homing = bool(self._goal), self._homing
            fault = self._execute(goal, homing)
            self._refresh()  # whoever waits for the end of the request sees what came of it
            with self._wake:
                self._fault = fault

    def _execute(self, is_open: bool, homing: bool) -> str:
        """Run one request; an empty string, or what went wrong. A grasp that found nothing is no fault."""
        config = self._config
        try:
            if homing:
                self._gripper.homing()
            elif is_open:
                self._gripper.move(config.max_width_m, config.speed_m_s)
            else:
                outer_m = config.max_width_m
                self._gripper.grasp(0.0, config.speed_m_s, config.force_n, _INNER_TOLERANCE_M, outer_m)
        except Exception as error:  # the thread must survive whatever the library raises
            verb = "home" if homing else "open" if is_open else "grasp"
            return f"the gripper failed to {verb} ({error}): run `clar recover`"
        return ""

    def _watch_state(self) -> None:
        while not self._closing:
            self._refresh()
            time.sleep(_STATE_PERIOD_S)

    def _refresh(self) -> None:
        with suppress(Exception):  # a stale state is noticed by its age
            self._state = self._gripper.state
            self._state_at_s = time.monotonic()
