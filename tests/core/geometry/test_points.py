"""Point operations, against exact references."""

import fpsample
import numpy as np
import pytest
from scipy.spatial import cKDTree

from clar_core.geometry import points as ops


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def _cloud(rng, n, scale=0.5):
    return rng.uniform(-scale, scale, (n, 3)).astype(np.float32)


def _exact_sampling(points, count, start):
    chosen, distance = [start], np.full(len(points), np.inf, np.float32)
    for _ in range(count - 1):
        difference = points - points[chosen[-1]]
        distance = np.minimum(distance, (difference * difference).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def _coverage(points, chosen):
    """Largest distance from a point to the nearest chosen one."""
    return cKDTree(points[chosen]).query(points)[0].max()


def test_crop_keeps_order_and_faces_and_drops_what_is_not_finite():
    points = np.array([[0, 0, 0], [1, 1, 1], [2, 0, 0], [0.5, 0.5, np.nan], [0.5, 0, 1]], dtype=np.float32)
    np.testing.assert_array_equal(ops.crop_box(points, (0, 0, 0), (1, 1, 1)), points[[0, 1, 4]])


def test_voxels_keep_one_point_each_in_input_order(rng):
    points = _cloud(rng, 5000)
    kept = ops.voxel_downsample(points, 0.1)
    cells = {tuple(cell) for cell in np.floor((points - points.min(axis=0)) / 0.1).astype(int)}
    assert len(kept) == len(cells)
    rows = [int(np.flatnonzero((points == point).all(axis=1))[0]) for point in kept]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(kept, ops.voxel_downsample(points.copy(), 0.1))


def test_a_voxel_size_that_cannot_be_counted_is_refused(rng):
    with pytest.raises(ValueError, match="too small"):
        ops.voxel_downsample(_cloud(rng, 10), 1e-9)
    with pytest.raises(ValueError, match="positive length"):
        ops.voxel_downsample(_cloud(rng, 10), 0.0)


def test_even_subset_has_exactly_the_count_and_spans_the_input():
    rows = ops.even_subset(np.arange(10_007), 8192)
    assert len(rows) == 8192
    assert rows[0] == 0
    assert rows[-1] >= 10_005
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(ops.even_subset(np.arange(5), 8), np.arange(5))


@pytest.mark.parametrize(("n", "count"), [(20, 20), (200, 200), (1500, 64), (4096, 1024), (8192, 1024)])
def test_farthest_point_sampling_is_exact(rng, n, count):
    points = _cloud(rng, n)
    chosen = ops.farthest_point_sampling(points, count)
    assert chosen.dtype == np.int64
    np.testing.assert_array_equal(chosen, _exact_sampling(points, count, int(chosen[0])))
    assert len(set(chosen.tolist())) == count


def test_farthest_point_sampling_covers_as_well_from_every_start(rng):
    points = _cloud(rng, 4096)
    exact = _coverage(points, _exact_sampling(points, 256, 0))
    for start in (0, 1, 2047, 4095):
        assert _coverage(points, ops.farthest_point_sampling(points, 256, start)) < 1.15 * exact
    fast_but_coarse = fpsample.fps_npdu_sampling(points, 256, start_idx=0).astype(int)
    assert _coverage(points, fast_but_coarse) > 1.15 * exact


def test_farthest_point_sampling_repeats_itself_and_starts_differ(rng):
    points = _cloud(rng, 4096)
    first = ops.farthest_point_sampling(points, 1024, 3)
    np.testing.assert_array_equal(first, ops.farthest_point_sampling(points.copy(), 1024, 3))
    starts = {int(ops.farthest_point_sampling(points, 1, start)[0]) for start in range(64)}
    assert len(starts) == 64


def test_points_near_the_origin_are_sampled_like_any_others(rng):
    """Several public kernels skip points within 3.2 cm of the origin."""
    near = rng.uniform(-0.015, 0.015, (300, 3)).astype(np.float32)
    np.testing.assert_array_equal(np.sort(ops.farthest_point_sampling(near, 300)), np.arange(300))
    shell = rng.normal(size=(2000, 3))
    shell = (0.3 * shell / np.linalg.norm(shell, axis=1, keepdims=True)).astype(np.float32)
    cloud = np.concatenate([shell, np.zeros((1, 3), np.float32)])
    assert 2000 in ops.farthest_point_sampling(cloud, 64)
    assert ops.knn(np.zeros((1, 3), np.float32), cloud, 1)[0, 0] == 2000


@pytest.mark.parametrize("moved", [0.0, 0.4, 5.0])
def test_sampling_does_not_depend_on_where_the_origin_is(moved):
    """Coordinates on a binary grid, so that moving them rounds nothing."""
    points = np.random.default_rng(3).integers(-512, 512, (3000, 3)).astype(np.float32) / 1024
    shift = np.float32(round(moved * 1024) / 1024)
    np.testing.assert_array_equal(
        ops.farthest_point_sampling(points, 500), ops.farthest_point_sampling(points + shift, 500)
    )


@pytest.mark.parametrize("k", [1, 32])
def test_nearest_neighbours_are_exact(rng, k):
    points = _cloud(rng, 1024)
    queries = points[:64]
    found = ops.knn(queries, points, k)
    distances, _ = cKDTree(points).query(queries, k=[*range(1, k + 1)])
    assert found.shape == (64, k)
    np.testing.assert_allclose(np.linalg.norm(points[found] - queries[:, None], axis=2), distances, atol=1e-6)
    np.testing.assert_array_equal(found[:, 0], np.arange(64))


def test_patches_are_relative_to_their_centres(rng):
    points = _cloud(rng, 200)
    neighbours = ops.knn(points[:5], points, 8)
    patches = ops.group(points, points[:5], neighbours)
    assert patches.shape == (5, 8, 3)
    np.testing.assert_array_equal(patches[:, 0], np.zeros((5, 3)))
    np.testing.assert_allclose(patches + points[:5, None], points[neighbours], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: ops.farthest_point_sampling(p, 11), "1 <= count <= 10"),
        (lambda p: ops.farthest_point_sampling(p, 0), "count 0"),
        (lambda p: ops.farthest_point_sampling(p, 2, 10), "start_index"),
        (lambda p: ops.knn(p, p, 11), "1 <= k <= 10"),
        (lambda p: ops.knn(p[:, :2], p, 1), r"\(n, 3\).*\(10, 2\)"),
        (lambda p: ops.crop_box(p.astype(int), (0, 0, 0), (1, 1, 1)), "floats"),
    ],
)
def test_arguments_out_of_range_are_refused(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(_cloud(rng, 10))
