"""MetaWorld's scripted policies as demonstrations, in the true environments."""

import numpy as np
import pytest

from clar_core.data.metaworld import METAWORLD_SPEC, MetaWorldCell, MetaWorldConfig, action_of, collect
from clar_core.data.store import Store
from clar_core.geometry.camera import deproject
from clar_core.geometry.points import inside_box
from clar_core.geometry.poses import transform_points
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


def test_the_image_is_the_right_way_up_and_its_depth_fits_its_place(cell):
    cell.reset(3)
    posed = cell.posed_image(96)
    assert posed.image.shape == (96, 96, 3)
    assert np.array_equal(posed.image, cell.image(96))
    assert posed.T_base_image[2, 1] < 0, "the image's down looks down"
    points = deproject(posed.depth, posed.intrinsics, depth_scale_m=0.001, depth_min_m=0.1, depth_max_m=4.0)
    world = transform_points(posed.T_base_image, points.astype(np.float64))
    inside = inside_box(world, (-0.35, 0.45, -0.05), (-0.15, 0.75, 0.05))
    assert inside.sum() > 50
    assert abs(np.median(world[inside, 2])) < 0.005, "the table's top is at height zero"
    cloud = cell.cloud(METAWORLD_SPEC)
    assert len(cloud) > METAWORLD_SPEC.min_cloud_points, "depth is rendered as before"


def test_actions_are_metres_and_an_open_gripper_is_one():
    np.testing.assert_allclose(action_of([2.0, -0.5, 0.0, -1.0]), [0.01, -0.005, 0, 0, 0, 0, 1.0])
    assert action_of([0, 0, 0, 1.0])[6] == 0.0


def test_collecting_keeps_successes_and_goes_on_where_it_stopped(tmp_path):
    config = MetaWorldConfig(
        directory=tmp_path / "s", episodes=1, steps=60, width=160, height=120, points=1024, image_size=32
    )
    (episode,) = collect(config)
    assert episode.success
    assert len(episode) == 60
    assert list(collect(config)) == []
    store = Store(tmp_path / "s")
    assert [e.info["seed"] for e in store.episodes] == [0]
    assert store.read("image").shape == (60, 32, 32, 3)
    moved = store.read("state")[-1, :3] - store.read("state")[0, :3]
    assert np.linalg.norm(moved) > 0.02


def test_a_task_or_a_camera_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="has no 'fly'"):
        MetaWorldCell("fly", "corner", 160, 120)
    with pytest.raises(ValueError, match="no 'ceiling'"):
        MetaWorldCell("reach", "ceiling", 160, 120)
