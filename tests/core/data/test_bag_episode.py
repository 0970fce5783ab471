"""Episodes out of bags: which action belongs to which observation."""

import numpy as np
import pytest

from clar_core.data.bag_episode import expand, read_episodes
from clar_core.data.bags import BagError, BagReader
from clar_core.data.mapping import BagMapping
from clar_core.geometry.poses import make_pose
from clar_core.observation.builder import proprioception
from clar_core.observation.spec import ObservationSpec
from tests.core.data.recorded_episode import DOWN, START, Recipe, record
from tests.core.observation.scene import T_BASE_CAMERA

SPEC = ObservationSpec()


def read(path, mapping=None, **options):
    with BagReader(path) as bag:
        return read_episodes(bag, SPEC, mapping or BagMapping(), **options)


def test_labels_are_what_the_commanded_pose_changed_by_paired_with_the_observation_named(tmp_path):
    recipe = Recipe()
    (found,) = read(record(tmp_path, recipe))
    episode = found.episode
    assert len(episode) == recipe.ticks
    actions = np.array([step.action for step in episode.steps])
    np.testing.assert_allclose(actions, recipe.steps(), atol=1e-6)
    np.testing.assert_allclose(episode.steps[0].state, proprioception(START, 0.08, SPEC), atol=1e-6)
    assert episode.success
    assert episode.task == "place_cube_in_basin"
    assert episode.info["labels"] == "commanded"
    assert episode.info["sources"] == [["teleop", 24]]
    assert not found.skipped


def test_commands_that_were_refused_or_name_no_observation_label_nothing(tmp_path):
    (found,) = read(record(tmp_path, unobserved=(3, 4), refused=(8,)))
    assert len(found.episode) == 21
    assert found.skipped["names no observation"] == 2
    assert found.skipped["not executed"] == 1


def test_a_take_over_is_recorded_step_by_step(tmp_path):
    recipe = Recipe(source="policy", sources=dict.fromkeys(range(10, 18), "teleop"))
    (found,) = read(record(tmp_path, recipe))
    assert found.episode.info["sources"] == [["policy", 10], ["teleop", 8], ["policy", 6]]
    assert expand(found.episode.info["sources"])[9:11] == ["policy", "teleop"]


def test_standing_still_at_head_and_tail_is_left_out_but_for_two_steps(tmp_path):
    actions = Recipe().steps()
    actions[:, 6] = 1.0
    actions[:6, :6] = 0.0
    actions[-5:, :6] = 0.0
    path = record(tmp_path, actions=actions)
    (found,) = read(path)
    assert len(found.episode) == 24 - 4 - 3
    (whole,) = read(path, trim=False)
    assert len(whole.episode) == 24


@pytest.mark.parametrize(("outcome", "success"), [(1, True), (2, False), (0, False)])
def test_the_outcome_is_the_operators_and_an_unfinished_episode_is_no_success(tmp_path, outcome, success):
    (found,) = read(record(tmp_path, outcome=outcome))
    assert found.episode.success is success


def test_a_discarded_episode_is_not_one(tmp_path):
    assert read(record(tmp_path, outcome=3)) == []


def test_bags_without_commands_give_measured_labels_at_ten_hertz(tmp_path):
    path = record(tmp_path, without=("/clar/command",))
    (found,) = read(path)
    assert found.episode.info["labels"] == "measured"
    assert 22 <= len(found.episode) <= 25
    middle = np.array([step.action for step in found.episode.steps[4:-4]])
    np.testing.assert_allclose(middle[:, :3].mean(axis=0), [0.004, 0, -0.006], atol=1e-3)
    assert middle[0, 6] == 1.0
    assert middle[-1, 6] == 0.0


def test_the_camera_can_be_placed_by_the_mapping(tmp_path):
    path = record(tmp_path, without=("/tf_static",))
    with pytest.raises(BagError, match="no usable step"):
        read(path)
    rows = tuple(tuple(row) for row in T_BASE_CAMERA.tolist())
    (found,) = read(path, BagMapping(T_base_camera=rows))
    assert len(found.episode) == 24


def test_images_of_another_encoding_are_named(tmp_path):
    with pytest.raises(BagError, match="32FC1"):
        read(record(tmp_path, encoding="32FC1"))


def test_the_start_of_the_arm_is_where_the_states_say(tmp_path):
    (found,) = read(record(tmp_path))
    assert np.allclose(found.episode.steps[0].state[:3], make_pose(DOWN, (0.5, 0, 0.3))[:3, 3])
