"""Keys, gamepads and six-axis devices as readings."""

from types import SimpleNamespace

import numpy as np
import pytest

from clar_core.teleop.joy import SPACENAV, XBOX, JoyMapping, reading_of_joy, reading_of_twist
from clar_core.teleop.keys import KeyState, split
from clar_core.teleop.reading import Button


def test_a_key_moves_while_it_repeats_and_stops_when_it_is_let_go():
    keys = KeyState(hold_s=0.25)
    keys.type("w", 1.0)
    keys.type("w", 1.2)
    assert keys.read(1.4).deflection.tolist() == [1, 0, 0, 0, 0, 0]
    assert keys.read(1.4).dead_man
    released = keys.read(1.46)
    assert not released.dead_man
    assert not released.deflection.any()


def test_keys_add_up_and_opposite_ones_cancel():
    keys = KeyState()
    keys.type("wa", 0.0)
    assert keys.read(0.1).deflection.tolist() == [1, 1, 0, 0, 0, 0]
    keys.type("s", 0.1)
    assert keys.read(0.2).deflection.tolist() == [0, 1, 0, 0, 0, 0]


def test_a_typed_button_is_down_in_one_reading():
    keys = KeyState()
    keys.type("Y ", 0.0)
    assert keys.read(0.0).pressed == {Button.SUCCESS, Button.GRIPPER}
    assert keys.read(0.1).pressed == frozenset()


def test_arrows_are_one_key():
    assert split("\x1b[Aw\x1b[C") == ["\x1b[A", "w", "\x1b[C"]
    keys = KeyState()
    keys.type("\x1b[B", 0.0)
    assert keys.read(0.0).deflection[0] == -1


def _pad(**axes):
    values = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]
    for name, value in axes.items():
        values[int(name[1:])] = value
    return values


def test_a_gamepad_moves_only_with_its_dead_man_held():
    buttons = [0] * 11
    assert not reading_of_joy(_pad(a1=1.0), buttons).dead_man
    buttons[XBOX.dead_man] = 1
    reading = reading_of_joy(_pad(a1=1.0, a5=-1.0), buttons)
    assert reading.dead_man
    assert reading.deflection.tolist() == [1, 0, 1, 0, 0, 0]


def test_a_gamepads_buttons_have_their_meaning():
    buttons = [0] * 11
    buttons[XBOX.buttons["success"]] = buttons[XBOX.buttons["gripper"]] = 1
    assert reading_of_joy(_pad(), buttons).pressed == {Button.SUCCESS, Button.GRIPPER}


def test_a_mapping_that_does_not_fit_the_device_is_named():
    with pytest.raises(ValueError, match="uses axis 5, the device has 2"):
        reading_of_joy([0.0, 0.0], [])
    with pytest.raises(ValueError, match="jump"):
        JoyMapping(buttons={"jump": 0})


def test_a_six_axis_device_is_held_by_its_deflection():
    resting = reading_of_joy([0.0] * 6, [0, 0], SPACENAV)
    assert not resting.dead_man
    assert reading_of_joy([0, 0, 0.5, 0, 0, 0], [1, 0], SPACENAV).dead_man


def test_twists_are_scaled_by_what_their_driver_sends_at_full_deflection():
    twist = SimpleNamespace(linear=SimpleNamespace(x=0.35, y=0.0, z=0.0), angular=SimpleNamespace(x=0.0, y=0.0, z=-1.0))
    reading = reading_of_twist(twist, full_linear=0.7, full_angular=2.0)
    assert np.allclose(reading.deflection, [0.5, 0, 0, 0, 0, -0.5])
    assert reading.dead_man
    twist.linear.x = float("nan")
    assert not reading_of_twist(twist, 0.7, 2.0).dead_man
