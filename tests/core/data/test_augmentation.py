import numpy as np
import pytest

from clar_core.control.spaces import KEYFRAME
from clar_core.data.augmentation import AugmentationConfig, augment, draw_motion
from clar_core.data.planar_motion import PlanarMotion
from clar_core.geometry.points import inside_box
from clar_core.geometry.poses import apply_delta, make_pose, rotation_vector_to_matrix
from clar_core.observation.builder import proprioception
from clar_core.observation.spec import ObservationSpec
from tests.core.data.demonstrations import SPEC, episode

QUIET = AugmentationConfig(jitter_m=0.0, dropout=0.0)
STEP = episode(0).steps[0]


def test_moving_then_acting_equals_acting_then_moving() -> None:
    rng = np.random.default_rng(0)
    spec = ObservationSpec()
    for _ in range(20):
        motion = PlanarMotion(rng.uniform(-0.5, 0.5), rng.uniform(-0.08, 0.08, 3).astype("f4"), spec.centre_m)
        T_motion = make_pose(motion.rotation, motion.pivot_m + motion.translation_m - motion.rotation @ motion.pivot_m)
        T_now = make_pose(rotation_vector_to_matrix(rng.normal(size=3)), rng.uniform(0.3, 0.6, 3))
        action = rng.normal(0, 0.05, 7).astype(np.float32)

        moved_state = motion.move_state(proprioception(T_now, 0.03, spec))
        np.testing.assert_allclose(moved_state, proprioception(T_motion @ T_now, 0.03, spec), atol=1e-5)

        moved_action = motion.move_action(action)
        acted_then_moved = T_motion @ apply_delta(T_now, action[:3], action[3:6])
        moved_then_acted = apply_delta(T_motion @ T_now, moved_action[:3], moved_action[3:6])
        np.testing.assert_allclose(moved_then_acted, acted_then_moved, atol=1e-5)
        assert moved_action[6] == action[6]


def test_an_absolute_pose_moves_with_the_cloud_in_position_and_rotation() -> None:
    rng = np.random.default_rng(4)
    spec = ObservationSpec()
    for _ in range(20):
        motion = PlanarMotion(rng.uniform(-0.5, 0.5), rng.uniform(-0.08, 0.08, 3).astype("f4"), spec.centre_m)
        T_motion = make_pose(motion.rotation, motion.pivot_m + motion.translation_m - motion.rotation @ motion.pivot_m)
        T_next = make_pose(rotation_vector_to_matrix(rng.normal(size=3)), rng.uniform(0.3, 0.6, 3))
        action = np.concatenate([proprioception(T_next, 0.0, spec)[:9], [1.0]]).astype(np.float32)
        moved = motion.move_action(action, KEYFRAME)
        np.testing.assert_allclose(moved[:9], proprioception(T_motion @ T_next, 0.0, spec)[:9], atol=1e-5)
        assert moved[9] == 1.0


def test_demonstrated_absolute_poses_lie_in_reach_wherever_they_are() -> None:
    state, action = STEP.state.copy(), np.concatenate([STEP.state[:9], [1.0]]).astype(np.float32)
    state[:3], action[:3] = (0.55, 0.0, 0.9), (0.5, 0.1, 0.2)
    motions = [draw_motion(np.random.default_rng(s), state, action, SPEC, QUIET, space=KEYFRAME) for s in range(40)]
    assert any(motion.yaw_rad for motion in motions)
    for motion in motions:
        assert motion.move_points(state[:3])[2] <= 0.9 + 1e-6


def test_cloud_and_hand_keep_their_relation() -> None:
    rng = np.random.default_rng(1)
    sample = augment(rng, STEP.cloud, STEP.state, STEP.action, SPEC, QUIET)
    before = np.linalg.norm(STEP.cloud - STEP.state[:3], axis=1)
    after = np.linalg.norm(sample["cloud"] - sample["state"][:3], axis=1)
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert np.abs(sample["cloud"] - STEP.cloud).max() > 0.005


def test_height_and_uprightness_are_kept_within_the_limits() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        motion = draw_motion(rng, STEP.state, STEP.action, SPEC, QUIET)
        assert abs(motion.yaw_rad) <= 0.5
        assert (np.abs(motion.translation_m) <= (0.08, 0.08, 0.01)).all()
        np.testing.assert_array_equal(motion.rotation[2], (0, 0, 1))


def test_the_hand_stays_in_reach_and_the_cloud_in_the_box() -> None:
    rng = np.random.default_rng(3)
    config = AugmentationConfig(jitter_m=0.0, dropout=0.0, reach_min_m=(0.3, -0.05, 0.0), reach_max_m=(0.7, 0.05, 0.5))
    state = STEP.state.copy()
    state[:3] = (0.5, 0.04, 0.2)
    cloud = (STEP.cloud - STEP.cloud.mean(0) + (0.5, 0.43, 0.2)).astype(np.float32)
    kept = inside_box(cloud, SPEC.crop_min_m, SPEC.crop_max_m).mean()
    moved = 0
    for _ in range(50):
        motion = draw_motion(
            rng, state, STEP.action, SPEC, config, cloud[inside_box(cloud, SPEC.crop_min_m, SPEC.crop_max_m)]
        )
        ends = motion.move_points(np.stack([state[:3], state[:3] + STEP.action[:3]]))
        inside = inside_box(motion.move_points(cloud), SPEC.crop_min_m, SPEC.crop_max_m).mean()
        moved += abs(motion.yaw_rad) > 0
        assert motion.yaw_rad == 0 or (np.abs(ends[:, 1]) <= 0.05 + 1e-6).all()
        assert inside >= kept * (1 - config.max_lost) - 1e-6
    assert moved > 0


def test_without_room_the_sample_stays_where_it_is() -> None:
    config = AugmentationConfig(reach_min_m=(0.0, 0.0, 0.0), reach_max_m=(0.01, 0.01, 0.01))
    motion = draw_motion(np.random.default_rng(0), STEP.state, STEP.action, SPEC, config)
    assert motion.yaw_rad == 0
    assert not motion.translation_m.any()


def test_the_same_generator_gives_the_same_sample() -> None:
    samples = [
        augment(np.random.default_rng(5), STEP.cloud, STEP.state, STEP.action, SPEC, AugmentationConfig())
        for _ in range(2)
    ]
    for name in ("cloud", "state", "action"):
        np.testing.assert_array_equal(samples[0][name], samples[1][name])


def test_dropout_never_leaves_too_few_points() -> None:
    config = AugmentationConfig(dropout=0.99)
    for seed in range(30):
        sample = augment(np.random.default_rng(seed), STEP.cloud, STEP.state, STEP.action, SPEC, config)
        assert len(sample["cloud"]) >= SPEC.min_cloud_points


def test_jitter_moves_points_by_about_its_size() -> None:
    config = AugmentationConfig(yaw_rad=0, translation_xy_m=0, translation_z_m=0, dropout=0, jitter_m=0.002)
    sample = augment(np.random.default_rng(0), STEP.cloud, STEP.state, STEP.action, SPEC, config)
    assert (sample["cloud"] - STEP.cloud).std() == pytest.approx(0.002, rel=0.2)
    np.testing.assert_allclose(sample["action"], STEP.action, atol=1e-7)


def test_wrong_settings_are_refused_by_field() -> None:
    with pytest.raises(ValueError, match=r"augmentation.dropout"):
        AugmentationConfig(dropout=1.0)
    with pytest.raises(ValueError, match=r"augmentation.reach_min_m"):
        AugmentationConfig(reach_min_m=(1, 0, 0))
