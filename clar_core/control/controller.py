"""The arm's brain: supervisor, command gate, envelope and step reference behind one lock. No threads, no hardware.

Requests and commands come from any thread and only change state; ``tick`` turns that state into the twist of the
moment. Whatever hangs elsewhere, no method here waits for anything but this lock, which is held for microseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clar_core.control.action import GripperHysteresis
from clar_core.control.commands import Command, CommandGate, CommandLimits, Judgement
from clar_core.control.envelope import Envelope, EnvelopeLimits
from clar_core.control.gates import Gates
from clar_core.control.joints import JointLimits, arming_objections, guard_twist
from clar_core.control.orders import Accepted, Order, Snapshot
from clar_core.control.robot import DESK_STEPS, OBJECT_LOST, GraspWatch, GripperReading, RobotReading
from clar_core.control.supervisor import Change, Mode, RefusedError, Supervisor
from clar_core.control.tracking import (
    StepReference,
    TrackingGains,
    TwistLimits,
    tracking_twist,
)
from clar_core.geometry.poses import apply_delta, delta_between

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ControllerSettings:
    """Everything about the controller that a site may set.

    Attributes:
        commands: which commands count.
        envelope: what no command may exceed.
        joints: distances to joint limits and singularities.
        gains: of the pose correction.
        twist: limits of what is sent to the robot.
        idle_disarm_s: ARMED and idle for this long disarms.
        first_command_timeout_s: RUNNING without a first command for this long halts.
        silence_halt_s: RUNNING without a further command for this long halts; the arm stands still long before.
        success_rate_min: a lower control command success rate halts.
        success_rate_grace_s: the rate is judged only after the robot moved for this long.
        reading_age_max_s: an older robot state halts.
        halt_on_object_lost: halt when a grasped object is no longer there.
    """

    envelope: EnvelopeLimits
    commands: CommandLimits = field(default_factory=CommandLimits)
    joints: JointLimits = field(default_factory=JointLimits)
    gains: TrackingGains = field(default_factory=TrackingGains)
    twist: TwistLimits = field(default_factory=TwistLimits)
    idle_disarm_s: float = 60.0
    first_command_timeout_s: float = 10.0
    silence_halt_s: float = 1.0
    success_rate_min: float = 0.9
    success_rate_grace_s: float = 0.5
    reading_age_max_s: float = 0.5
    halt_on_object_lost: bool = True


class ArmController:
    """Decides what the arm does. ``on_change`` is called with every transition of the supervisor."""

    def __init__(
        self,
        settings: ControllerSettings,
        on_change: Callable[[Change], None] | None = None,
        gates: Gates | None = None,
    ) -> None:
        self.settings = settings
        self.gates = gates or Gates()
        self._lock = threading.RLock()
        self._supervisor = Supervisor(settings.idle_disarm_s, on_change)
        self._gate = CommandGate(settings.commands)
        self._envelope = Envelope(settings.envelope)
        self._gripper = GripperHysteresis(target=True)
        self._reference = StepReference(np.eye(4))
        self._T_commanded = np.eye(4)
        self._T_start: Array | None = None
        self._started_at_s = 0.0
        self._command_at_s: float | None = None
        self._grasp = GraspWatch()
        self._homing = False
        self.last_sequence = 0
        self.clamped_count = 0
        self.rejected_count = 0

    @property
    def mode(self) -> Mode:
        """The supervisor's mode."""
        return self._supervisor.mode

    @property
    def owner(self) -> str:
        """The command source that owns the arm, else empty."""
        return self._supervisor.owner

    @property
    def reason(self) -> str:
        """Why the arm is in this mode."""
        return self._supervisor.reason

    @property
    def T_commanded(self) -> Array:
        """(4, 4) commanded pose, after the envelope."""
        return self._T_commanded

    @property
    def T_start(self) -> Array | None:
        """(4, 4) measured pose of the last START, None before the first."""
        return self._T_start

    @property
    def gripper_target(self) -> float:
        """0 closed, 1 open, after hysteresis."""
        return self._gripper.target

    def snapshot(self) -> Snapshot:
        """Everything that is told of this moment, taken at once."""
        with self._lock:
            return Snapshot(
                mode=self._supervisor.mode,
                owner=self._supervisor.owner,
                reason=self._supervisor.reason,
                T_commanded=self._T_commanded,
                gripper_target=self._gripper.target,
                last_sequence=self.last_sequence,
                clamped_count=self.clamped_count,
                rejected_count=self.rejected_count,
            )

    # Requests

    def arm(self, reading: RobotReading, gripper: GripperReading | None, now_s: float) -> Change:
        """DISARMED -> ARMED. Raises RefusedError with everything that speaks against it."""
        with self._lock:
            return self._supervisor.arm(now_s, self.objections(reading, gripper, now_s))

    def start(self, owner: str, reading: RobotReading, gripper: GripperReading | None, now_s: float) -> Change:
        """ARMED -> RUNNING(owner), or take over from another owner.

        The commanded pose becomes the measured one, the gripper's target its present state.

        Raises:
            RefusedError: with everything that speaks against it.
        """
        with self._lock:
            problems = self.objections(reading, gripper, now_s)
            if self._homing:
                problems.append("the arm is on its way home: wait, or run `clar stop`")
            change = self._supervisor.start(owner, now_s, problems)
            self._gate.reset()
            self._envelope.reset()
            self._stand_at(reading.T_base_tcp)
            self._T_start = reading.T_base_tcp
            if gripper is not None:
                self._gripper.reset(gripper.is_open)
            self._grasp.reset(gripper)
            self._started_at_s = now_s
            self._command_at_s = None
            self.last_sequence = self.clamped_count = self.rejected_count = 0
            return change

    def stop(self, reason: str, now_s: float) -> Change | None:
        """Bring everything to rest; ARMED afterwards when it was RUNNING. Never refused; the gripper keeps its grip."""
        with self._lock:
            self._homing = False
            return self._supervisor.stop(reason, now_s)

    def disarm(self, reason: str, now_s: float) -> Change | None:
        """Bring everything to rest and disarm. Never refused; the gripper keeps its grip."""
        with self._lock:
            self._homing = False
            return self._supervisor.disarm(reason, now_s)

    def halt(self, reason: str, now_s: float) -> Change | None:
        """A fault: bring everything to rest and wait for the operator."""
        with self._lock:
            self._homing = False
            return self._supervisor.halt(reason, now_s)

    def recovered(self, reading: RobotReading, now_s: float) -> Change | None:
        """HALTED -> DISARMED after the robot's errors were cleared; None in DISARMED, which stays.

        Raises:
            RefusedError: the robot is still not idle; the text names the step on its Desk.
        """
        with self._lock:
            problems = self._robot_objections(reading, now_s)
            if problems:
                raise RefusedError("not recovered: " + "; ".join(problems))
            self._stand_at(reading.T_base_tcp)
            return self._supervisor.recover(now_s) if self.mode is Mode.HALTED else None

    @property
    def homing(self) -> bool:
        """Whether the arm is on its way home; STOP, disarming and faults end it."""
        return self._homing

    def check_homing(self) -> None:
        """Raises RefusedError unless ARMED."""
        if self.mode is not Mode.ARMED:
            step = "clar stop" if self.mode is Mode.RUNNING else "clar arm"
            raise RefusedError(f"cannot go home while {self.mode.name}, only while ARMED: run `{step}` first")

    def begin_homing(self, now_s: float) -> None:
        """The arm sets off for home. Raises RefusedError unless ARMED."""
        with self._lock:
            self.check_homing()
            self._homing = True
            self._supervisor.keep_awake(now_s)

    def end_homing(self) -> None:
        """The arm arrived, or could not set off."""
        with self._lock:
            self._homing = False

    def objections(self, reading: RobotReading, gripper: GripperReading | None, now_s: float) -> list[str]:
        """Everything that speaks against arming here and now, each with what to do about it."""
        limits = self.settings.envelope
        problems = self._robot_objections(reading, now_s)
        position = reading.T_base_tcp[:3, 3]
        outside = limits.outside_m(position)
        if outside.any():
            moves = [
                f"{abs(value) * 1e3:.0f} mm towards {'-' if value > 0 else '+'}{axis}"
                for axis, value in zip("xyz", outside, strict=True)
                if value
            ]
            problems.append(f"the TCP is outside motion_box: guide it by hand {', '.join(moves)}")
        obstacle = limits.obstacle(position)
        if obstacle is not None:
            problems.append(f"the TCP is inside keep-out {obstacle!r}: guide it out by hand")
        problems += arming_objections(reading.joints_rad, reading.jacobian, self.settings.joints)
        if gripper is not None and gripper.fault:
            problems.append(gripper.fault)
        return problems + self.gates.objections()

    def _robot_objections(self, reading: RobotReading, now_s: float) -> list[str]:
        problems = []
        age_s = now_s - reading.read_at_s
        if age_s > self.settings.reading_age_max_s:
            problems.append(f"the robot's state is {age_s:.1f} s old: check the network, then run `clar recover`")
        if reading.errors:
            problems.append(f"the robot reports {', '.join(reading.errors)}: run `clar recover`")
        if reading.robot_mode in DESK_STEPS:
            problems.append(f"the robot is in mode {reading.robot_mode}: {DESK_STEPS[reading.robot_mode]}")
        return problems

    # The stream

    def accept(self, command: Command, T_measured: Array, wall_ns: int, now_s: float) -> Accepted:
        """Take one command. It is executed only while RUNNING, from the owner, and if gate and envelope let it.

        Args:
            command: as it came.
            T_measured: (4, 4) newest measured pose.
            wall_ns: wall time of arrival.
            now_s: monotonic time of arrival.
        """
        with self._lock:
            if self._supervisor.mode is not Mode.RUNNING or command.source != self._supervisor.owner:
                return Accepted(False)
            verdict = self._gate.judge(command, wall_ns, now_s)
            if verdict.judgement is not Judgement.EXECUTE:
                self.rejected_count += 1
                if verdict.judgement is Judgement.HALT:
                    self._supervisor.halt(verdict.reason, now_s)
                return Accepted(False, verdict.reason)
            result = self._envelope.apply(self._T_commanded, command.values, T_measured, now_s)
            if result.halt is not None:
                self._supervisor.halt(result.halt, now_s)
            if result.action is None:
                self.rejected_count += 1
                self._stand_at(self._reference.sample(now_s)[0])
                return Accepted(False, result.halt or "not finite numbers in the action, dropped whole")
            if result.halt is not None:
                return Accepted(False, result.halt, result.clamped)
            self._T_commanded = result.T_target
            self._reference.set_target(result.T_target, now_s)
            self._command_at_s = now_s
            self.last_sequence = command.sequence
            self.clamped_count += bool(result.clamped)
            return Accepted(True, clamped=result.clamped, gripper_open=self._gripper_change(result.action.gripper))

    def tick(self, reading: RobotReading, gripper: GripperReading | None, now_s: float) -> Order:
        """What the robot must do now. Called at 50 Hz or more with the newest readings; finds the faults that halt."""
        with self._lock:
            if self._homing:
                self._supervisor.keep_awake(now_s)
            self._supervisor.tick(now_s)
            if self._supervisor.mode in (Mode.ARMED, Mode.RUNNING):
                fault = self._fault(reading, gripper, now_s)
                if fault is not None:
                    self.halt(fault, now_s)
            if self._supervisor.mode is not Mode.RUNNING:
                self._stand_at(reading.T_base_tcp)
                return Order(None, self._T_commanded)
            return self._running(reading, now_s)

    def _running(self, reading: RobotReading, now_s: float) -> Order:
        T_reference, feedforward = self._reference.sample(now_s)
        if self._expired(now_s):
            return Order(np.zeros(6), T_reference)
        twist = tracking_twist(T_reference, feedforward, reading.T_base_tcp, self.settings.gains, self.settings.twist)
        factor, fault = guard_twist(reading.joints_rad, reading.jacobian, twist, self.settings.joints)
        if fault is not None:
            self._supervisor.halt(fault, now_s)
            return Order(None, T_reference)
        if factor < 1.0:
            translation, rotation = delta_between(reading.T_base_tcp, T_reference)
            T_reference = apply_delta(reading.T_base_tcp, factor * translation, factor * rotation)
        return Order(factor * twist, T_reference, factor * feedforward)

    def _expired(self, now_s: float) -> bool:
        """Whether nothing recent stands behind the motion: no command, or an observation that has grown too old."""
        limits, observed_s = self.settings.commands, self._gate.observation_at_s
        if self._command_at_s is None or now_s - self._command_at_s > limits.command_age_max_s:
            return True
        return observed_s is not None and now_s - observed_s > limits.observation_halt_age_s

    def _fault(self, reading: RobotReading, gripper: GripperReading | None, now_s: float) -> str | None:
        settings = self.settings
        problems = self._robot_objections(reading, now_s) + self.gates.objections()
        if problems:
            return problems[0]
        if gripper is not None and gripper.fault:
            return gripper.fault
        if self._supervisor.mode is not Mode.RUNNING:
            return None
        if gripper is not None and self._grasp.is_lost(gripper) and settings.halt_on_object_lost:
            return OBJECT_LOST
        running_s = now_s - self._started_at_s
        if reading.command_success_rate < settings.success_rate_min and running_s > settings.success_rate_grace_s:
            return (
                f"only {reading.command_success_rate:.1%} of the control commands reached the robot in time (at least"
                f" {settings.success_rate_min:.0%}): is this a real-time kernel, and the robot on its own network card?"
            )
        if self._command_at_s is None:
            if running_s > settings.first_command_timeout_s:
                return f"no command came from {self.owner!r} within {settings.first_command_timeout_s:g} s of START"
        elif now_s - self._command_at_s > settings.silence_halt_s:
            return f"no usable command came from {self.owner!r} for {settings.silence_halt_s:g} s"
        return None

    def _gripper_change(self, gripper: float) -> bool | None:
        before = self._gripper.is_open
        self._gripper.update(gripper)
        return self._gripper.is_open if self._gripper.is_open is not before else None

    def _stand_at(self, T_base_tcp: Array) -> None:
        self._T_commanded = T_base_tcp
        self._reference.reset(T_base_tcp)
