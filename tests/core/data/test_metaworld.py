"""MetaWorld's scripted policies as demonstrations, in the true environments."""

import numpy as np
import pytest

from clar_core.data.metaworld import METAWORLD_SPEC, MetaWorldCell, MetaWorldConfig, action_of, collect
from clar_core.data.store import Store
from clar_core.observation.builder import build_cloud

pytest.importorskip("metaworld")


@pytest.fixture(scope="module")
def cell():
    cell = MetaWorldCell("reach", "corner", 160, 120)
    yield cell
    cell.close()


def test_a_seed_is_a_start_whatever_was_run_before(cell):
    first = cell.reset(3)
    image = cell.depth()
    assert not np.array_equal(cell.reset(4), first)
    np.testing.assert_array_equal(cell.reset(3), first)
    np.testing.assert_array_equal(cell.depth(), image)


def test_the_table_lies_at_height_zero_in_the_world(cell):
    import dataclasses

    cell.reset(3)
    spec = dataclasses.replace(METAWORLD_SPEC, crop_min_m=(-0.35, 0.45, -0.05), crop_max_m=(-0.15, 0.75, 0.05))
    table = build_cloud(cell.depth(), cell.intrinsics, cell.T_world_camera, spec)
    assert abs(np.median(table[:, 2])) < 0.003


def test_actions_are_metres_and_an_open_gripper_is_one():
    np.testing.assert_allclose(action_of([2.0, -0.5, 0.0, -1.0]), [0.01, -0.005, 0, 0, 0, 0, 1.0])
    assert action_of([0, 0, 0, 1.0])[6] == 0.0


def test_collecting_keeps_successes_and_goes_on_where_it_stopped(tmp_path):
    config = MetaWorldConfig(directory=tmp_path / "s", episodes=1, steps=60, width=160, height=120, points=1024)
    (episode,) = collect(config)
    assert episode.success
    assert len(episode) == 60
    assert list(collect(config)) == []
    store = Store(tmp_path / "s")
    assert [e.info["seed"] for e in store.episodes] == [0]
    moved = store.read("state")[-1, :3] - store.read("state")[0, :3]
    assert np.linalg.norm(moved) > 0.02


def test_a_task_or_a_camera_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="has no 'fly'"):
        MetaWorldCell("fly", "corner", 160, 120)
    with pytest.raises(ValueError, match="no 'ceiling'"):
        MetaWorldCell("reach", "ceiling", 160, 120)
