"""The robot state at the capture stamp of a depth image."""

import numpy as np
import pytest

from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix
from clar_core.observation.spec import ObservationSpec
from clar_core.observation.state import StampedState, StateBuffer, StateGapError, interpolate_state

SPEC = ObservationSpec()
MS = 1_000_000


def _state(stamp_ms, x=0.0, yaw=0.0, width=0.0):
    return StampedState(stamp_ms * MS, make_pose(rotation_vector_to_matrix((0, 0, yaw)), (x, 0, 0)), width)


def test_state_is_interpolated_to_the_capture_stamp():
    state = interpolate_state(_state(0, 0.1, 0.0, 0.02), _state(10, 0.2, 0.4, 0.04), 5 * MS, SPEC)
    np.testing.assert_allclose(
        state.T_base_tcp, make_pose(rotation_vector_to_matrix((0, 0, 0.2)), (0.15, 0, 0)), atol=1e-9
    )
    assert state.gripper_width_m == pytest.approx(0.03)
    assert state.stamp_ns == 5 * MS


def test_a_gap_longer_than_allowed_is_refused():
    interpolate_state(_state(0), _state(39), 20 * MS, SPEC)
    with pytest.raises(StateGapError, match=r"25.0 ms.*20.0 ms"):
        interpolate_state(_state(0), _state(30), 25 * MS, SPEC)


def test_states_are_never_extrapolated():
    buffer = StateBuffer(SPEC)
    with pytest.raises(StateGapError, match="none received yet"):
        buffer.at(0)
    buffer.append(_state(10))
    buffer.append(_state(20))
    for stamp_ms in (9, 21):
        with pytest.raises(StateGapError, match="none around"):
            buffer.at(stamp_ms * MS)
    with pytest.raises(StateGapError, match="not between"):
        interpolate_state(_state(10), _state(20), 21 * MS, SPEC)


def test_buffer_answers_with_the_neighbours_of_the_stamp():
    buffer = StateBuffer(SPEC, capacity=50)
    for stamp_ms in range(0, 1000, 10):
        assert buffer.append(_state(stamp_ms, x=stamp_ms * 1e-3))
    assert len(buffer) == 50
    assert buffer.newest_stamp_ns() == 990 * MS
    assert buffer.at(777 * MS).T_base_tcp[0, 3] == pytest.approx(0.777)
    assert buffer.at(780 * MS).stamp_ns == 780 * MS
    with pytest.raises(StateGapError):
        buffer.at(400 * MS)


def test_an_exact_stamp_needs_no_neighbours():
    buffer = StateBuffer(SPEC)
    buffer.append(_state(10, x=0.5))
    assert buffer.at(10 * MS).T_base_tcp[0, 3] == 0.5


def test_states_that_repeat_or_go_back_are_ignored():
    buffer = StateBuffer(SPEC)
    assert buffer.append(_state(10))
    assert not buffer.append(_state(10, x=1.0))
    assert not buffer.append(_state(5))
    assert len(buffer) == 1
    buffer.clear()
    assert buffer.newest_stamp_ns() is None
    assert buffer.append(_state(5))


def test_a_buffer_too_small_to_interpolate_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        StateBuffer(SPEC, capacity=1)
