"""What a recorded episode did, ready to be done again."""

import numpy as np
import pytest

from clar_core.data.bags import BagError
from clar_core.data.replay import approach, read_motion
from clar_core.geometry.poses import make_pose
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


def test_what_cannot_be_replayed_is_named(tmp_path):
    with pytest.raises(BagError, match="no episode 1; the bag has 1"):
        read_motion(record(tmp_path / "a"), 1)
    with pytest.raises(BagError, match="no command was executed"):
        read_motion(record(tmp_path / "b", without=("/clar/command",)))
