import numpy as np
import pytest

from clar_core.control.tracking import StepReference, TrackingGains, TwistLimits, VelocityResponse, tracking_twist
from clar_core.geometry import poses

START = poses.make_pose(poses.rotation_vector_to_matrix([np.pi, 0, 0]), [0.4, 0.0, 0.4])


def stepped(T: np.ndarray, dx: float = 0.01, yaw: float = 0.0) -> np.ndarray:
    return poses.apply_delta(T, [dx, 0, 0], [0, 0, yaw])


def test_the_reference_walks_to_the_target_in_one_period() -> None:
    reference = StepReference(START)
    reference.set_target(stepped(START, yaw=0.1), now_s=5.0)
    halfway, twist = reference.sample(5.05)
    assert halfway == pytest.approx(stepped(START, 0.005, 0.05))
    assert twist == pytest.approx([0.1, 0, 0, 0, 0, 1.0])


def test_the_reference_freezes_when_its_step_is_used_up() -> None:
    reference = StepReference(START)
    reference.set_target(stepped(START), now_s=5.0)
    for late_s in (5.1, 5.5, 100.0):
        pose, twist = reference.sample(late_s)
        assert pose == pytest.approx(stepped(START))
        assert (twist == 0).all()


def test_a_target_that_comes_early_starts_from_where_the_reference_is() -> None:
    reference = StepReference(START)
    reference.set_target(stepped(START, 0.01), now_s=5.0)
    reference.set_target(stepped(START, 0.02), now_s=5.05)
    pose, twist = reference.sample(5.05)
    assert pose == pytest.approx(stepped(START, 0.005))
    assert twist[0] == pytest.approx(0.15)
    assert reference.sample(5.15)[0] == pytest.approx(stepped(START, 0.02))


def test_reset_stands_still_at_the_given_pose() -> None:
    reference = StepReference(START)
    reference.set_target(stepped(START), now_s=5.0)
    reference.reset(stepped(START, -0.02))
    pose, twist = reference.sample(5.05)
    assert pose == pytest.approx(stepped(START, -0.02))
    assert (twist == 0).all()


def test_the_twist_corrects_a_pose_error_in_proportion() -> None:
    measured = poses.apply_delta(START, [-0.01, 0, 0], [0, 0, -0.02])
    twist = tracking_twist(START, np.zeros(6), measured, TrackingGains(5.0, 4.0))
    assert twist == pytest.approx([0.05, 0, 0, 0, 0, 0.08])


def test_the_twist_is_limited_without_turning_it() -> None:
    limits = TwistLimits(linear_m_s=0.1, angular_rad_s=0.2)
    twist = tracking_twist(START, np.array([3.0, 4.0, 0.0, 0.0, 0.0, -9.0]), START, limits=limits)
    assert twist == pytest.approx([0.06, 0.08, 0, 0, 0, -0.2])


def test_the_response_reaches_the_target_and_respects_the_acceleration() -> None:
    response = VelocityResponse()
    target = np.array([0.3, 0, 0, 0, 0, 0.5])
    previous = np.zeros(6)
    for _ in range(50):
        response.advance(target, 0.004)
        change = np.abs(response.twist - previous) / 0.004
        assert change[:3].max() <= 2.7 + 1e-9
        assert change[3:].max() <= 5.1 + 1e-9
        previous = response.twist
    assert response.twist == pytest.approx(target, rel=1e-3)


def test_the_response_is_the_same_for_one_long_and_several_short_advances() -> None:
    long, short = VelocityResponse(), VelocityResponse()
    target = np.array([0.1, -0.05, 0, 0, 0.2, 0])
    mean_of_long = long.advance(target, 0.02)
    mean_of_short = np.mean([short.advance(target, 0.004) for _ in range(5)], axis=0)
    assert mean_of_long == pytest.approx(mean_of_short)


@pytest.mark.parametrize("speed_m_s", [0.05, 0.1, 0.25])
def test_steps_are_followed_closely_and_reached_exactly(speed_m_s: float) -> None:
    reference, response, T = StepReference(START), VelocityResponse(), START.copy()
    target, lag_m = START, 0.0
    for tick in range(100):
        now_s = tick * 0.02
        if tick % 5 == 0 and tick < 50:
            target = stepped(target, speed_m_s * 0.1)
            reference.set_target(target, now_s)
        pose, feedforward = reference.sample(now_s)
        lag_m = max(lag_m, float(np.linalg.norm(pose[:3, 3] - T[:3, 3])))
        twist = response.advance(tracking_twist(pose, feedforward, T), 0.02)
        T = poses.apply_delta(T, twist[:3] * 0.02, twist[3:] * 0.02)
    assert lag_m < 0.1 * speed_m_s + 0.001
    assert np.linalg.norm(T[:3, 3] - target[:3, 3]) < 0.5e-3
