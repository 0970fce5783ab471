"""One sequence of actions ends in the same place on the gymnasium front and, through franky, on the live front."""

from __future__ import annotations

import numpy as np
import pytest

from clar.drivers.franka import FrankaArm, FrankaConfig
from clar_core.simulation.live import LiveCell
from clar_core.simulation.parity import ReplayError, compare, free_actions, replay_gym, replay_live

TASK, SEED = "place_cube_in_basin", 1
FINAL_M = 0.005
FINAL_RAD = 0.02
SLOWEST = 0.8


def test_live_front_ends_where_the_gymnasium_front_ends(fci_address: str) -> None:
    actions = free_actions(SEED, 20, step_m=0.006, step_rad=0.02)
    reference = replay_gym(actions, TASK, SEED)
    assert np.ptp(reference.poses[:, :3, 3], axis=0).max() > 0.01
    with LiveCell(TASK, SEED, address=fci_address) as cell:
        arm = FrankaArm(FrankaConfig(host=fci_address, realtime=False))
        try:
            live = replay_live(actions, SEED, cell, arm, None)
        except ReplayError:
            _skip_when_too_slow(cell)
            raise
        finally:
            arm.close()
        difference = compare(reference, live)
        if difference.final_translation_m > FINAL_M:
            _skip_when_too_slow(cell)
    assert difference.final_translation_m < FINAL_M
    assert difference.final_rotation_rad < FINAL_RAD


def _skip_when_too_slow(cell: LiveCell) -> None:
    factor = cell.snapshot().real_time_factor
    if factor < SLOWEST:
        pytest.skip(f"this machine is too busy to simulate in real time: factor {factor:.2f}")
