"""The operator's devices that are no ROS topics: a terminal (a true pseudo-terminal here) and a SpaceMouse."""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from clar.drivers.keyboard import Keyboard
from clar.drivers.spacemouse import SpaceMouse, open_device
from clar_core.teleop.reading import Button, DeviceLostError
from tests.ros.processes import wait_for


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    yield master, os.ttyname(slave)
    for descriptor in (slave, master):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_keys_are_read_as_they_are_typed_and_the_terminal_is_given_back(terminal: tuple[int, str]) -> None:
    master, name = terminal
    before = termios.tcgetattr(master)
    keyboard = Keyboard(name)
    assert not keyboard.read(0.0).dead_man
    os.write(master, b"wy\x1b[C")
    reading = wait_for(lambda: (r := keyboard.read(1.0)).dead_man and r, "the keys")
    assert reading.deflection[:2].tolist() == [1.0, -1.0]
    assert reading.pressed == {Button.SUCCESS}
    assert not keyboard.read(2.0).dead_man
    assert not termios.tcgetattr(master)[3] & termios.ICANON
    keyboard.close()
    assert termios.tcgetattr(master)[3] == before[3]


def test_no_terminal_is_a_lost_device_that_says_where_to_run_it(tmp_path: object) -> None:
    with pytest.raises(DeviceLostError, match="clar teleop keyboard"):
        Keyboard("/dev/null")


class Mouse:
    """What pyspacemouse gives."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(x=0.0, y=0.0, z=0.0, roll=0.0, pitch=0.0, yaw=0.0, buttons=[0, 0])
        self.unplugged = self.closed = False

    def read(self) -> SimpleNamespace:
        if self.unplugged:
            raise OSError("read error")
        return self.state

    def close(self) -> None:
        self.closed = True


def test_the_spacemouses_cap_is_its_dead_man_and_its_buttons_have_their_meaning() -> None:
    mouse = Mouse()
    device = SpaceMouse(lambda: mouse)
    assert not device.read(0.0).dead_man
    mouse.state.x, mouse.state.yaw, mouse.state.buttons = 0.5, -1.0, [1, 0]
    reading = device.read(0.0)
    assert reading.dead_man
    assert reading.deflection.tolist() == [0.5, 0, 0, 0, 0, -1.0]
    assert reading.pressed == {Button.GRIPPER}
    device.close()
    assert mouse.closed


def test_an_unplugged_spacemouse_is_a_lost_device() -> None:
    mouse = Mouse()
    device = SpaceMouse(lambda: mouse)
    mouse.unplugged = True
    with pytest.raises(DeviceLostError, match="was it unplugged"):
        device.read(0.0)


def test_without_a_spacemouse_it_is_said_what_is_missing() -> None:
    with pytest.raises(DeviceLostError, match="udev rule"):
        open_device()
