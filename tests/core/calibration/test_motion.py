"""Ways are slow at both ends and never too fast, and stillness is what it says."""

from __future__ import annotations

import numpy as np

from clar_calibration.motion import Stillness, is_new_view, way
from clar_core.geometry.poses import delta_between, make_pose, rotation_vector_to_matrix

START = make_pose(None, (0.4, 0.0, 0.3))
END = make_pose(rotation_vector_to_matrix((0.0, 0.4, 0.0)), (0.5, 0.1, 0.4))


def test_a_way_ends_at_its_end_and_keeps_to_its_speeds() -> None:
    poses = way(START, END, speed_m_s=0.1, turn_rad_s=0.5)
    np.testing.assert_allclose(poses[-1], END, atol=1e-9)
    steps = [delta_between(a, b) for a, b in zip([START, *poses], poses, strict=False)]
    distances = np.array([np.linalg.norm(t) for t, _ in steps])
    assert distances.max() <= 0.1 * 0.1 + 1e-9
    assert max(np.linalg.norm(r) for _, r in steps) <= 0.5 * 0.1 + 1e-9
    assert distances[0] < 0.5 * distances.max()
    assert distances[-1] < 0.5 * distances.max()


def test_standing_still_must_be_measured_all_through_the_window() -> None:
    watch = Stillness()
    for i in range(100):
        watch.add(0.01 * i, make_pose(None, (max(0.0, 0.5 - 0.01 * i), 0.0, 0.0)))
    assert watch.around(0.3) is None
    assert watch.around(0.75) is not None
    assert watch.around(0.95) is None, "the end of the window has not been measured yet"


def test_a_view_is_new_when_it_is_elsewhere_or_turned() -> None:
    assert not is_new_view(START, [START])
    assert is_new_view(START @ make_pose(None, (0.06, 0.0, 0.0)), [START])
    assert is_new_view(START @ make_pose(rotation_vector_to_matrix((0.2, 0.0, 0.0))), [START])
