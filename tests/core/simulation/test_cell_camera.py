"""The simulated D455: where its pixels look, what it measures, how its noise behaves."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from clar_core.geometry.camera import pixel_rays, project
from clar_core.geometry.poses import inverse, make_pose, transform_points
from clar_core.simulation.camera import (
    COLOR_CAMERA,
    COLOR_INTRINSICS,
    DEPTH_INTRINSICS,
    ColorCamera,
    DepthCamera,
    look_at,
)
from clar_core.simulation.depth_noise import DepthNoise
from clar_core.simulation.scene import camera_pose, compile_model, place_camera
from clar_core.simulation.tasks import get_task


@pytest.fixture(scope="module")
def scene() -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = compile_model(get_task("place_cube_in_basin"))
    data = mujoco.MjData(model)
    data.joint("cube").qpos[:] = [0.5, 0.1, 0.026, 1, 0, 0, 0]
    data.joint("basin_x").qpos[0], data.joint("basin_y").qpos[0] = 0.5, -0.25
    mujoco.mj_forward(model, data)
    return model, data


@pytest.fixture(scope="module")
def exact(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> Iterator[np.ndarray]:
    camera = DepthCamera(scene[0], noise=None)
    yield camera.render(scene[1], np.random.default_rng(0))
    camera.close()


def test_depth_agrees_with_a_ray_through_the_same_pixel(
    scene: tuple[mujoco.MjModel, mujoco.MjData], exact: np.ndarray
) -> None:
    model, data = scene
    T_base_camera = camera_pose(model)
    rays = pixel_rays(DEPTH_INTRINSICS)
    groups = np.array([0, 1, 0, 1, 0, 0], dtype=np.uint8)
    geom = np.zeros(1, dtype=np.int32)
    cube = transform_points(inverse(T_base_camera), data.body("cube").xpos[None])
    u0, v0 = project(cube, DEPTH_INTRINSICS)[0].round().astype(int)
    errors = []
    for v in range(v0 - 20, v0 + 20):
        for u in range(u0 - 20, u0 + 20):
            direction = T_base_camera[:3, :3] @ rays[v, u]
            norm = np.linalg.norm(direction)
            distance = mujoco.mj_ray(model, data, T_base_camera[:3, 3], direction / norm, groups, 1, -1, geom)
            errors.append(abs(distance / norm * 1000 - exact[v, u]))
    assert np.median(errors) < 0.6
    # The cube's outline crosses this window: an image shifted by two pixels would be off along all of it.
    assert np.mean(np.array(errors) > 5.0) < 0.015


def test_the_cube_projects_into_the_colour_image_where_it_is_seen(
    scene: tuple[mujoco.MjModel, mujoco.MjData],
) -> None:
    model, data = scene
    camera = ColorCamera(model)
    image = camera.render(data).astype(int)
    camera.close()
    red = (image[..., 0] > 90) & (image[..., 1] < 60) & (image[..., 2] < 60)
    assert red.sum() > 100
    seen = np.argwhere(red)[:, ::-1].mean(axis=0)
    centre = transform_points(inverse(camera_pose(model, COLOR_CAMERA)), data.body("cube").xpos[None])
    # The visible faces' centre lies a little above the cube's.
    np.testing.assert_allclose(seen, project(centre, COLOR_INTRINSICS)[0], atol=5.0)


def test_noise_grows_with_the_square_of_the_distance(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    camera = DepthCamera(model, DepthNoise(edge_jitter_px=0.0, dropout=0.0))
    clean = DepthCamera(model, noise=None)
    errors, distances = [], []
    reference = clean.render(data, np.random.default_rng(0)).astype(float)
    for seed in range(4):
        noisy = camera.render(data, np.random.default_rng(seed)).astype(float)
        both = (noisy > 0) & (reference > 0)
        errors.append((noisy - reference)[both])
        distances.append(reference[both])
    camera.close()
    clean.close()
    error, distance = np.concatenate(errors), np.concatenate(distances) / 1000
    near, far = (distance > 0.55) & (distance < 0.70), (distance > 1.1) & (distance < 1.25)
    ratio = error[far].std() / error[near].std()
    expected = (distance[far].mean() / distance[near].mean()) ** 2
    assert ratio == pytest.approx(expected, rel=0.2)
    at_one_metre = (distance > 0.95) & (distance < 1.05)
    assert 1.0 < error[at_one_metre].std() < 3.0


def test_the_same_generator_gives_the_same_image(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    camera = DepthCamera(scene[0])
    first = camera.render(scene[1], np.random.default_rng(3))
    second = camera.render(scene[1], np.random.default_rng(3))
    other = camera.render(scene[1], np.random.default_rng(4))
    camera.close()
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_depth_has_no_reading_beyond_its_limits(exact: np.ndarray) -> None:
    assert exact.dtype == np.uint16
    read = exact[exact > 0]
    assert read.min() >= 300
    assert read.max() <= 6000


def test_a_moved_camera_is_where_it_was_put(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model = compile_model(get_task("open_drawer"))
    pose = look_at((1.0, -0.3, 0.7), (0.4, 0.0, 0.0))
    place_camera(model, pose)
    np.testing.assert_allclose(camera_pose(model), pose, atol=1e-6)
    np.testing.assert_allclose(camera_pose(model, COLOR_CAMERA), pose @ make_pose(translation=(0.059, 0, 0)), atol=1e-6)
