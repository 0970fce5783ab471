import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clar_core.control.action import Action, GripperHysteresis, InvalidActionError
from clar_core.geometry import poses

finite = st.floats(-1.0, 1.0)


@given(st.lists(finite, min_size=7, max_size=7))
def test_array_round_trip(values: list[float]) -> None:
    assert Action.from_array(values).to_array() == pytest.approx(values)


@pytest.mark.parametrize("index", range(7))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_whole(index: int, bad: float) -> None:
    values = np.zeros(7)
    values[index] = bad
    with pytest.raises(InvalidActionError, match="finite"):
        Action.from_array(values)


@pytest.mark.parametrize("values", [np.zeros(6), np.zeros((1, 7)), np.zeros(8), [], ["a"] * 7, None])
def test_a_wrong_shape_is_refused(values: object) -> None:
    with pytest.raises(InvalidActionError):
        Action.from_array(values)  # type: ignore[arg-type]


def test_rotation_is_applied_from_the_left_in_the_base_frame() -> None:
    T = poses.make_pose(poses.rotation_vector_to_matrix([np.pi, 0, 0]), [0.4, 0.1, 0.3])
    moved = Action([0.01, 0, 0], [0, 0, 0.1], 1.0).applied_to(T)  # type: ignore[arg-type]
    assert moved[:3, 3] == pytest.approx([0.41, 0.1, 0.3])
    assert moved[:3, :3] @ T[:3, :3].T == pytest.approx(poses.rotation_vector_to_matrix([0, 0, 0.1]))


def test_an_action_keeps_a_copy_of_its_numbers() -> None:
    source = np.zeros(7)
    action = Action.from_array(source)
    source[:] = 1.0
    assert (action.to_array() == 0).all()


def test_the_gripper_changes_after_two_ticks_of_dwell() -> None:
    gripper = GripperHysteresis(target=True)
    assert gripper.update(0.1) == 1.0
    assert gripper.update(0.1) == 0.0
    assert gripper.update(0.9) == 0.0
    assert gripper.update(0.9) == 1.0


def test_the_gripper_does_not_chatter_between_the_thresholds() -> None:
    gripper = GripperHysteresis(target=True)
    assert [gripper.update(value) for value in (0.45, 0.41, 0.55, 0.4)] == [1.0] * 4
    gripper.reset(False)
    assert [gripper.update(value) for value in (0.45, 0.59, 0.6, 0.55)] == [0.0] * 4


def test_a_single_spike_does_not_move_the_gripper() -> None:
    gripper = GripperHysteresis(target=True)
    assert [gripper.update(value) for value in (0.0, 1.0, 0.0, 1.0)] == [1.0] * 4
