"""The robot state on the wire against franky-sim's own serialisation, field by field."""

from __future__ import annotations

import numpy as np
from franky_sim.franka_robot_protocol import RobotMode, StateControllerMode, StateMotionGeneratorMode
from franky_sim.franka_robot_state import FrankaRobotState

from clar_core.simulation.live_wire import STATE_DTYPE, WireState, pose_to_wire

_MESSAGE_ID_BYTES = 8
_ROBOT_STATE_BYTES = 1377


def test_state_has_the_size_of_a_libfranka_robot_state() -> None:
    assert STATE_DTYPE.itemsize + _MESSAGE_ID_BYTES == _ROBOT_STATE_BYTES


def test_state_serialises_every_field_where_franky_sim_puts_it() -> None:
    random = np.random.default_rng(0)
    wire, values = WireState(), {}
    for name in STATE_DTYPE.names or ():
        shape = STATE_DTYPE[name].shape
        if STATE_DTYPE[name].base == np.dtype("<f4") and shape:
            wire[name][:] = random.uniform(-1, 1, shape).astype(np.float32)
            values[name] = wire[name].tolist()
    for name in ("m_ee", "m_load"):
        values[name] = values[name][0]
    modes = {
        "robot_mode": RobotMode.kMove,
        "controller_mode": StateControllerMode.kJointImpedance,
        "motion_generator_mode": StateMotionGeneratorMode.kCartesianVelocity,
    }
    expected = FrankaRobotState(**values, **modes, control_command_success_rate=1.0)
    assert wire.replace(**modes).pack_state() == expected.pack_state()


def test_poses_go_out_in_column_major_order() -> None:
    T = np.arange(16.0).reshape(4, 4)
    assert pose_to_wire(T).tolist() == T.T.ravel().tolist()
