"""What a recorded episode did, ready to be done again."""

import numpy as np
import pytest

from clar_core.data.bags import BagError
from clar_core.data.replay import Follower, approach, read_motion
from clar_core.geometry.poses import apply_delta, make_pose
from tests.core.data.recorded_episode import DOWN, START, Recipe, record


def test_every_executed_step_is_replayed_pushes_included(tmp_path):
    recipe = Recipe(unobserved=(3, 4), refused=(8,))
    motion = read_motion(record(tmp_path, recipe))
    executed = np.delete(recipe.steps(), 8, axis=0)
    np.testing.assert_allclose(motion.actions, executed, atol=1e-6)
    np.testing.assert_allclose(motion.T_start, START, atol=1e-9)
    assert motion.times_s[0] == 0.0
    np.testing.assert_allclose(np.diff(motion.times_s)[:7], 0.1, atol=1e-6)
    assert (motion.task, motion.seed) == ("place_cube_in_basin", 7)


def test_the_way_to_the_start_is_bounded_and_ends_there(tmp_path):
    motion = read_motion(record(tmp_path))
    T = make_pose(DOWN, (0.45, 0.1, 0.4))
    for _ in range(80):
        step = approach(T, motion)
        if step is None:
            break
        assert np.linalg.norm(step.translation) <= 0.0151
        T = step.applied_to(T)
    assert np.linalg.norm(T[:3, 3] - START[:3, 3]) < 0.003


class Line:
    """Commands under way to an arm, each heard two steps later."""

    def __init__(self, T):
        self.T_commanded, self.last_sequence, self.under_way = T, 0, []

    def send(self, sequence, action, lost=False):
        self.under_way.append(None if lost else (sequence, action))
        if len(self.under_way) > 2:
            self.hear()

    def hear(self):
        if (heard := self.under_way.pop(0)) is not None:
            self.last_sequence, action = heard
            self.T_commanded = action.applied_to(self.T_commanded)


def test_steps_that_are_all_executed_are_the_recorded_ones(tmp_path):
    motion = read_motion(record(tmp_path))
    follower, line = Follower(motion), Line(motion.T_start)
    for number, action in enumerate(motion.actions):
        step = follower.step(number, number + 1, line.T_commanded, line.last_sequence)
        np.testing.assert_allclose(step.to_array(), action, atol=1e-9)
        line.send(number + 1, step)


@pytest.mark.parametrize("lost", [(5,), (5, 6), (5, 9, 10)])
def test_a_step_that_was_lost_is_made_up_for_in_small_parts(tmp_path, lost):
    motion = read_motion(record(tmp_path))
    follower, line = Follower(motion), Line(motion.T_start)
    for number, action in enumerate(motion.actions):
        step = follower.step(number, number + 1, line.T_commanded, line.last_sequence)
        assert np.linalg.norm(step.translation) <= np.linalg.norm(action[:3]) + 0.0051
        line.send(number + 1, step, lost=number in lost)
    for _ in range(2):
        line.hear()
    np.testing.assert_allclose(line.T_commanded, motion.T_commanded[-1], atol=1e-6)


def test_a_recording_that_cannot_be_followed_is_approached_no_faster(tmp_path):
    motion = read_motion(record(tmp_path))
    T = apply_delta(motion.T_start, np.array([0.0, 0.2, 0.0]), np.array([0.0, 0.0, 1.0]))
    step = Follower(motion).step(0, 1, T, 0)
    assert np.linalg.norm(step.translation) <= np.linalg.norm(motion.actions[0, :3]) + 0.0051
    assert np.linalg.norm(step.rotation) <= np.linalg.norm(motion.actions[0, 3:6]) + 0.0301


def test_what_cannot_be_replayed_is_named(tmp_path):
    with pytest.raises(BagError, match="no episode 1; the bag has 1"):
        read_motion(record(tmp_path / "a"), 1)
    with pytest.raises(BagError, match="no command was executed"):
        read_motion(record(tmp_path / "b", without=("/clar/command",)))
