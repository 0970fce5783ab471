"""The control interface on the wire: ids, statuses and packed records, little-endian.

Robot server version 10 and gripper server version 3, as libfranka 0.21 speaks them.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

ROBOT_PORT, GRIPPER_PORT = 1337, 1338
ROBOT_VERSION, GRIPPER_VERSION = 10, 3
ROBOT_HEADER, GRIPPER_HEADER = "<III", "<HII"
"""Command, id of the request, size of the whole message."""


class RobotCommand(IntEnum):
    """Requests to the robot server."""

    CONNECT = 0
    MOVE = 1
    STOP_MOVE = 2
    SET_COLLISION_BEHAVIOR = 3
    SET_JOINT_IMPEDANCE = 4
    SET_CARTESIAN_IMPEDANCE = 5
    SET_GUIDING_MODE = 6
    SET_EE_T_K = 7
    SET_NE_T_EE = 8
    SET_LOAD = 9
    RECOVER = 10
    GET_MODEL = 11


class MoveStatus(IntEnum):
    """How a motion starts and ends."""

    SUCCESS = 0
    STARTED = 1
    PREEMPTED = 2
    NOT_POSSIBLE = 5
    REFLEX_ABORTED = 8
    EMERGENCY_ABORTED = 9


class RobotMode(IntEnum):
    """The robot's own mode."""

    OTHER = 0
    IDLE = 1
    MOVE = 2
    GUIDING = 3
    REFLEX = 4
    USER_STOPPED = 5


class Generator(IntEnum):
    """Motion generators, as requests number them; in the state they count from one."""

    JOINT_POSITION = 0
    JOINT_VELOCITY = 1
    CARTESIAN_POSITION = 2
    CARTESIAN_VELOCITY = 3


NO_CONTROLLER = 3
"""Controller mode in the state while no motion runs."""


class GripperCommand(IntEnum):
    """Requests to the gripper server."""

    CONNECT = 0
    HOMING = 1
    GRASP = 2
    MOVE = 3
    STOP = 4


class GripperStatus(IntEnum):
    """How a gripper request ends."""

    SUCCESS = 0
    FAIL = 1
    UNSUCCESSFUL = 2
    ABORTED = 3


ERROR_COUNT = 41
ERRORS = {
    "joint_position_limits_violation": 0,
    "joint_velocity_violation": 3,
    "joint_reflex": 6,
    "cartesian_reflex": 7,
    "communication_constraints_violation": 25,
}
"""Positions of some errors in the state's error arrays."""

_F = "<f4"

STATE = np.dtype(
    [("message_id", "<u8")]
    + [(name, _F, 16) for name in ("O_T_EE", "O_T_EE_d", "F_T_EE", "EE_T_K", "F_T_NE", "NE_T_EE")]
    + [("m_ee", _F), ("I_ee", _F, 9), ("F_x_Cee", _F, 3), ("m_load", _F), ("I_load", _F, 9), ("F_x_Cload", _F, 3)]
    + [("elbow", _F, 2), ("elbow_d", _F, 2)]
    + [(name, _F, 7) for name in ("tau_J", "tau_J_d", "dtau_J", "q", "q_d", "dq", "dq_d", "ddq_d", "joint_contact")]
    + [("cartesian_contact", _F, 6), ("joint_collision", _F, 7), ("cartesian_collision", _F, 6)]
    + [("tau_ext_hat_filtered", _F, 7), ("O_F_ext_hat_K", _F, 6), ("K_F_ext_hat_K", _F, 6), ("O_dP_EE_d", _F, 6)]
    + [("O_ddP_O", _F, 3), ("elbow_c", _F, 2), ("delbow_c", _F, 2), ("ddelbow_c", _F, 2), ("O_T_EE_c", _F, 16)]
    + [("O_dP_EE_c", _F, 6), ("O_ddP_EE_c", _F, 6), ("theta", _F, 7), ("dtheta", _F, 7)]
    + [("accelerometer_top", _F, 18), ("accelerometer_bottom", _F, 18), ("generator", "u1"), ("controller", "u1")]
    + [("errors", "u1", ERROR_COUNT), ("last_motion_errors", "u1", ERROR_COUNT), ("mode", "u1"), ("success_rate", _F)]
)

COMMAND = np.dtype(
    [
        ("message_id", "<u8"),
        ("q_c", "<f8", 7),
        ("dq_c", "<f8", 7),
        ("O_T_EE_c", "<f8", 16),
        ("O_dP_EE_c", "<f8", 6),
        ("elbow_c", "<f8", 2),
        ("valid_elbow", "u1"),
        ("motion_finished", "u1"),
        ("tau_J_d", "<f8", 7),
        ("torque_finished", "u1"),
    ]
)

assert STATE.itemsize == 1377, "the size of a state on the wire"
assert COMMAND.itemsize == 371, "the size of a command on the wire"
