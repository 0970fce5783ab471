"""The tensor backend gives what the array backend gives."""

import numpy as np
import pytest

from clar_core.geometry import points as ops

torch = pytest.importorskip("torch")


@pytest.fixture
def cloud():
    return np.random.default_rng(5).uniform(-0.5, 0.5, (1500, 3)).astype(np.float32)


def test_both_backends_sample_the_same_points(cloud):
    expected = ops.farthest_point_sampling(cloud, 300)
    chosen = ops.farthest_point_sampling(torch.from_numpy(cloud), 300, int(expected[0]))
    assert isinstance(chosen, torch.Tensor)
    np.testing.assert_array_equal(chosen.numpy(), expected)


def test_tensors_start_at_the_row_that_is_asked_for(cloud):
    assert int(ops.farthest_point_sampling(torch.from_numpy(cloud), 2, 77)[0]) == 77


def test_a_batch_is_sampled_like_its_members(cloud):
    batch = torch.from_numpy(np.stack([cloud, cloud[::-1] * 0.5]))
    chosen = ops.farthest_point_sampling(batch, 50, 4)
    assert chosen.shape == (2, 50)
    for member, row in zip(batch, chosen, strict=True):
        torch.testing.assert_close(ops.farthest_point_sampling(member, 50, 4), row)


def test_both_backends_find_the_same_neighbours(cloud):
    tensor = torch.from_numpy(cloud)
    expected = ops.knn(cloud[:64], cloud, 32)
    found = ops.knn(tensor[:64], tensor, 32)
    np.testing.assert_array_equal(found.numpy(), expected)
    batched = ops.knn(tensor[None, :64], tensor[None], 32)
    np.testing.assert_array_equal(batched[0].numpy(), expected)


def test_neighbours_stay_exact_far_from_the_origin(cloud):
    """The expanded square |a|^2 - 2ab + |b|^2 would cancel here."""
    moved = cloud + np.float32(64)
    found = ops.knn(torch.from_numpy(moved[:64]), torch.from_numpy(moved), 8).numpy()
    reference = np.linalg.norm(moved[None].astype(np.float64) - moved[:64, None], axis=2)
    np.testing.assert_allclose(np.take_along_axis(reference, found, 1), np.sort(reference, axis=1)[:, :8], atol=1e-5)


def test_both_backends_group_alike(cloud):
    neighbours = ops.knn(cloud[:16], cloud, 8)
    expected = ops.group(cloud, cloud[:16], neighbours)
    tensor, rows = torch.from_numpy(cloud), torch.from_numpy(neighbours)
    np.testing.assert_array_equal(ops.group(tensor, tensor[:16], rows).numpy(), expected)
    np.testing.assert_array_equal(ops.group(tensor[None], tensor[None, :16], rows[None])[0].numpy(), expected)


def test_tensors_near_the_origin_are_not_skipped():
    near = torch.from_numpy(np.random.default_rng(1).uniform(-0.01, 0.01, (100, 3)).astype(np.float32))
    assert sorted(ops.farthest_point_sampling(near, 100).tolist()) == list(range(100))


def test_wrong_tensors_are_refused(cloud):
    tensor = torch.from_numpy(cloud)
    with pytest.raises(ValueError, match=r"got torch.int64"):
        ops.farthest_point_sampling(tensor.long(), 3)
    with pytest.raises(ValueError, match="1 <= count <= 1500"):
        ops.farthest_point_sampling(tensor, 1501)
    with pytest.raises(ValueError, match="batched alike"):
        ops.knn(tensor, tensor[None], 3)
    with pytest.raises(ValueError, match="1 <= k <= 1500"):
        ops.knn(tensor, tensor, 1501)
