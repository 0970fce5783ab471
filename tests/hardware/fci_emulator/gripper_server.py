"""The emulated hand and its server."""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass

from tests.hardware.fci_emulator.protocol import (
    GRIPPER_HEADER,
    GRIPPER_PORT,
    GRIPPER_VERSION,
    GripperCommand,
    GripperStatus,
)

_HEADER_SIZE = struct.calcsize(GRIPPER_HEADER)
_TICK_S = 1.0 / 30.0


@dataclass
class _Job:
    command: GripperCommand
    request_id: int
    goal_m: float
    speed_m_s: float


class GripperServer:
    """Serves one hand.

    Attributes:
        object_m: width of what is between the fingers, None for nothing.
        max_width_m: largest opening, as the last homing found it; 0 before.
        homed_width_m: the opening that homing will find.
        hangs: never finish what is asked.
        fails: refuse what is asked.
        dead: the server is gone: the client is dropped, and no other one is let in.
    """

    def __init__(self, address: str, version: int = GRIPPER_VERSION) -> None:
        self.object_m: float | None = None
        self.max_width_m = 0.08
        self.hangs = self.fails = self.dead = False
        self._address, self._version = address, version
        self._width_m = 0.08
        self._grasped = False
        self.homed_width_m = 0.08
        self._count = 0
        self._job: _Job | None = None
        self._listener = socket.create_server((address, GRIPPER_PORT))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, 0))

    @property
    def holds(self) -> bool:
        """Whether something is between the fingers."""
        return self._grasped and self._width_m > 0.0

    def serve(self) -> None:
        """Serve one client after the other, for ever."""
        while True:
            while not select.select([self._listener], [], [], _TICK_S)[0]:
                self._stay_dead()
            self._client, _ = self._listener.accept()
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer: tuple[str, int] | None = None
            self._received, self._job = b"", None
            try:
                self._session()
            except OSError:
                self._client.close()
            self._stay_dead()

    def _is_dead(self) -> bool:
        return self.dead  # set by another thread

    def _stay_dead(self) -> None:
        if not self._is_dead():
            return
        self._listener.close()
        while self._is_dead():
            time.sleep(_TICK_S)
        self._listener = socket.create_server((self._address, GRIPPER_PORT))

    def _session(self) -> None:
        while True:
            if self.dead:
                raise ConnectionError("the gripper's server died")
            if select.select([self._client], [], [], _TICK_S)[0]:
                self._receive()
            self._tick()
            if self._peer is not None:
                self._count += 1
                state = struct.pack("<Idd?H", self._count, self._width_m, self.max_width_m, self._grasped, 25)
                self._udp.sendto(state, self._peer)

    def _receive(self) -> None:
        data = self._client.recv(4096)
        if not data:
            raise ConnectionError
        self._received += data
        while len(self._received) >= _HEADER_SIZE:
            command, request_id, size = struct.unpack_from(GRIPPER_HEADER, self._received)
            if len(self._received) < size:
                return
            payload, self._received = self._received[_HEADER_SIZE:size], self._received[size:]
            self._handle(GripperCommand(command), request_id, payload)

    def _handle(self, command: GripperCommand, request_id: int, payload: bytes) -> None:
        if command is GripperCommand.CONNECT:
            version, port = struct.unpack("<HH", payload)
            self._peer = (self._client.getpeername()[0], port)
            extra = struct.pack("<H", self._version)
            self._reply(command, request_id, GripperStatus(int(version != self._version)), extra)
            return
        if self._job is not None:
            self._reply(self._job.command, self._job.request_id, GripperStatus.ABORTED)
            self._job = None
        if command is GripperCommand.STOP:
            self._reply(command, request_id, GripperStatus.SUCCESS)
        elif self.fails:
            self._reply(command, request_id, GripperStatus.FAIL)
        else:
            numbers = struct.unpack(f"<{len(payload) // 8}d", payload)
            if command is GripperCommand.HOMING:
                goal_m, speed_m_s = self.homed_width_m, 0.1
            elif command is GripperCommand.GRASP:
                goal_m, speed_m_s = numbers[0], numbers[3]
            else:
                goal_m, speed_m_s = numbers[0], numbers[1]
            self._grasped = False
            self._job = _Job(command, request_id, goal_m, speed_m_s)

    def _tick(self) -> None:
        if self.object_m is None and self._grasped and self._width_m > 0.0:
            self._grasped, self._width_m = False, 0.0  # it slipped out
        job = self._job
        if job is None or self.hangs:
            return
        step_m = job.speed_m_s * _TICK_S
        stop_m = job.goal_m if self.object_m is None else max(job.goal_m, self.object_m)
        self._width_m += min(max(stop_m - self._width_m, -step_m), step_m)
        if abs(self._width_m - stop_m) < 1e-6:
            self._grasped = job.command is GripperCommand.GRASP
            if job.command is GripperCommand.HOMING:
                self.max_width_m = self.homed_width_m
            self._reply(job.command, job.request_id, GripperStatus.SUCCESS)
            self._job = None

    def _reply(self, command: GripperCommand, request_id: int, status: GripperStatus, extra: bytes = b"") -> None:
        size = _HEADER_SIZE + 2 + len(extra)
        self._client.sendall(struct.pack("<HIIH", command, request_id, size, status) + extra)
