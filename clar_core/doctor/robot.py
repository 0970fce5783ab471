"""The robot's control interface, asked over the network as libfranka asks it, without libfranka.

The handshake tells the server's version; for a second after it the robot sends its state a thousand times, and what
arrives of that tells whether network card and kernel are up to it. Nothing moves.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass

import numpy as np

from clar_core.doctor.finding import Finding, fail, ok, skip, warn

ROBOT_PORT, GRIPPER_PORT = 1337, 1338
ROBOT_VERSION, GRIPPER_VERSION = 10, 3
_ROBOT_HEADER, _GRIPPER_HEADER = "<III", "<HII"
_STATE_BYTES = 1377
_MODE_OFFSET = 1372
_MODES = ("Other", "Idle", "Move", "Guiding", "Reflex", "UserStopped", "AutomaticErrorRecovery")
_TIMEOUT_S = 3.0
_LISTEN_S = 1.0
_LOST_MAX = 0.01
_GAP_MAX_S = 0.005


@dataclass(frozen=True)
class States:
    """What arrived of the robot's states in a second: received and lost ones, the longest gap, the robot's mode."""

    received: int
    lost: int
    longest_gap_s: float
    mode: str


def reach(host: str) -> list[Finding]:
    """Connection, version and state stream of the robot, and the version of its hand."""
    if not host:
        return [skip("robot", "no address", "give --cell or --robot-ip")]
    try:
        address = socket.gethostbyname(host)
        connect_ms, version, states = _ask_robot(address)
    except ConnectionRefusedError:
        step = "activate FCI on Desk, unlock the brakes, and end any other program that controls the robot"
        return [fail("robot", f"{host} refuses the connection", step)]
    except (TimeoutError, OSError) as error:
        step = "check the cable, the robot's power, robot_ip in the cell file and this machine's own address (ping it)"
        return [fail("robot", f"{host} does not answer ({error})", step)]
    findings = [_judge_version(version), _judge_network(connect_ms, states)]
    if states.mode not in ("Idle", "unknown"):
        findings.append(warn("robot mode", states.mode, "on Desk: release the user stop, unlock the brakes"))
    return [*findings, _gripper(address)]


def _judge_version(version: int) -> Finding:
    if version == ROBOT_VERSION:
        return ok("robot", f"FR3, server version {version}, FCI active")
    if version <= 5:
        return fail("robot", f"server version {version}: a Franka Emika Panda", "use the franky wheel for a Panda")
    return fail("robot", f"server version {version}, expected {ROBOT_VERSION}", "update the robot's system, or franky")


def _judge_network(connect_ms: float, states: States) -> Finding:
    total = states.received + states.lost
    text = (
        f"connects in {connect_ms:.1f} ms; {states.received} of {total} states in a second,"
        f" longest gap {states.longest_gap_s * 1e3:.1f} ms"
    )
    if not states.received:
        return fail("robot network", text, "let UDP from the robot through this machine's firewall")
    if states.lost > _LOST_MAX * total or states.longest_gap_s > _GAP_MAX_S:
        step = "connect the robot to a network card of its own, without a switch; see the real-time findings above"
        return warn("robot network", text, step)
    return ok("robot network", text)


def _ask_robot(address: str) -> tuple[float, int, States]:
    start_s = time.perf_counter()
    with socket.create_connection((address, ROBOT_PORT), _TIMEOUT_S) as tcp:
        connect_ms = (time.perf_counter() - start_s) * 1e3
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((tcp.getsockname()[0], 0))
            request = struct.pack("<HH", ROBOT_VERSION, udp.getsockname()[1])
            tcp.sendall(struct.pack(_ROBOT_HEADER, 0, 0, 12 + len(request)) + request)
            answer = _receive(tcp, 15)
            version = int(struct.unpack_from("<H", answer, 13)[0])
            return connect_ms, version, _listen(udp) if version == ROBOT_VERSION else States(0, 0, 0.0, "unknown")


def _listen(udp: socket.socket) -> States:
    numbers, times_s, mode = [], [], "unknown"
    end_s = time.perf_counter() + _LISTEN_S
    udp.settimeout(_LISTEN_S)
    while time.perf_counter() < end_s:
        try:
            state = udp.recv(2048)
        except TimeoutError:
            break
        if len(state) == _STATE_BYTES:
            numbers.append(int(struct.unpack_from("<Q", state)[0]))
            times_s.append(time.perf_counter())
            mode = _MODES[min(state[_MODE_OFFSET], len(_MODES) - 1)]
    lost = numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0
    gap_s = float(np.diff(times_s).max()) if len(times_s) > 1 else 0.0
    return States(len(numbers), max(lost, 0), gap_s, mode)


def _gripper(address: str) -> Finding:
    try:
        with (
            socket.create_connection((address, GRIPPER_PORT), _TIMEOUT_S) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            udp.bind((tcp.getsockname()[0], 0))
            request = struct.pack("<HH", GRIPPER_VERSION, udp.getsockname()[1])
            tcp.sendall(struct.pack(_GRIPPER_HEADER, 0, 0, 10 + len(request)) + request)
            version = int(struct.unpack_from("<H", _receive(tcp, 14), 12)[0])
    except (TimeoutError, OSError) as error:
        step = "mount the Franka hand and choose it on Desk (Settings, End Effector), then initialise it there"
        return fail("gripper", f"no gripper server ({error})", step)
    if version != GRIPPER_VERSION:
        return fail("gripper", f"server version {version}, expected {GRIPPER_VERSION}", "update the robot's system")
    return ok("gripper", f"server version {version}")


def _receive(tcp: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = tcp.recv(count - len(data))
        if not part:
            raise ConnectionError("the server closed the connection during the handshake")
        data += part
    return data


def own_address(host: str) -> list[Finding]:
    """Whether this machine's way to the robot leads through a network of its own."""
    if not host:
        return []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, ROBOT_PORT))
        except OSError as error:
            return [
                fail("route to the robot", f"none ({error})", "give this machine an address in the robot's network")
            ]
        own = probe.getsockname()[0]
    if own.rsplit(".", 1)[0] == socket.gethostbyname(host).rsplit(".", 1)[0]:
        return [ok("route to the robot", f"from {own}")]
    step = "give this machine's card an address in the same network, e.g. 172.16.0.1/24 for 172.16.0.2"
    return [warn("route to the robot", f"{host} is reached from {own}, through a router", step)]
