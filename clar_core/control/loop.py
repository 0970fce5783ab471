"""The one thread that talks to the robot: it reads, asks the controller, sends, and does the slow jobs in between.

Everything that touches the arm's driver happens here, so that no two threads ever command a motion. Others read the
newest state, and post jobs and wait for them.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clar_core.control.controller import ArmController
from clar_core.control.robot import DISCONNECTED, ArmDriver, GripperDriver, GripperReading, RobotError, RobotReading
from clar_core.control.supervisor import Mode, RefusedError
from clar_core.control.tracking import CONTROL_PERIOD_S
from clar_core.control.travel import Goal, JointGoal, PoseGoal, check_path

Array = NDArray[np.float64]

_REST_TIMEOUT_S = 1.5


@dataclass(frozen=True, eq=False)
class LoopState:
    """What the loop knows after one period: readings, and the twist (6,) that the robot was last told (zeros: rest)."""

    arm: RobotReading
    gripper: GripperReading | None
    sent_twist: Array


class ArmLoop:
    """Runs the controller against a driver at 100 Hz; twists go out at 50 Hz, the state after every period."""

    def __init__(
        self,
        controller: ArmController,
        arm: ArmDriver,
        gripper: GripperDriver | None = None,
        *,
        on_state: Callable[[LoopState], None] = lambda state: None,
        on_problem: Callable[[str], None] = lambda text: None,
        impedance: bool = False,
        period_s: float = 0.5 * CONTROL_PERIOD_S,
        home_timeout_s: float = 30.0,
    ) -> None:
        """``on_state`` is called in the loop's thread after every period, ``on_problem`` when the driver fails.

        With ``impedance`` the arm is given the reference pose in every period, instead of twists in every second.
        """
        self.controller = controller
        self._arm = arm
        self._gripper = gripper
        self._on_state = on_state
        self._on_problem = on_problem
        self._impedance = impedance
        self._period_s = period_s
        self._home_timeout_s = home_timeout_s
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], Future[None]]] = queue.SimpleQueue()
        self._travel: tuple[Goal, Future[None]] | None = None
        self._closing = threading.Event()
        self._state: LoopState | None = None
        self._sent_twist = np.zeros(6)
        self._moving = self._resting = False
        self._last_problem = ""
        self._thread = threading.Thread(target=self._run, name="arm loop", daemon=True)

    @property
    def state(self) -> LoopState:
        """The newest state. Raises RobotError before the first one."""
        if self._state is None:
            raise RobotError("no state came from the robot yet")
        return self._state

    def start(self) -> None:
        """Read one state and start the thread. Raises RobotError when the robot does not answer."""
        self._state = LoopState(self._arm.read(), self._gripper_reading(), self._sent_twist)
        self._thread.start()

    def close(self, reason: str) -> None:
        """Disarm, bring the arm to rest and end the thread, within 2 s. The drivers stay open, the gripper its grip."""
        self.controller.disarm(reason, time.monotonic())
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_REST_TIMEOUT_S + 0.5)

    def home(self, joints_rad: Array, speed: float) -> None:
        """Move slowly to a joint position (7,), only while ARMED; returns when it is reached. STOP ends it.

        Raises:
            RefusedError: not armed, the way leads out of the motion box or into a keep-out, or it was stopped.
            RobotError: the robot failed on the way.
        """
        self._go(JointGoal(joints_rad, speed))

    def return_to_start(self, speed: float) -> None:
        """Move slowly, in a straight line, to where the last run started. As ``home`` otherwise."""
        T_start = self.controller.T_start
        if T_start is None:
            raise RefusedError("there was no START yet to return to: use `clar home`")
        self._go(PoseGoal(T_start, speed))

    def _go(self, goal: Goal) -> None:
        self.controller.check_homing()
        done: Future[None] = Future()
        self._post(lambda: self._begin(goal, done), timeout_s=5.0)
        self._wait(done, self._home_timeout_s, goal.name)

    def recover(self) -> None:
        """Clear the robot's errors; from HALTED to DISARMED.

        Raises:
            RefusedError: armed or running, or the robot is still not idle; the text names the step on its Desk.
            RobotError: the robot did not recover.
        """
        mode = self.controller.mode
        if mode not in (Mode.HALTED, Mode.DISARMED):
            raise RefusedError(f"cannot recover while {mode.name}: nothing is wrong; run `clar disarm` first")
        self._post(self._recover, timeout_s=20.0)

    def request_gripper(self, is_open: bool) -> None:
        """Open the gripper, or grasp, by request of the operator. Raises RefusedError while another owner has it."""
        if self._gripper is None:
            raise RefusedError("there is no gripper")
        if self.controller.mode is Mode.RUNNING:
            raise RefusedError(f"the gripper belongs to {self.controller.owner!r} while RUNNING: run `clar stop` first")
        self._gripper.request(is_open)

    def home_gripper(self) -> None:
        """Let the gripper find its largest opening; it lets go. Raises RefusedError while RUNNING."""
        if self._gripper is None:
            raise RefusedError("there is no gripper")
        if self.controller.mode is Mode.RUNNING:
            raise RefusedError("cannot home the gripper while RUNNING: run `clar stop` first")
        self._gripper.home()

    def command_gripper(self, is_open: bool) -> None:
        """Pass on a change that came out of an accepted command."""
        if self._gripper is not None:
            self._gripper.request(is_open)

    def _post(self, job: Callable[[], None], timeout_s: float) -> None:
        future: Future[None] = Future()
        self._jobs.put((job, future))
        self._wait(future, timeout_s, "the robot's thread")

    @staticmethod
    def _wait(future: Future[None], timeout_s: float, what: str) -> None:
        try:
            future.result(timeout_s)
        except FutureTimeoutError:
            future.cancel()
            raise RobotError(f"{what} did not answer within {timeout_s:g} s: check the robot and its network") from None

    # In the loop's thread

    def _run(self) -> None:
        next_s = time.monotonic()
        sends = True
        rest_until_s = float("inf")
        while True:
            if self._closing.is_set():
                rest_until_s = min(rest_until_s, time.monotonic() + _REST_TIMEOUT_S)
                if not self._moving or time.monotonic() > rest_until_s:
                    return
            try:
                self._period(sends)
            except Exception as error:  # this thread must survive whatever a callback does, and stop the arm
                self._fail(RobotError(f"{type(error).__name__} in the arm's loop: {error}"))
                self._rest()
            sends = not sends
            if not self._moving:
                self._work_off_jobs()
            now_s = time.monotonic()
            next_s = max(next_s + self._period_s, now_s - self._period_s)
            time.sleep(max(0.0, next_s - now_s))

    def _period(self, sends: bool) -> None:
        reading = self._read()
        self._poll()
        gripper = self._gripper_reading()
        order = self.controller.tick(reading, gripper, time.monotonic())
        if self._travel is not None:
            self._continue(*self._travel)
        elif order.twist is None:
            self._rest()
        elif self._impedance:
            self._send(order.feedforward, lambda: self._arm.send_reference(order.T_reference, order.feedforward))
        elif sends:
            twist = order.twist
            self._send(twist, lambda: self._arm.send_twist(twist))
        self._state = LoopState(reading, gripper, self._sent_twist)
        self._on_state(self._state)

    def _read(self) -> RobotReading:
        try:
            return self._arm.read()
        except RobotError as fault:
            self._fail(fault)
            self._moving = False
            return dataclasses.replace(self.state.arm, robot_mode=DISCONNECTED)

    def _gripper_reading(self) -> GripperReading | None:
        return None if self._gripper is None else self._gripper.read()

    def _poll(self) -> None:
        if not self._moving:
            return
        try:
            self._moving = self._arm.poll()
        except RobotError as fault:
            self._moving = False
            self._fail(fault)

    def _send(self, twist: Array, send: Callable[[], None]) -> None:
        try:
            send()
        except RobotError as fault:
            self._fail(fault)
            return
        self._moving, self._resting, self._sent_twist = True, False, twist

    def _rest(self) -> None:
        self._sent_twist = np.zeros(6)
        if not self._moving or self._resting:
            return
        self._resting = True
        try:
            self._arm.ramp_down()
        except RobotError as fault:
            self._fail(fault)

    def _fail(self, fault: RobotError) -> None:
        self.controller.halt(str(fault), time.monotonic())
        if str(fault) != self._last_problem:
            self._last_problem = str(fault)
            self._on_problem(str(fault))

    def _work_off_jobs(self) -> None:
        while not self._jobs.empty():
            job, future = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                job()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(None)

    def _recover(self) -> None:
        self._arm.recover()
        if self._gripper is not None and self._gripper.read().fault:
            self._gripper.recover()
        self._last_problem = ""
        reading = self._arm.read()
        self.controller.recovered(reading, time.monotonic())

    def _begin(self, goal: Goal, done: Future[None]) -> None:
        reading = self.state.arm
        self.controller.begin_homing(time.monotonic())
        try:
            check_path(goal.path(reading, self._arm), self.controller.settings.envelope, goal.name)
            goal.begin(self._arm)
        except BaseException:
            self.controller.end_homing()
            raise
        self._moving, self._resting, self._travel = True, False, (goal, done)

    def _continue(self, goal: Goal, done: Future[None]) -> None:
        if self.controller.homing and self._moving:
            return
        self._travel = None
        if not self.controller.homing:
            self._rest()
            done.set_exception(RefusedError(f"{goal.name} was stopped: {self.controller.reason}"))
            return
        self.controller.end_homing()
        missed = goal.missed(self._read())
        if missed:
            done.set_exception(RobotError(f"{goal.name} ended {missed} away: is the arm blocked?"))
        else:
            done.set_result(None)
