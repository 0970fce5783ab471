"""The robot's server: requests over TCP, states and commands over UDP, one client at a time."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable

import numpy as np

from tests.hardware.fci_emulator.arm import TICK_S, EmulatedArm
from tests.hardware.fci_emulator.kinematics import description
from tests.hardware.fci_emulator.protocol import (
    COMMAND,
    ROBOT_HEADER,
    ROBOT_PORT,
    ROBOT_VERSION,
    MoveStatus,
    RobotCommand,
    RobotMode,
)

_HEADER_SIZE = struct.calcsize(ROBOT_HEADER)
_IDLE_S = 0.05


class RobotServer:
    """Serves one arm, and loses packets on request.

    Attributes:
        requests: what the owner of the server wants done in its thread.
        packet_loss: part of the control commands that get lost on the way.
        delay_s: how late control commands arrive; later than a tick they count as lost.
        off: FCI is off, or the cable is out: the client is dropped, and no other one is let in.
    """

    def __init__(
        self, arm: EmulatedArm, address: str, lockstep_s: float = 0.5, version: int = ROBOT_VERSION, seed: int = 0
    ) -> None:
        """``lockstep_s`` is how long the answer to a state is waited for before the robot goes on without."""
        self.arm = arm
        self.requests: list[Callable[[], None]] = []
        self.packet_loss = 0.0
        self.delay_s = 0.0
        self.off = False
        self._random = np.random.default_rng(seed)
        self._address = address
        self._lockstep_s = lockstep_s
        self._version = version
        self._move_id: int | None = None
        self._answered = False
        self._listener = socket.create_server((address, ROBOT_PORT))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, 0))

    def serve(self) -> None:
        """Serve one client after the other, for ever."""
        while True:
            while not select.select([self._listener], [], [], _IDLE_S)[0]:
                self._do_requests()
                self._stay_off()
            self._client, _ = self._listener.accept()
            self._listener.close()  # a second client must be refused: libfranka's handshake has no time-out
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer: tuple[str, int] | None = None
            self._received = b""
            try:
                self._session()
            except OSError:
                self._move_id = None
                self.arm.finish()
            self._client.close()
            self._listener = socket.create_server((self._address, ROBOT_PORT))
            self._stay_off()

    def _is_off(self) -> bool:
        return self.off  # set by another thread

    def _stay_off(self) -> None:
        if not self._is_off():
            return
        self._listener.close()
        while self._is_off():
            self._do_requests()
            time.sleep(_IDLE_S)
        self._listener = socket.create_server((self._address, ROBOT_PORT))

    def end_move(self, status: MoveStatus) -> None:
        """Tell the client that its motion ended."""
        move_id, self._move_id = self._move_id, None
        if move_id is not None:
            self._reply(RobotCommand.MOVE, move_id, bytes([status]))

    def _session(self) -> None:
        due_s = time.monotonic()
        while True:
            if self.off:
                raise ConnectionError("FCI is off")
            self._do_requests()
            self._wait_for_requests(due_s)
            due_s = max(due_s + TICK_S, time.monotonic())
            if self._peer is None:
                continue
            self._udp.sendto(self.arm.state(), self._peer)
            command = self._wait_for_command() if self.arm.moving else None
            finished = command is not None and bool(command["motion_finished"])
            # The client reads some states of a new motion before it answers the first one.
            self._answered = self._answered or command is not None
            if self._answered and self.arm.moving and not self._arrives(command):
                command = None
            self.arm.tick(command)
            if finished and command is not None:
                self.arm.finish()
                self.end_move(MoveStatus.SUCCESS)

    def _arrives(self, command: np.void | None) -> bool:
        """Whether the command of this tick makes it in time; too many in a row that do not end the motion."""
        in_time = command is not None and self.delay_s <= TICK_S and self._random.random() >= self.packet_loss
        if self.arm.count(in_time):
            self.arm.fail("communication_constraints_violation")
            self.end_move(MoveStatus.REFLEX_ABORTED)
        return in_time

    def _do_requests(self) -> None:
        while self.requests:
            self.requests.pop(0)()

    def _wait_for_requests(self, until_s: float) -> None:
        while True:
            if select.select([self._client], [], [], max(0.0, until_s - time.monotonic()))[0]:
                self._receive()
            elif time.monotonic() >= until_s:
                return

    def _wait_for_command(self) -> np.void | None:
        """The command that answers the last state; older ones are dropped."""
        until_s = time.monotonic() + (self._lockstep_s if self._answered else TICK_S)
        while self.arm.moving and (left_s := until_s - time.monotonic()) > 0:
            ready, _, _ = select.select([self._udp, self._client], [], [], left_s)
            if self._client in ready:
                self._receive()
            if self._udp in ready:
                data = self._udp.recv(2048)
                if len(data) == COMMAND.itemsize:
                    command: np.void = np.frombuffer(data, COMMAND)[0]
                    if command["message_id"] == self.arm.message_id:
                        return command
        return None

    def _receive(self) -> None:
        data = self._client.recv(65536)
        if not data:
            raise ConnectionError
        self._received += data
        while len(self._received) >= _HEADER_SIZE:
            command, request_id, size = struct.unpack_from(ROBOT_HEADER, self._received)
            if len(self._received) < size:
                return
            payload, self._received = self._received[_HEADER_SIZE:size], self._received[size:]
            self._handle(RobotCommand(command), request_id, payload)

    def _handle(self, command: RobotCommand, request_id: int, payload: bytes) -> None:
        if command is RobotCommand.CONNECT:
            version, port = struct.unpack("<HH", payload)
            self._peer = (self._client.getpeername()[0], port)
            self._reply(command, request_id, struct.pack("<BH", int(version != self._version), self._version))
        elif command is RobotCommand.GET_MODEL:
            self._reply(command, request_id, b"\0" + description())
        elif command is RobotCommand.MOVE:
            status = self.arm.start(*struct.unpack_from("<II", payload))
            self._reply(command, request_id, bytes([status]))
            if status is MoveStatus.STARTED:
                self._move_id, self._answered = request_id, False
        elif command is RobotCommand.STOP_MOVE:
            self.arm.finish()
            self._reply(command, request_id, b"\0")
            self.end_move(MoveStatus.PREEMPTED)
        elif command is RobotCommand.RECOVER:
            self.arm.recover()
            self._reply(command, request_id, b"\0")
        else:
            refused = self.arm.mode is RobotMode.MOVE
            if not refused and command is RobotCommand.SET_COLLISION_BEHAVIOR:
                self.arm.thresholds = np.frombuffer(payload, "<f8").copy()
            elif not refused and command is RobotCommand.SET_LOAD:
                self.arm.load = np.frombuffer(payload, "<f8").copy()
            elif not refused and command is RobotCommand.SET_GUIDING_MODE:
                self.arm.free_axes = [bool(flag) for flag in payload]
            self._reply(command, request_id, bytes([int(refused)]))

    def _reply(self, command: RobotCommand, request_id: int, payload: bytes) -> None:
        size = _HEADER_SIZE + len(payload)
        self._client.sendall(struct.pack(ROBOT_HEADER, command, request_id, size) + payload)
