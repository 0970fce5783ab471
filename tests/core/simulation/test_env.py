"""The gymnasium front: determinism, the observation path, the live front's lag, the envelope."""

from __future__ import annotations

import numpy as np
import pytest

from clar_core.control.action import InvalidActionError
from clar_core.geometry.camera import deproject
from clar_core.geometry.poses import transform_points
from clar_core.observation.builder import build_network_points
from clar_core.simulation import camera
from clar_core.simulation.camera import T_BASE_DEPTH, CameraMove
from clar_core.simulation.env import CellEnv, EnvConfig

STILL = np.array([0, 0, 0, 0, 0, 0, 1.0])


@pytest.fixture
def blind() -> CellEnv:
    return CellEnv(EnvConfig(render_depth=False))


def test_same_seed_and_actions_give_the_same_observations() -> None:
    observations = []
    for _ in range(2):
        env = CellEnv()
        env.reset(seed=11)
        for _ in range(3):
            observation, *_ = env.step(np.array([0.01, 0.005, -0.01, 0, 0, 0.02, 1.0]))
        observations.append(observation)
        env.close()
    np.testing.assert_array_equal(observations[0]["cloud"], observations[1]["cloud"])
    np.testing.assert_array_equal(observations[0]["state"], observations[1]["state"])


def test_the_cloud_shows_the_objects_where_they_are() -> None:
    env = CellEnv()
    observation, _ = env.reset(seed=2)
    cloud, spec = observation["cloud"], env.config.spec
    cube = env.view.body_pose("cube")[:3, 3]
    on_cube = np.abs(cloud - cube).max(axis=1) < 0.032
    network = spec.denormalise(build_network_points(cloud, spec))
    env.close()
    assert on_cube.sum() >= 150
    assert (np.abs(network - cube).max(axis=1) < 0.032).sum() >= 40
    # Seen from the camera's side, so the visible points' mean lies towards it.
    assert np.linalg.norm(cloud[on_cube].mean(axis=0) - cube) < 0.025
    assert (cloud[:, 2] >= spec.crop_min_m[2]).all()


def test_the_image_and_its_depth_show_the_cube_where_it_is() -> None:
    env = CellEnv(EnvConfig(render_depth=False, image_size=96))
    observation, _ = env.reset(seed=2)
    assert set(observation) == {"state", "image"}
    assert observation["image"].shape == (96, 96, 3)
    assert env.observation_space["image"].contains(observation["image"])
    posed = env.posed_image(observation["image"])
    points = deproject(posed.depth, posed.intrinsics, depth_scale_m=0.001, depth_min_m=0.3, depth_max_m=2.0)
    cube = env.view.body_pose("cube")[:3, 3]
    near = np.abs(transform_points(posed.T_base_image, points.astype(np.float64)) - cube).max(axis=1) < 0.032
    env.close()
    assert near.sum() >= 20
    with pytest.raises(ValueError, match="makes no images"):
        CellEnv(EnvConfig(render_depth=False)).posed_image(observation["image"])


def test_the_arm_follows_a_step_late_and_arrives(blind: CellEnv) -> None:
    blind.reset(seed=0)
    start = blind.robot.T_base_tcp[:3, 3].copy()
    travelled = []
    for k in range(20):
        blind.step(np.array([0, 0.01 if k < 10 else 0.0, 0, 0, 0, 0, 1.0]))
        travelled.append(blind.robot.T_base_tcp[1, 3] - start[1])
    lag_m = 0.01 * 10 - travelled[9]
    assert 0.004 < lag_m < 0.020, "10 Hz steps of 1 cm lag by the command delay, the hold and the response"
    assert travelled[-1] == pytest.approx(0.10, abs=0.001)


def test_the_arm_stays_in_the_motion_box_and_halts_when_pushed_out(blind: CellEnv) -> None:
    blind.reset(seed=0)
    halts = []
    for _ in range(60):
        *_, truncated, info = blind.step(np.array([0, -0.02, 0, 0, 0, 0, 1.0]))
        assert blind.robot.T_base_tcp[1, 3] > -0.43
        if truncated:
            halts.append(info["halt"])
            break
    assert halts
    assert "limits" in halts[0]


def test_an_invalid_action_is_refused(blind: CellEnv) -> None:
    blind.reset(seed=0)
    with pytest.raises(InvalidActionError):
        blind.step(np.full(7, np.nan))
    with pytest.raises(InvalidActionError):
        blind.step(np.zeros(6))


def test_it_is_truncated_at_the_time_limit(blind: CellEnv) -> None:
    blind.reset(seed=0)
    truncated, steps = False, 0
    while not truncated:
        *_, truncated, _ = blind.step(STILL)
        steps += 1
    assert steps == round(blind.task.time_limit_s * 10)


def test_a_moved_camera_that_is_calibrated_shows_the_objects_where_they_are() -> None:
    offsets = {}
    for recalibrated in (True, False):
        env = CellEnv(EnvConfig(camera_move=CameraMove(0.10, np.radians(15), recalibrated)))
        errors = []
        for seed in (2, 3):
            observation, _ = env.reset(seed=seed)
            cube = env.view.body_pose("cube")[:3, 3]
            errors.append((np.abs(observation["cloud"] - cube).max(axis=1) < 0.030).sum())
        offsets[recalibrated] = min(errors)
        env.close()
    assert offsets[True] >= 100
    assert offsets[False] < 40


def test_a_camera_moves_by_what_was_asked_and_still_sees_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    directions = []
    for seed in range(20):
        moved = CameraMove().pose(T_BASE_DEPTH, seed)
        between = np.linalg.inv(T_BASE_DEPTH) @ moved
        assert np.linalg.norm(moved[:3, 3] - T_BASE_DEPTH[:3, 3]) == pytest.approx(0.10)
        assert np.arccos((np.trace(between[:3, :3]) - 1) / 2) == pytest.approx(np.radians(15))
        directions.append(moved[:3, 3])
    assert np.std(directions, axis=0).min() > 0.01
    monkeypatch.setattr(camera, "_WORKING_AREA_M", np.array([[0.4, 50.0, 0.0]]))
    with pytest.raises(ValueError, match="move it less"):
        CameraMove().pose(T_BASE_DEPTH, 0)


def test_the_start_does_not_depend_on_where_the_camera_stands(blind: CellEnv) -> None:
    moved = CellEnv(EnvConfig(render_depth=False, camera_move=CameraMove()))
    blind.reset(seed=7)
    moved.reset(seed=7)
    np.testing.assert_array_equal(blind.data.qpos, moved.data.qpos)
