"""Deflections to actions."""

import numpy as np
import pytest

from clar_core.geometry.poses import rotation_vector_to_matrix
from clar_core.teleop.reading import Button, Reading
from clar_core.teleop.shaping import Presses, Shaper, ShapingConfig

CONFIG = ShapingConfig(linear_m_s=0.2, angular_rad_s=1.0, dead_zone=0.1)


def reading(*deflection, held=True):
    return Reading(np.array(deflection, dtype=float), held)


def test_full_deflection_is_the_configured_speed_for_one_step():
    action = Shaper(CONFIG).action(reading(1, 0, 0, 0, 0, -1), np.eye(3))
    np.testing.assert_allclose(action.translation, [0.02, 0, 0])
    np.testing.assert_allclose(action.rotation, [0, 0, -0.1])


def test_without_the_dead_man_the_step_is_zero_and_the_gripper_keeps_its_target():
    shaper = Shaper(CONFIG)
    shaper.press(Button.GRIPPER)
    action = shaper.action(reading(1, 1, 1, 1, 1, 1, held=False), np.eye(3))
    assert not action.to_array()[:6].any()
    assert action.gripper == 0.0


def test_small_deflections_are_none_and_the_rest_starts_from_zero():
    shaper = Shaper(CONFIG)
    assert not shaper.action(reading(0.1, 0, 0, 0, 0, 0), np.eye(3)).translation.any()
    just_beyond = shaper.action(reading(0.11, 0, 0, 0, 0, 0), np.eye(3)).translation[0]
    assert 0 < just_beyond < 0.001


def test_in_the_tools_frame_forward_is_where_the_tool_points():
    shaper = Shaper(CONFIG)
    assert shaper.press(Button.FRAME)
    down = rotation_vector_to_matrix((0, np.pi, 0))
    np.testing.assert_allclose(shaper.action(reading(0, 0, 1, 0, 0, 0), down).translation, [0, 0, -0.02], atol=1e-12)


def test_the_speed_scale_stays_within_its_bounds():
    shaper = Shaper(CONFIG)
    for _ in range(50):
        shaper.press(Button.FASTER)
    assert shaper.scale == CONFIG.scale_max
    for _ in range(50):
        shaper.press(Button.SLOWER)
    assert shaper.scale == CONFIG.scale_min


def test_buttons_of_the_session_are_not_the_shapers():
    assert not Shaper(CONFIG).press(Button.START)


def test_a_held_button_is_one_press_and_so_is_one_that_bounces():
    presses = Presses(debounce_s=0.25)
    down = frozenset({Button.GRIPPER})
    assert presses.update(down, 0.0) == (Button.GRIPPER,)
    assert presses.update(down, 1.0) == ()
    assert presses.update(frozenset(), 1.01) == ()
    assert presses.update(down, 1.02) == ()
    assert presses.update(frozenset(), 1.03) == ()
    assert presses.update(down, 1.5) == (Button.GRIPPER,)


def test_an_unknown_frame_is_refused():
    with pytest.raises(ValueError, match="expected base or tool"):
        ShapingConfig(frame="world")
