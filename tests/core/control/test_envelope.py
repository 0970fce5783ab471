import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clar_core.control.action import Action
from clar_core.control.envelope import Envelope, EnvelopeLimits, KeepOut, tilt_rad
from clar_core.geometry import poses

LIMITS = EnvelopeLimits(motion_box_min_m=(0.2, -0.4, 0.0), motion_box_max_m=(0.8, 0.4, 0.6))
DOWN = poses.make_pose(poses.rotation_vector_to_matrix([np.pi, 0, 0]), [0.5, 0.0, 0.3])
PILLAR = KeepOut("pillar", (0.55, -0.05, 0.0), (0.65, 0.05, 0.6))


def action(translation: object = (0, 0, 0), rotation: object = (0, 0, 0), gripper: float = 1.0) -> Action:
    return Action(translation, rotation, gripper)  # type: ignore[arg-type]


def at(*position: float) -> np.ndarray:
    return poses.make_pose(DOWN[:3, :3], position)


def follow(envelope: Envelope, T: np.ndarray, step: object, ticks: int, start_s: float = 0.0) -> list:
    """Apply one action again and again to an arm that follows perfectly."""
    results = []
    for tick in range(ticks):
        results.append(envelope.apply(T, step, T, start_s + 0.1 * tick))
        T = results[-1].T_target
    return results


def test_an_action_within_the_limits_passes_unchanged() -> None:
    result = Envelope(LIMITS).apply(DOWN, action([0.01, 0.005, -0.01], [0, 0, 0.05]), DOWN, 0.0)
    assert result.clamped == ()
    assert result.halt is None
    assert result.T_target == pytest.approx(poses.apply_delta(DOWN, [0.01, 0.005, -0.01], [0, 0, 0.05]))


def test_translation_and_rotation_are_clamped_separately_by_scaling() -> None:
    limits = EnvelopeLimits(
        motion_box_min_m=LIMITS.motion_box_min_m, motion_box_max_m=LIMITS.motion_box_max_m, acceleration_m_s2=100.0
    )
    result = Envelope(limits).apply(DOWN, action([0.3, 0.4, 0.0], [0, 0, 0.1]), DOWN, 0.0)
    assert result.clamped == ("step_translation",)
    assert result.action.translation == pytest.approx([0.03, 0.04, 0.0])
    assert result.action.rotation == pytest.approx([0, 0, 0.1])


def test_the_speed_may_grow_only_so_fast_but_drop_at_once() -> None:
    envelope = Envelope(LIMITS)
    results = follow(envelope, at(0.3, 0, 0.3), action([0.05, 0, 0]), 3)
    assert [result.action.translation[0] for result in results] == pytest.approx([0.03, 0.05, 0.05])
    assert "acceleration" in results[0].clamped
    assert follow(envelope, results[-1].T_target, action(), 1, start_s=0.3)[0].clamped == ()


def test_a_target_outside_the_motion_box_is_scaled_to_end_in_front_of_its_wall() -> None:
    T = at(0.79, 0.0, 0.3)
    result = Envelope(LIMITS).apply(T, action([0.02, 0.02, 0]), T, 0.0)
    assert result.clamped == ("motion_box",)
    x, y, z = result.T_target[:3, 3]
    assert 0.795 < x < 0.8
    assert (x - 0.79, z) == pytest.approx((y, 0.3))


def test_the_approach_to_a_wall_leaves_room_to_brake() -> None:
    results = follow(Envelope(LIMITS), at(0.6, 0.0, 0.3), action([0.05, 0, 0]), 20)
    for result in results:
        speed_m_s = result.action.translation[0] / 0.1
        assert result.T_target[0, 3] + speed_m_s**2 / (2 * LIMITS.braking_m_s2) <= 0.8 + 1e-9
    assert results[-1].T_target[0, 3] == pytest.approx(0.8, abs=1e-4)


def test_a_keep_out_cannot_be_entered_but_left() -> None:
    limits = EnvelopeLimits(
        motion_box_min_m=LIMITS.motion_box_min_m, motion_box_max_m=LIMITS.motion_box_max_m, keep_outs=(PILLAR,)
    )
    T = at(0.54, 0.0, 0.3)
    stopped = Envelope(limits).apply(T, action([0.025, 0, 0]), T, 0.0)
    assert stopped.clamped == ("keep_out pillar",)
    assert stopped.T_target[0, 3] == pytest.approx(0.55, abs=2e-3)
    assert not PILLAR.contains(stopped.T_target[:3, 3])
    back = Envelope(limits).apply(stopped.T_target, action([-0.02, 0, 0]), stopped.T_target, 0.1)
    assert back.clamped == ()


def test_tilting_stops_at_its_limit() -> None:
    results = follow(Envelope(LIMITS), DOWN, action(rotation=[0.2, 0, 0]), 8)
    assert tilt_rad(results[-1].T_target[:3, :3]) == pytest.approx(LIMITS.tilt_max_rad, abs=1e-4)
    assert results[-1].clamped == ("tilt",)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_drops_the_whole_action(bad: float) -> None:
    values = np.full(7, 0.01)
    values[5] = bad
    result = Envelope(LIMITS).apply(DOWN, values, DOWN, 0.0)
    assert result.action is None
    assert result.T_target == pytest.approx(DOWN)
    assert result.halt is None


def test_three_invalid_actions_in_a_row_halt_and_a_good_one_starts_the_count_again() -> None:
    envelope = Envelope(LIMITS)
    bad, good = np.full(7, np.nan), np.zeros(7)
    halts = [envelope.apply(DOWN, v, DOWN, 0.1 * i).halt for i, v in enumerate([bad, bad, good, bad, bad, bad])]
    assert halts[:5] == [None] * 5
    assert "3 invalid actions in a row" in halts[5]


def test_too_many_clamped_commands_halt() -> None:
    halts = [result.halt for result in follow(Envelope(LIMITS), at(0.8, 0, 0.3), action([0.02, 0, 0]), 10)]
    assert halts[0] is None
    assert "motion_box" in halts[-1]


def test_a_clamped_command_now_and_then_does_not_halt() -> None:
    envelope, T = Envelope(LIMITS), at(0.8, 0, 0.3)
    for tick in range(50):
        step = action([0.02, 0, 0]) if tick % 3 == 0 else action()
        assert envelope.apply(T, step, T, 0.1 * tick).halt is None


def test_the_commanded_pose_is_leashed_to_the_measured_one() -> None:
    far = poses.apply_delta(DOWN, [0.05, 0, 0], [0, 0, 0.3])
    result = Envelope(LIMITS).apply(far, action(), DOWN, 0.0)
    translation, rotation = poses.delta_between(DOWN, result.T_target)
    assert result.clamped == ("leash",)
    assert translation == pytest.approx([0.02, 0, 0])
    assert rotation == pytest.approx([0, 0, np.radians(5.0)])


def test_a_leash_taut_for_more_than_a_second_halts() -> None:
    limits = EnvelopeLimits(
        motion_box_min_m=LIMITS.motion_box_min_m,
        motion_box_max_m=LIMITS.motion_box_max_m,
        clamped_fraction_max=1.0,
    )
    envelope, T_commanded, halts = Envelope(limits), DOWN, []
    for tick in range(20):  # the arm is blocked at DOWN
        result = envelope.apply(T_commanded, action([0.015, 0, 0]), DOWN, 0.1 * tick)
        T_commanded = result.T_target
        halts.append(result.halt)
    first = next(i for i, halt in enumerate(halts) if halt)
    assert "does not follow" in halts[first]
    assert 10 <= first <= 14


def test_an_arm_pushed_out_of_the_motion_box_halts() -> None:
    outside = at(0.83, 0, 0.3)
    assert "outside motion_box by x +30 mm" in Envelope(LIMITS).apply(at(0.8, 0, 0.3), action(), outside, 0.0).halt


@pytest.mark.parametrize(("low", "high"), [((0.2, 0, 0), (0.2, 1, 1)), ((0, 0, 0), (1, 1, np.nan))])
def test_a_motion_box_that_is_none_is_refused(low: tuple, high: tuple) -> None:
    with pytest.raises(ValueError, match="motion_box"):
        EnvelopeLimits(motion_box_min_m=low, motion_box_max_m=high)


numbers = st.one_of(st.floats(-1, 1), st.floats(allow_nan=True, allow_infinity=True), st.floats(-0.02, 0.02))
streams = st.lists(st.lists(numbers, min_size=7, max_size=7), min_size=1, max_size=25)


@settings(max_examples=150, deadline=None)
@given(streams, st.floats(0.0, 1.0))
def test_whatever_is_commanded_the_target_stays_in_bounds(stream: list[list[float]], follows: float) -> None:
    limits = EnvelopeLimits(
        motion_box_min_m=LIMITS.motion_box_min_m, motion_box_max_m=LIMITS.motion_box_max_m, keep_outs=(PILLAR,)
    )
    envelope, T_commanded, T_measured = Envelope(limits), DOWN, DOWN
    for tick, values in enumerate(stream):
        result = envelope.apply(T_commanded, values, T_measured, 0.1 * tick)
        assert np.isfinite(result.T_target).all()
        assert not limits.outside_m(result.T_target[:3, 3]).any()
        assert not PILLAR.contains(result.T_target[:3, 3])
        assert tilt_rad(result.T_target[:3, :3]) <= limits.tilt_max_rad + 1e-6
        poses.check_pose(result.T_target)
        if result.action is None:
            assert (result.T_target == T_commanded).all()
        else:
            assert np.linalg.norm(result.action.translation) <= limits.step_translation_m + 1e-12
            assert np.linalg.norm(result.action.rotation) <= limits.step_rotation_rad + 1e-12
            reach = np.linalg.norm(result.T_target[:3, 3] - T_measured[:3, 3])
            assert reach <= limits.leash_m + limits.step_translation_m + 1e-9
        T_commanded = result.T_target
        T_measured = poses.interpolate(T_measured, T_commanded, follows)
