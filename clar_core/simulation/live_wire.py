"""The robot state as the Franka Control Interface puts it on the wire: one packed little-endian record.

Filling a NumPy record in place takes a few microseconds, so that the state of every 1 ms tick costs next to nothing.
Layout: libfranka's ``research_interface::robot::RobotState`` of server version 10 (FR3), without the message id.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT_FIELDS: tuple[tuple[str, int], ...] = (
    ("O_T_EE", 16),
    ("O_T_EE_d", 16),
    ("F_T_EE", 16),
    ("EE_T_K", 16),
    ("F_T_NE", 16),
    ("NE_T_EE", 16),
    ("m_ee", 1),
    ("I_ee", 9),
    ("F_x_Cee", 3),
    ("m_load", 1),
    ("I_load", 9),
    ("F_x_Cload", 3),
    ("elbow", 2),
    ("elbow_d", 2),
    ("tau_J", 7),
    ("tau_J_d", 7),
    ("dtau_J", 7),
    ("q", 7),
    ("q_d", 7),
    ("dq", 7),
    ("dq_d", 7),
    ("ddq_d", 7),
    ("joint_contact", 7),
    ("cartesian_contact", 6),
    ("joint_collision", 7),
    ("cartesian_collision", 6),
    ("tau_ext_hat_filtered", 7),
    ("O_F_ext_hat_K", 6),
    ("K_F_ext_hat_K", 6),
    ("O_dP_EE_d", 6),
    ("O_ddP_O", 3),
    ("elbow_c", 2),
    ("delbow_c", 2),
    ("ddelbow_c", 2),
    ("O_T_EE_c", 16),
    ("O_dP_EE_c", 6),
    ("O_ddP_EE_c", 6),
    ("theta", 7),
    ("dtheta", 7),
    ("accelerometer_top", 18),
    ("accelerometer_bottom", 18),
)
_ERROR_FLAGS = 41

STATE_DTYPE = np.dtype(
    [(name, "<f4", (count,)) for name, count in _FLOAT_FIELDS]
    + [
        ("motion_generator_mode", "u1"),
        ("controller_mode", "u1"),
        ("errors", "u1", (_ERROR_FLAGS,)),
        ("reflex_reason", "u1", (_ERROR_FLAGS,)),
        ("robot_mode", "u1"),
        ("control_command_success_rate", "<f4"),
    ]
)
"""Packed record of 1377 bytes less the 8 of the message id."""


def pose_to_wire(T: NDArray[np.float64]) -> NDArray[np.float64]:
    """A pose (4, 4) as the 16 numbers in column-major order that the interface uses."""
    return T.reshape(16, order="F")


class WireState:
    """One robot state, filled in place and serialised each tick.

    Fields are reached by name: ``state["q"][:] = ...`` writes, ``state.q`` reads. ``replace`` and ``pack_state`` are
    what franky-sim's robot server asks of a state before it sends it.
    """

    def __init__(self) -> None:
        self._record = np.zeros(1, dtype=STATE_DTYPE)
        self._fields: dict[str, NDArray[Any]] = {name: self._record[name][0] for name, _ in _FLOAT_FIELDS}
        identity = pose_to_wire(np.eye(4))
        for name in ("O_T_EE", "O_T_EE_d", "O_T_EE_c", "F_T_EE", "EE_T_K", "F_T_NE", "NE_T_EE"):
            self._fields[name][:] = identity
        # A simulated robot never loses a packet: it repeats the last command while its client is late.
        self._record["control_command_success_rate"] = 1.0

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._fields[name]

    def __getattr__(self, name: str) -> NDArray[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"the robot state has no field {name!r}") from None

    def replace(
        self, *, robot_mode: enum.IntEnum, controller_mode: enum.IntEnum, motion_generator_mode: enum.IntEnum
    ) -> WireState:
        """Set the three modes that the server, not the robot, knows; returns the same object."""
        self._record["robot_mode"] = robot_mode.value
        self._record["controller_mode"] = controller_mode.value
        self._record["motion_generator_mode"] = motion_generator_mode.value
        return self

    def pack_state(self) -> bytes:
        """The record as bytes, as it goes on the wire after the message id."""
        return self._record.tobytes()
