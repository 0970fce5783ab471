"""From deflections to 10 Hz actions: dead zone, speed scale, frame, and a gripper that toggles without chatter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clar_core.control.action import STEP_PERIOD_S, Action
from clar_core.teleop.reading import Array, Button, Reading

BASE, TOOL = "base", "tool"


@dataclass(frozen=True, kw_only=True)
class ShapingConfig:
    """How a device's deflection becomes motion.

    Attributes:
        linear_m_s: speed of the TCP at full deflection and scale 1.
        angular_rad_s: rate of rotation at full deflection and scale 1.
        dead_zone: deflections below this part of the full one are none.
        scale_min, scale_max: bounds of the speed scale.
        scale_step: factor of one press of faster or slower.
        frame: ``base`` or ``tool``, in which deflections count at first.
        debounce_s: a button that comes again within this time was one press.
    """

    linear_m_s: float = 0.15
    angular_rad_s: float = 0.7
    dead_zone: float = 0.08
    scale_min: float = 0.1
    scale_max: float = 1.5
    scale_step: float = 1.25
    frame: str = BASE
    debounce_s: float = 0.25

    def __post_init__(self) -> None:
        if self.frame not in (BASE, TOOL):
            raise ValueError(f"frame: expected {BASE} or {TOOL}, got {self.frame!r}")
        if not 0.0 <= self.dead_zone < 1.0:
            raise ValueError(f"dead_zone: expected a part in [0, 1), got {self.dead_zone}")


class Presses:
    """Buttons that have just gone down. A contact that bounces counts once."""

    def __init__(self, debounce_s: float) -> None:
        self._debounce_s = debounce_s
        self._down: frozenset[Button] = frozenset()
        self._last_s: dict[Button, float] = {}

    def update(self, pressed: frozenset[Button], now_s: float) -> tuple[Button, ...]:
        """The presses since the last call, in the order of the enumeration."""
        new = [b for b in Button if b in pressed and b not in self._down]
        presses = [b for b in new if now_s - self._last_s.get(b, -np.inf) >= self._debounce_s]
        for button in pressed:
            self._last_s[button] = now_s
        self._down = pressed
        return tuple(presses)


class Shaper:
    """Turns readings into actions; it remembers the speed scale, the frame and the gripper's target.

    Attributes:
        scale: speed scale now.
        frame: frame of the deflections now, ``base`` or ``tool``.
        gripper: target that actions carry, 0 closed or 1 open.
    """

    def __init__(self, config: ShapingConfig) -> None:
        self._config = config
        self.scale = 1.0
        self.frame = config.frame
        self.gripper = 1.0

    def press(self, button: Button) -> bool:
        """Let a press change gripper, frame or scale; False when the button means something else."""
        c = self._config
        if button is Button.GRIPPER:
            self.gripper = 1.0 - self.gripper
        elif button is Button.FRAME:
            self.frame = TOOL if self.frame == BASE else BASE
        elif button in (Button.FASTER, Button.SLOWER):
            factor = c.scale_step if button is Button.FASTER else 1.0 / c.scale_step
            self.scale = float(np.clip(self.scale * factor, c.scale_min, c.scale_max))
        else:
            return False
        return True

    def action(self, reading: Reading, rotation: Array) -> Action:
        """The 100 ms step that a reading asks for; the step of zero without the dead-man.

        Args:
            reading: of the device.
            rotation: (3, 3) of the TCP in the base frame, for deflections in the tool's frame.
        """
        c = self._config
        if not reading.dead_man:
            return Action.hold(self.gripper)
        deflection = _beyond(np.clip(reading.deflection, -1.0, 1.0), c.dead_zone)
        step = deflection * np.repeat([c.linear_m_s, c.angular_rad_s], 3) * self.scale * STEP_PERIOD_S
        if self.frame == TOOL:
            step = np.concatenate([rotation @ step[:3], rotation @ step[3:]])
        return Action(step[:3], step[3:], self.gripper)


def _beyond(deflection: Array, dead_zone: float) -> Array:
    """What exceeds the dead zone, stretched so that full deflection stays full."""
    return np.asarray(np.sign(deflection) * np.maximum(np.abs(deflection) - dead_zone, 0.0) / (1.0 - dead_zone))
