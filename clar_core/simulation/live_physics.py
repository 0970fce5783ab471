"""The physics process of the live cell: MuJoCo at 1 kHz in real time behind the Franka Control Interface.

Started by :class:`clar_core.simulation.live.LiveCell`, never by hand. It has a process to itself, because the control
interface wants an answer every millisecond and Python's interpreter lock would give that time to rendering and to ROS.
One thread does everything in turn: commands of the client, one physics step, the new state to the client, a snapshot to
the ring, and now and then a request of the parent, which come as JSON lines over a socket.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from franky_sim import FrankaRobotServer

from clar_core.simulation.live_robot import TICK_S, LiveRobot
from clar_core.simulation.live_snapshot import STATE_PARTS, SnapshotRing
from clar_core.simulation.scene import HAND_MAX_WIDTH_M, HOME_JOINT_POSITIONS_RAD, RobotIndices, compile_model
from clar_core.simulation.tasks import get_task

FCI_PORTS = (1337, 1338)
"""Robot and gripper; fixed by the protocol, so several cells need several addresses."""

_TICK_NS = 1_000_000
_REQUEST_EVERY_TICKS = 10
_FACTOR_WINDOW_TICKS = 200
_FACTOR_WINDOWS = 5
_MAX_DEBT_NS = 200_000_000
_PR_SET_TIMERSLACK = 29
_NICENESS = -10
_TIMER_SLACK_NS = 10_000


class PortInUseError(OSError):
    """Another process listens where the control interface should."""


@dataclass(frozen=True)
class PhysicsSettings:
    """What the parent passes on the command line."""

    task: str
    seed: int
    address: str
    ring: int
    requests: int


class Physics:
    """Scene, robot and servers, advanced tick by tick."""

    def __init__(self, settings: PhysicsSettings, ring: SnapshotRing) -> None:
        self._ring = ring
        self._epoch = 0
        self.task = get_task(settings.task)
        self.seed = settings.seed
        self.model, self.data = _scene(settings.task)
        self.robot = LiveRobot(self.model, self.data)
        self.robot.set_hand_goal(HAND_MAX_WIDTH_M, 0.05, 70.0)
        self._state = np.zeros(mujoco.mj_stateSize(self.model, STATE_PARTS))
        self.reset(settings.task, settings.seed)
        check_ports_free(settings.address)
        self._server = FrankaRobotServer(self.robot, [settings.address])
        self._server.init()
        self._clock = _RealTimeFactor()

    def reset(self, task: str, seed: int) -> None:
        """Put the objects of a task where its seed draws them; the arm and the hand stay as they are.

        Another task loads another scene around the same robot, which counts as a new epoch.
        """
        if task != self.task.name:
            model, data = _scene(task)
            _copy_robot(self.model, self.data, model, data)
            self.task, self.model, self.data = get_task(task), model, data
            self.robot.attach(model, data)
            self._state = np.zeros(mujoco.mj_stateSize(model, STATE_PARTS))
            self._epoch += 1
        robot = RobotIndices.of(self.model)
        arm = np.concatenate([robot.arm_qpos, robot.finger_qpos]), np.concatenate([robot.arm_dof, robot.finger_dof])
        q, dq = self.data.qpos[arm[0]].copy(), self.data.qvel[arm[1]].copy()
        self.task.reset(self.model, self.data, np.random.default_rng(seed))
        self.data.qpos[arm[0]], self.data.qvel[arm[1]] = q, dq
        self.data.qacc_warmstart[:] = 0.0
        mujoco.mj_step1(self.model, self.data)
        self.seed = seed

    def tick(self) -> None:
        """One millisecond of simulated time."""
        self._server.process_commands()
        self.robot.step()
        self._server.send_state()
        mujoco.mj_getState(self.model, self.data, self._state, STATE_PARTS)
        now_ns = time.monotonic_ns()
        self._ring.write(
            self._state,
            simulated_time_s=self.data.time,
            monotonic_ns=now_ns,
            wall_ns=time.time_ns(),
            real_time_factor=self._clock.tick(now_ns),
            epoch=self._epoch,
            seed=self.seed,
            client_connected=self._server.tcp_connected,
        )

    def close(self) -> None:
        """Close the control interface."""
        self._server.reset_state()
        self._server.cleanup()


class _RealTimeFactor:
    """Simulated over wall time in the last second, updated every 200 ticks."""

    def __init__(self) -> None:
        self._marks = [time.monotonic_ns()]
        self._ticks = 0
        self._factor = 1.0

    def tick(self, now_ns: int) -> float:
        self._ticks += 1
        if self._ticks % _FACTOR_WINDOW_TICKS == 0:
            self._marks = [*self._marks[-_FACTOR_WINDOWS:], now_ns]
            simulated_ns = (len(self._marks) - 1) * _FACTOR_WINDOW_TICKS * _TICK_NS
            self._factor = simulated_ns / max(now_ns - self._marks[0], 1)
        return self._factor


class _Requests:
    """JSON lines from the parent; each gets one line back."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._received = b""

    def send(self, **message: Any) -> None:
        """Send one line. A parent that has gone is noticed by ``receive``."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except (BrokenPipeError, ConnectionError):
            return

    def receive(self) -> Iterator[dict[str, Any]]:
        """Requests that have come in. Raises EOFError when the parent has gone."""
        try:
            chunk = self._socket.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            chunk = b""
        if not chunk:
            raise EOFError("the parent process has closed the connection")
        *lines, self._received = (self._received + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


def check_ports_free(address: str) -> None:
    """Raise unless the two ports of the control interface can be bound at ``address``.

    Raises:
        PortInUseError: another process listens there; names the port and how to find that process.
        OSError: this machine has no such address.
    """
    for port in FCI_PORTS:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise PortInUseError(
                        f"port {port} at {address} is in use, so the simulated robot cannot listen there: is another"
                        f" simulator running? Find it with `ss -ltnp 'sport = :{port}'` and stop it, or choose another"
                        " loopback address (127.0.0.2, ...) with robot_ip",
                    ) from error
                raise OSError(
                    f"cannot listen at {address}:{port} ({error.strerror}): the simulated robot needs an address of"
                    " this machine, such as 127.0.0.1; set robot_ip",
                ) from error


def run(settings: PhysicsSettings) -> int:
    """Run until the parent asks to stop or goes away; returns the exit status."""
    # Ctrl-C reaches every process of a terminal; the parent decides when the cell ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _ask_for_precise_timers()
    _ask_for_priority()
    requests = _Requests(settings.requests)
    try:
        physics = Physics(settings, SnapshotRing.attach(settings.ring))
    except Exception as error:
        requests.send(event="failed", message=str(error) or type(error).__name__)
        return 1
    physics.tick()
    requests.send(event="ready")
    try:
        _loop(physics, requests)
    except EOFError:
        return 0
    finally:
        physics.close()
    return 0


def _loop(physics: Physics, requests: _Requests) -> None:
    due_ns = time.monotonic_ns()
    ticks = 0
    while True:
        physics.tick()
        ticks += 1
        if ticks % _REQUEST_EVERY_TICKS == 0:
            for request in requests.receive():
                if request["request"] == "stop":
                    requests.send(event="stopped")
                    return
                _answer(physics, requests, request)
        due_ns += _TICK_NS
        ahead_ns = due_ns - time.monotonic_ns()
        if ahead_ns > 0:
            time.sleep(ahead_ns * 1e-9)
        elif -ahead_ns > _MAX_DEBT_NS:
            # Ticks without a pause catch up a short stall. Of a long one the rest is lost, which the factor shows.
            due_ns += -ahead_ns - _MAX_DEBT_NS


def _answer(physics: Physics, requests: _Requests, request: dict[str, Any]) -> None:
    try:
        if request["request"] != "reset":
            raise ValueError(f"unknown request {request['request']!r}")
        physics.reset(request["task"] or physics.task.name, int(request["seed"]))
    except (ValueError, LookupError, OverflowError) as error:
        requests.send(event="refused", message=str(error))
    else:
        requests.send(event="done", task=physics.task.name, seed=physics.seed)


def _scene(task: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = compile_model(get_task(task), timestep_s=TICK_S)
    data = mujoco.MjData(model)
    robot = RobotIndices.of(model)
    data.qpos[robot.arm_qpos] = HOME_JOINT_POSITIONS_RAD
    data.qpos[robot.finger_qpos] = HAND_MAX_WIDTH_M / 2
    return model, data


def _copy_robot(model: mujoco.MjModel, data: mujoco.MjData, to_model: mujoco.MjModel, to_data: mujoco.MjData) -> None:
    source, target = RobotIndices.of(model), RobotIndices.of(to_model)
    to_data.time = data.time
    to_data.qpos[target.arm_qpos], to_data.qvel[target.arm_dof] = data.qpos[source.arm_qpos], data.qvel[source.arm_dof]
    to_data.qpos[target.finger_qpos] = data.qpos[source.finger_qpos]


def _ask_for_precise_timers() -> None:
    """A process is woken up to 50 microseconds late by default, which is much of a tick."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _TIMER_SLACK_NS)


def _ask_for_priority() -> None:
    """Real time needs to come first on a busy machine; without the permission it must do without."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, min(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="simulated robot: %(message)s")
    sys.exit(run(PhysicsSettings(**json.loads(sys.argv[1]))))
