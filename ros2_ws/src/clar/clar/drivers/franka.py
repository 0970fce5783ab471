"""The Franka Research 3 through franky, as one small class. No ROS: it works from a notebook too.

    with FrankaArm(FrankaConfig(host="172.16.0.2", realtime=True)) as arm:
        print(arm.read().T_base_tcp)
        arm.send_twist(np.array([0.02, 0, 0, 0, 0, 0]))     # 200 ms of 2 cm/s, then it stops by itself

Twists are franky's CartesianVelocityMotion of 200 ms: without a refresh the arm comes to rest by itself. franky's own
defaults are those of another robot, so the limits of the FR3 are set explicitly, while the robot is idle.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

import franky
import numpy as np
from numpy.typing import NDArray

from clar.drivers.franka_errors import FRANKY_ERRORS, connection_advice, error_names
from clar.drivers.watched import watched
from clar_core.control.clock import read_clocks
from clar_core.control.robot import DESK_STEPS, RobotError, RobotReading

Array = NDArray[np.float64]
T = TypeVar("T")

FLANGE_TO_TCP = np.array(
    [
        [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0],
        [-np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.1034],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""Flange to TCP of the Franka hand: 0.1034 m along z, turned by -45 degrees about it."""

_TCP_TOLERANCE = 1e-4
_DEAD_MAN_MS = 200
_CONNECT_TIMEOUT_S = 10.0
_ATTEMPTS, _ATTEMPT_PERIOD_S = 3, 0.2
_RECOVER_TIMEOUT_S = 10.0
_SETTER_TIMEOUT_S = 3.0
_POLL_S = 0.005

# Limits of the FR3 (Franka Control Interface documentation): translation m, rotation rad, elbow rad; per s, s^2, s^3.
# Velocities stay below what franky admits, which is the older Panda's.
_CARTESIAN_LIMITS = {
    "translation_velocity_limit": 1.7,
    "translation_acceleration_limit": 9.0,
    "translation_jerk_limit": 4500.0,
    "rotation_velocity_limit": 2.5,
    "rotation_acceleration_limit": 17.0,
    "rotation_jerk_limit": 8500.0,
    "elbow_velocity_limit": 2.1,
    "elbow_acceleration_limit": 10.0,
    "elbow_jerk_limit": 5000.0,
}
_JOINT_LIMITS = {
    "joint_velocity_limit": (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    "joint_acceleration_limit": (10.0, 7.5, 10.0, 10.0, 10.0, 10.0, 10.0),
    "joint_jerk_limit": (5000.0, 3750.0, 5000.0, 5000.0, 5000.0, 5000.0, 5000.0),
}


@dataclass(frozen=True, kw_only=True)
class Impedance:
    """A spring and damper between TCP and reference, for tasks in contact. What pulls at the arm displaces it.

    Attributes:
        stiffness_n_m: translational; an error of the robot's model of its load of 1 N shows as 1 / stiffness.
        stiffness_nm_rad: rotational.
        force_max_n, torque_max_nm: of the spring, along and about each axis, however far away the reference is.
    """

    stiffness_n_m: float = 1500.0
    stiffness_nm_rad: float = 100.0
    force_max_n: float = 40.0
    torque_max_nm: float = 15.0


GUIDING_AXES = ("x", "y", "z", "roll", "pitch", "yaw", "elbow")


@dataclass(frozen=True, kw_only=True, eq=False)
class FrankaConfig:
    """How to connect to one arm.

    Attributes:
        host: address of the robot's control interface.
        realtime: insist on a real-time kernel, as a robot needs; False for a simulator.
        dynamics: fraction of the robot's velocity, acceleration and jerk limits that motions use.
        torque_threshold_nm: contact torque at which the robot's reflex stops it.
        force_threshold_n: contact force at which the robot's reflex stops it.
        flange_T_tcp: (4, 4) the end effector that the robot must be configured with.
        load_mass_kg: of a payload beyond the hand.
        load_centre_m: (3) its centre of mass in the flange frame.
        load_inertia_kg_m2: (9) its inertia, column-major.
        guiding_axes: of ``GUIDING_AXES``, free while the arm is guided by hand; empty leaves the robot as it is.
        impedance: of ``send_reference``.
    """

    host: str
    realtime: bool = True
    dynamics: float = 0.3
    torque_threshold_nm: float = 20.0
    force_threshold_n: float = 30.0
    flange_T_tcp: Array = field(default_factory=FLANGE_TO_TCP.copy)
    load_mass_kg: float = 0.0
    load_centre_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    load_inertia_kg_m2: tuple[float, ...] = (0.0,) * 9
    guiding_axes: tuple[str, ...] = ()
    impedance: Impedance = Impedance()


class FrankaArm:
    """One FR3. Connects when it is made; all calls from one thread."""

    def __init__(self, config: FrankaConfig) -> None:
        """Connect and configure, while the robot stands still.

        Raises:
            RobotError: not reachable, FCI off, another version, another end effector, no real-time kernel.
        """
        self.config = config
        self._ramp: Callable[[], Any] | None = None
        self._success_rate = 1.0
        self._connection: Any = self._connect()

    def __enter__(self) -> FrankaArm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> RobotReading:
        """The newest state. Raises RobotError when the connection is lost."""
        robot = self._robot
        try:
            state = robot.state
        except FRANKY_ERRORS as error:  # a dead connection raises more kinds than NetworkException
            raise self._lost(error) from error
        stamp_ns, now_s = read_clocks()
        jacobian = np.asarray(robot.model.zero_jacobian(franky.Frame.EndEffector, state))
        velocities = np.asarray(state.dq)
        in_motion = state.robot_mode == franky.RobotMode.Move
        if in_motion:
            self._success_rate = float(state.control_command_success_rate)
        return RobotReading(
            T_base_tcp=np.asarray(state.O_T_EE.matrix),
            joints_rad=np.asarray(state.q),
            joint_velocities_rad_s=velocities,
            joint_torques_nm=np.asarray(state.tau_J),
            twist=jacobian @ velocities,
            jacobian=jacobian,
            robot_mode=state.robot_mode.name,
            errors=error_names(state.current_errors),
            command_success_rate=self._success_rate if in_motion else 1.0,
            read_at_s=now_s,
            stamp_ns=stamp_ns,
        )

    def send_twist(self, twist: Array) -> None:
        """Move the TCP by a twist (6,) in m/s and rad/s, base frame; it comes to rest 200 ms after the last call.

        Raises:
            RobotError: not finite, refused by the robot, or a motion failed since the last call.
        """
        if np.shape(twist) != (6,) or not np.isfinite(twist).all():
            raise RobotError(f"twist: expected 6 finite numbers, got {twist}")
        target = franky.Twist(twist[:3], twist[3:])
        self._start(franky.CartesianVelocityMotion(target, franky.Duration(_DEAD_MAN_MS)))
        self._ramp = franky.CartesianVelocityStopMotion

    def send_reference(self, T_base_tcp: Array, twist: Array) -> None:
        """Pull the TCP by a spring to a pose (4, 4) that moves by a twist (6,) in m/s and rad/s, base frame.

        franky's own impedance tracker holds its last reference for ever. So every call starts a motion that the 1 kHz
        thread itself replaces by a stop 200 ms later; a program that hangs lets the arm come to rest all the same.

        Raises:
            RobotError: not finite, refused by the robot, or a motion failed since the last call.
        """
        if np.shape(T_base_tcp) != (4, 4) or np.shape(twist) != (6,):
            raise RobotError(f"reference: expected (4, 4) and (6,), got {np.shape(T_base_tcp)} and {np.shape(twist)}")
        if not (np.isfinite(T_base_tcp).all() and np.isfinite(twist).all()):
            raise RobotError(f"reference: expected finite numbers, got {T_base_tcp} and {twist}")
        spring = self.config.impedance
        motion = franky.CartesianImpedanceMotion(
            franky.Affine(np.asarray(T_base_tcp, dtype=np.float64)),
            franky.Twist(twist[:3], twist[3:]),
            franky.ReferenceType.Absolute,
            spring.stiffness_n_m,
            spring.stiffness_nm_rad,
            translational_error_clip=np.full(3, spring.force_max_n / spring.stiffness_n_m),
            rotational_error_clip=np.full(3, spring.torque_max_nm / spring.stiffness_nm_rad),
        )
        too_old = franky.Measure.REL_TIME > _DEAD_MAN_MS / 1e3
        motion.add_reaction(franky.TorqueReaction(too_old, franky.TorqueStopMotion()))
        self._start(motion)
        self._ramp = franky.TorqueStopMotion

    def start_joint_motion(self, joints_rad: Array, speed: float) -> None:
        """Start a joint motion (7,) at a fraction of the robot's limits, and return at once."""
        relative = float(np.clip(speed / self.config.dynamics, 0.0, 1.0))
        self._start(franky.JointMotion(np.asarray(joints_rad), franky.ReferenceType.Absolute, relative))
        self._ramp = franky.JointStopMotion

    def start_cartesian_motion(self, T_base_tcp: Array, speed: float) -> None:
        """Start a straight motion to a TCP pose (4, 4) at a fraction of the robot's limits, and return at once."""
        relative = float(np.clip(speed / self.config.dynamics, 0.0, 1.0))
        target = franky.Affine(np.asarray(T_base_tcp, dtype=np.float64))
        self._start(franky.CartesianMotion(target, franky.ReferenceType.Absolute, relative))
        self._ramp = franky.CartesianStopMotion

    def wait(self, timeout_s: float = 30.0) -> RobotReading:
        """Block until the motion has ended, and return the state; for notebooks, where nothing else polls.

        Raises:
            RobotError: the motion ended by an error, or lasts longer; then the arm is brought to rest.
        """
        until_s = time.monotonic() + timeout_s
        while self.poll():
            if time.monotonic() > until_s:
                self.ramp_down()
                raise RobotError(f"the motion did not end within {timeout_s:g} s and was stopped: is the arm blocked?")
            time.sleep(_POLL_S)
        return self.read()

    def ramp_down(self) -> None:
        """Bring the arm to rest along its limits; nothing when no motion runs."""
        if self._ramp is not None and self._asking(lambda: self._robot.is_in_control):
            self._start(self._ramp())

    def poll(self) -> bool:
        """Whether a motion runs. Raises RobotError when it ended by an error."""
        finished = self._asking(self._robot.poll_motion)
        return not finished

    def tcp_pose(self, joints_rad: Array) -> Array:
        """Forward kinematics: (4, 4) TCP pose of a joint position (7,)."""
        flange_T_tcp, identity = franky.Affine(self.config.flange_T_tcp), franky.Affine(np.eye(4))
        pose = self._robot.model.pose(franky.Frame.EndEffector, np.asarray(joints_rad), flange_T_tcp, identity)
        return np.asarray(pose.matrix)

    def recover(self) -> None:
        """Clear the robot's errors, with a new connection when the old one is lost.

        Raises:
            RobotError: the robot cannot be reached or does not recover.
        """
        if not self._is_connected():
            self._disconnect()
            self._connection = self._connect()
        step = "check the robot's Desk; if the control box does not react, restart it"
        with suppress(franky.ControlException):
            self._robot.poll_motion()
        self._asking(lambda: watched(self._robot.recover_from_errors, _RECOVER_TIMEOUT_S, "error recovery", step))

    def close(self) -> None:
        """Bring the arm to rest and disconnect."""
        with suppress(RobotError):
            self.ramp_down()
            until_s = time.monotonic() + 1.0
            while self.poll() and time.monotonic() < until_s:
                time.sleep(_POLL_S)
        with suppress(Exception):
            watched(self._robot.stop, 1.0, "stop", "")
        with suppress(RobotError):
            self._disconnect(1.0)  # the robot serves one client: the next one must find it free

    @property
    def _robot(self) -> Any:
        if self._connection is None:
            raise self._lost(ConnectionError("not connected"))
        return self._connection

    def _is_connected(self) -> bool:
        try:
            self.read()
        except RobotError:
            return False
        return True

    def _disconnect(self, timeout_s: float = _CONNECT_TIMEOUT_S) -> None:
        """Close a dead connection: the robot serves one client, so it must be gone before there can be a new one."""
        last_reference, self._connection = [self._connection], None
        gc.collect()
        watched(last_reference.clear, timeout_s, "closing the lost connection", "restart this program")

    def _start(self, motion: Any) -> None:
        def move() -> None:
            if self.config.realtime and not self._robot.is_in_control:
                with _real_time_priority():
                    self._robot.move(motion, asynchronous=True)
            else:
                self._robot.move(motion, asynchronous=True)

        self._asking(move)

    def _connect(self) -> Any:
        config = self.config
        realtime = franky.RealtimeConfig.Enforce if config.realtime else franky.RealtimeConfig.Ignore
        step = "check the cable and robot_ip, and that no other program controls the robot"

        def connect(attempts: int = _ATTEMPTS) -> Any:
            # As root the constructor makes the calling thread SCHED_FIFO 99, and that thread ends here.
            try:
                return franky.Robot(
                    config.host,
                    relative_dynamics_factor=config.dynamics,
                    default_torque_threshold=config.torque_threshold_nm,
                    default_force_threshold=config.force_threshold_n,
                    realtime_config=realtime,
                )
            except franky.NetworkException:
                if attempts == 1:
                    raise
            time.sleep(_ATTEMPT_PERIOD_S)  # a client that has just left may still be counted
            return connect(attempts - 1)

        try:
            robot = watched(connect, _CONNECT_TIMEOUT_S, f"connecting to the robot at {config.host}", step)
            self._check_tcp(np.asarray(robot.state.F_T_EE.matrix))
            watched(lambda: self._configure(robot), _SETTER_TIMEOUT_S, "configuring the robot", step)
        except FRANKY_ERRORS as error:
            raise RobotError(connection_advice(error, config.host)) from error
        return robot

    def _configure(self, robot: Any) -> None:
        for name, value in _CARTESIAN_LIMITS.items():
            getattr(robot, name).set(value)
        for name, values in _JOINT_LIMITS.items():
            getattr(robot, name).set(np.array(values))
        if self.config.load_mass_kg > 0.0:
            robot.set_load(
                self.config.load_mass_kg, list(self.config.load_centre_m), list(self.config.load_inertia_kg_m2)
            )

        if self.config.guiding_axes:
            free = [axis in self.config.guiding_axes for axis in GUIDING_AXES]
            robot.set_guiding_mode(free[:6], free[6])

    def _check_tcp(self, found: Array) -> None:
        error = float(np.abs(found - self.config.flange_T_tcp).max())
        if error > _TCP_TOLERANCE:
            raise RobotError(
                f"end effector: the cell file says F_T_EE =\n{self.config.flange_T_tcp}\nbut the robot at"
                f" {self.config.host} has\n{found}\n(they differ by {error:.4f}, at most {_TCP_TOLERANCE:g} may):"
                " set the end effector on the robot's Desk (Settings, End Effector), or F_T_EE in the cell file"
            )

    def _asking(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except franky.ControlException as error:
            raise RobotError(self._describe(error)) from error
        except franky.NetworkException as error:
            raise self._lost(error) from error
        except FRANKY_ERRORS as error:
            raise RobotError(f"the robot refuses: {error}") from error

    def _lost(self, error: Exception) -> RobotError:
        host = self.config.host
        return RobotError(f"connection to the robot at {host} lost ({error}): check the network, then `clar recover`")

    def _describe(self, error: Exception) -> str:
        """What the robot says stopped it, with its errors by name."""
        text = " ".join(str(error).replace("libfranka:", "").split())
        with suppress(Exception):
            state = self._robot.state
            causes = error_names(state.last_motion_errors) or error_names(state.current_errors)
            if causes:
                text = f"{', '.join(causes)} ({text})"
            mode = state.robot_mode.name
            if mode in DESK_STEPS:
                text = f"{text}; it is in mode {mode}: {DESK_STEPS[mode]}"
        if "success_rate" not in text:
            text = f"{text}; control command success rate before it {self._success_rate:.2f}"
        return f"the robot stopped itself: {text}"


@contextmanager
def _real_time_priority() -> Iterator[None]:
    """Give threads that are started inside real-time priority: franky's control thread inherits it from its starter."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)
