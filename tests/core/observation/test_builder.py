"""From depth image to network input: the right points, in the right place, the same every time."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree

from clar_core.geometry.points import inside_box
from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix, transform_points
from clar_core.observation import builder
from clar_core.observation.builder import TooFewPointsError, build_cloud, build_network_points, proprioception
from clar_core.observation.spec import ObservationSpec
from tests.core.observation.scene import CUBE, INTRINSICS, T_BASE_CAMERA, WALL, look_at, render

SPEC = ObservationSpec()


def _distance_to_boxes(points, boxes):
    """Distance of points (n, 3) to the nearest box, 0 inside."""
    gaps = [np.maximum(np.maximum(low - points, points - high), 0) for low, high in np.array(boxes)]
    return np.min([np.linalg.norm(gap, axis=1) for gap in gaps], axis=0)


def test_points_lie_where_the_objects_are_in_the_base_frame():
    cloud = build_cloud(render(), INTRINSICS, T_BASE_CAMERA, SPEC)
    assert cloud.dtype == np.float32
    assert cloud.flags.c_contiguous
    assert _distance_to_boxes(cloud, (CUBE, WALL)).max() < 0.003
    on_cube = _distance_to_boxes(cloud, (CUBE,)) < 0.003
    assert on_cube.sum() >= 40
    np.testing.assert_allclose(cloud[on_cube].max(axis=0), CUBE[1], atol=0.006)


@pytest.mark.parametrize("eye", [(1.2, -0.6, 0.5), (0.5, 0.9, 0.9), (1.4, 0.0, 0.3)])
def test_the_same_scene_from_another_camera_gives_the_same_places(eye):
    T_base_camera = look_at(eye, (0.45, 0.0, 0.1))
    cloud = build_cloud(render(T_base_camera=T_base_camera), INTRINSICS, T_base_camera, SPEC)
    assert _distance_to_boxes(cloud, (CUBE, WALL)).max() < 0.003


def test_the_support_plane_is_cropped_away():
    cloud = build_cloud(render(noise_m=0.001), INTRINSICS, T_BASE_CAMERA, SPEC)
    assert cloud[:, 2].min() >= SPEC.crop_min_m[2]
    assert inside_box(cloud, SPEC.crop_min_m, SPEC.crop_max_m).all()
    with pytest.raises(TooFewPointsError) as caught:
        build_cloud(render(boxes=()), INTRINSICS, T_BASE_CAMERA, SPEC)
    assert caught.value.count == 0


def test_every_pixel_of_the_crop_is_kept_when_there_is_room():
    """Against the plain way: deproject all, transform all, test all. The box cuts through noisy surfaces."""
    depth = render(boxes=(WALL,), noise_m=0.004)
    generous = dataclasses.replace(
        SPEC,
        crop_min_m=(0.32, -0.2, 0.1),
        crop_max_m=(0.351, 0.2, 0.25),
        max_cloud_points=100_000,
        edge_threshold=1e6,
    )
    cloud = build_cloud(depth, INTRINSICS, T_BASE_CAMERA, generous)
    v, u = np.mgrid[1:239, 1:319]
    z = depth[1:239, 1:319] * 1e-3
    optical = np.stack([(u - INTRINSICS.cx) / INTRINSICS.fx * z, (v - INTRINSICS.cy) / INTRINSICS.fy * z, z], axis=-1)
    points = transform_points(T_BASE_CAMERA, optical.reshape(-1, 3))[z.reshape(-1) > 0]
    margin = np.float64(1e-5)
    low, high = np.array(generous.crop_min_m), np.array(generous.crop_max_m)
    surely = points[inside_box(points, low + margin, high - margin)]
    perhaps = points[inside_box(points, low - margin, high + margin)]
    assert 500 < len(surely) <= len(cloud) <= len(perhaps)
    found, _ = cKDTree(cloud).query(surely)
    assert found.max() < 2e-6


def test_flying_pixels_are_removed_before_sampling():
    depth = render()
    mixed = depth.astype(np.float64)
    left, right = mixed[:, :-1], mixed[:, 1:]
    edge = (left > 0) & (right > 0) & (np.abs(left - right) > 80)
    mixed[:, :-1][edge] = ((left + right) / 2)[edge]
    mixed = mixed.astype(np.uint16)
    assert edge.sum() > 50
    cloud = build_cloud(mixed, INTRINSICS, T_BASE_CAMERA, SPEC)
    assert _distance_to_boxes(cloud, (CUBE, WALL)).max() < 0.003
    believing = dataclasses.replace(SPEC, edge_threshold=1e6)
    assert _distance_to_boxes(build_cloud(mixed, INTRINSICS, T_BASE_CAMERA, believing), (CUBE, WALL)).max() > 0.02


def test_lone_readings_are_removed():
    depth = render()
    true = build_cloud(depth, INTRINSICS, T_BASE_CAMERA, dataclasses.replace(SPEC, max_cloud_points=100_000))
    speckled = render(boxes=(WALL,))
    holes = np.s_[20:60, 20:300]
    speckled[holes] = 0
    clean = build_cloud(speckled, INTRINSICS, T_BASE_CAMERA, SPEC)
    speckled[22:58:4, 22:298:4] = 900
    np.testing.assert_array_equal(build_cloud(speckled, INTRINSICS, T_BASE_CAMERA, SPEC), clean)
    assert len(true) > 0


def test_holes_do_not_cost_their_neighbours():
    depth = render(boxes=(WALL,))
    generous = dataclasses.replace(SPEC, max_cloud_points=100_000)
    whole = len(build_cloud(depth, INTRINSICS, T_BASE_CAMERA, generous))
    depth[::7, ::7] = 0
    assert len(build_cloud(depth, INTRINSICS, T_BASE_CAMERA, generous)) > 0.97 * whole


def test_readings_outside_the_depth_limits_are_not_believed():
    short_sighted = dataclasses.replace(SPEC, depth_max_m=0.5)
    with pytest.raises(TooFewPointsError):
        build_cloud(render(), INTRINSICS, T_BASE_CAMERA, short_sighted)


def test_a_cloud_never_exceeds_its_limit_and_still_shows_everything():
    small = dataclasses.replace(SPEC, max_cloud_points=1500)
    cloud = build_cloud(render(), INTRINSICS, T_BASE_CAMERA, small)
    assert 1200 < len(cloud) <= 1500
    whole = build_cloud(render(), INTRINSICS, T_BASE_CAMERA, dataclasses.replace(SPEC, max_cloud_points=100_000))
    np.testing.assert_allclose(cloud.min(axis=0), whole.min(axis=0), atol=0.01)
    np.testing.assert_allclose(cloud.max(axis=0), whole.max(axis=0), atol=0.01)


def test_the_same_image_gives_the_same_bits_whatever_was_cached():
    depth = render(noise_m=0.002)
    first = build_cloud(depth, INTRINSICS, T_BASE_CAMERA, SPEC)
    builder._volume.cache_clear()
    again = build_cloud(depth.copy(order="F"), INTRINSICS, T_BASE_CAMERA.copy(), SPEC)
    assert first.tobytes() == again.tobytes()
    assert build_network_points(first, SPEC).tobytes() == build_network_points(again, SPEC).tobytes()


def test_a_moved_camera_is_not_served_from_the_cache():
    depth = render()
    before = build_cloud(depth, INTRINSICS, T_BASE_CAMERA, SPEC)
    moved = make_pose(None, (0.0, 0.0, 0.02)) @ T_BASE_CAMERA
    above_both = dataclasses.replace(SPEC, crop_min_m=(0.2, -0.45, 0.026))
    after = build_cloud(depth, INTRINSICS, moved, above_both)
    np.testing.assert_allclose(after[:, 2].max() - before[:, 2].max(), 0.02, atol=0.002)


def test_stage_times_are_reported():
    stages = {}
    build_cloud(render(), INTRINSICS, T_BASE_CAMERA, SPEC, stages_ms=stages)
    assert set(stages) == {"crop", "deproject", "downsample"}
    assert all(duration >= 0 for duration in stages.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": render().astype(np.float32)}, "expected uint16"),
        ({"depth": render().T}, r"\(240, 320\)"),
        ({"depth_scale_m": -1.0}, "depth_scale_m"),
        ({"depth_scale_m": 1.0}, "depth_scale_m"),
        ({"T_base_camera": np.eye(3)}, "T_base_camera"),
        ({"T_base_camera": 2 * T_BASE_CAMERA}, "T_base_camera"),
        ({"T_base_camera": np.full((4, 4), np.nan)}, "T_base_camera"),
    ],
)
def test_wrong_input_is_refused_by_name(change, message):
    arguments = {"depth": render(), "intrinsics": INTRINSICS, "T_base_camera": T_BASE_CAMERA, "spec": SPEC, **change}
    if change.get("depth_scale_m") == 1.0:
        arguments["spec"] = dataclasses.replace(SPEC, depth_max_m=0.9)
    with pytest.raises(ValueError, match=message):
        build_cloud(**arguments)


def test_too_few_points_are_an_error_that_says_how_many():
    depth = render()
    depth[:, :150] = 0
    depth[:, 170:] = 0
    depth[:100] = 0
    demanding = dataclasses.replace(SPEC, min_cloud_points=5000)
    with pytest.raises(TooFewPointsError, match=r"holds \d+ points.*at least 5000") as caught:
        build_cloud(depth, INTRINSICS, T_BASE_CAMERA, demanding)
    assert 0 < caught.value.count < 5000


def test_network_points_are_normalised_and_farthest_first():
    cloud = build_cloud(render(), INTRINSICS, T_BASE_CAMERA, SPEC)
    points = build_network_points(cloud, SPEC)
    assert points.shape == (1024, 3)
    assert points.dtype == np.float32
    assert np.abs(points).max() <= 1
    assert {tuple(p) for p in SPEC.normalise(cloud)} >= {tuple(p) for p in points}
    steps = [np.linalg.norm(points[:i] - points[i], axis=1).min() for i in range(1, 100)]
    assert np.diff(steps).max() < 1e-6


def test_a_small_cloud_is_repeated_in_its_own_order():
    cloud = build_cloud(render(), INTRINSICS, T_BASE_CAMERA, SPEC)[:300]
    points = build_network_points(cloud, SPEC)
    np.testing.assert_array_equal(points[:300], points[300:600])
    np.testing.assert_array_equal(points[:124], points[900:])
    assert len(np.unique(points, axis=0)) == 300


def test_network_points_refuse_bad_clouds():
    good = np.random.default_rng(0).uniform(0.3, 0.5, (400, 3)).astype(np.float32)
    with pytest.raises(TooFewPointsError) as caught:
        build_network_points(good[:199], SPEC)
    assert caught.value.count == 199
    with pytest.raises(ValueError, match="float32, got float64"):
        build_network_points(good.astype(np.float64), SPEC)
    with pytest.raises(ValueError, match="finite"):
        build_network_points(np.where(np.arange(400)[:, None] == 7, np.float32(np.nan), good), SPEC)
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        build_network_points(good[:, :2], SPEC)


def test_training_starts_are_chosen_by_index():
    cloud = build_cloud(render(), INTRINSICS, T_BASE_CAMERA, SPEC)
    assert not np.array_equal(build_network_points(cloud, SPEC, start_index=9)[0], build_network_points(cloud, SPEC)[0])


def test_proprioception_holds_position_two_columns_and_width():
    pose = make_pose(rotation_vector_to_matrix((0.1, -0.2, 0.3)), (0.4, 0.1, 0.3))
    state = proprioception(pose, 0.02, SPEC)
    assert state.dtype == np.float32
    np.testing.assert_allclose(state, [*pose[:3, 3], *pose[:3, 0], *pose[:3, 1], 0.25], atol=1e-7)
    assert proprioception(pose, 0.0805, SPEC)[9] == 1
    assert proprioception(pose, -0.001, SPEC)[9] == 0


def test_proprioception_refuses_what_is_not_a_state():
    with pytest.raises(ValueError, match="T_base_tcp"):
        proprioception(np.zeros((4, 4)), 0.02, SPEC)
    with pytest.raises(ValueError, match="gripper_width_m"):
        proprioception(np.eye(4), float("nan"), SPEC)
