"""The gymnasium front against the live front: the same actions must end in the same place.

Each sequence is replayed in ``CellEnv`` and, through franky and the arm's control loop in real time, on a live cell.
Wild free motions probe the tracking, an expert's whole rollout probes contact and gripper as well.
"""

from __future__ import annotations

import argparse
import math
import sys

from harness import Benchmark

from clar.drivers.franka import FrankaArm, FrankaConfig
from clar.drivers.franka_gripper import FrankaGripper, FrankaGripperConfig
from clar_core.geometry.poses import Array
from clar_core.simulation.live import DEFAULT_ADDRESS, LiveCell
from clar_core.simulation.parity import (
    Difference,
    Replay,
    ReplayError,
    compare,
    expert_actions,
    free_actions,
    replay_gym,
    replay_live,
)
from clar_core.simulation.robot import GripperDrive

FINAL_M = 0.005
FINAL_DEG = 1.0
MEAN_M = 0.005
REAL_TIME_FACTOR = 0.8
STARTS = {"place_cube_in_basin": 3, "open_drawer": 5, "pick_banana": 3, "put_bread": 3, "water_flower": 3}


def replay_both(actions: Array, task: str, seed: int, address: str) -> tuple[Replay, Replay, float]:
    """The replay on the gymnasium front, the one on the live front, and the live front's real-time factor."""
    reference = replay_gym(actions, task, seed)
    force_n = GripperDrive().grasp_force_n
    with LiveCell(task, seed, address=address) as cell:
        arm = FrankaArm(FrankaConfig(host=address, realtime=False))
        hand = FrankaGripper(FrankaGripperConfig(host=address, force_n=force_n))
        try:
            live = replay_live(actions, seed, cell, arm, hand)
            factor = cell.snapshot().real_time_factor
        finally:
            hand.close()
            arm.close()
    return reference, live, factor


def main() -> int:
    """Replay, compare, state the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default=DEFAULT_ADDRESS, help="loopback address of the simulated robot")
    address = parser.parse_args().address
    bench = Benchmark("parity", "Gymnasium front against live front, same actions")
    cases = [
        ("free motion", "place_cube_in_basin", 1, free_actions(1, step_m=0.012, step_rad=0.04)),
        *((task, task, seed, expert_actions(task, seed)) for task, seed in STARTS.items()),
    ]
    for name, task, seed, actions in cases:
        try:
            reference, live, factor = replay_both(actions, task, seed, address)
        except ReplayError as error:
            bench.claim(f"{name}: replayed to the end", 0.0, "", at_least=1.0, reference=str(error))
            continue
        _claim(bench, name, compare(reference, live), factor)
        if reference.success:
            bench.claim(f"{name}: also succeeds live", float(live.success), "", at_least=1.0)
    return bench.finish()


def _claim(bench: Benchmark, name: str, difference: Difference, factor: float) -> None:
    final_deg = math.degrees(difference.final_rotation_rad)
    bench.claim(f"{name}: final position", difference.final_translation_m * 1e3, "mm", at_most=FINAL_M * 1e3)
    bench.claim(f"{name}: final rotation", final_deg, "deg", at_most=FINAL_DEG)
    bench.claim(f"{name}: position on the way, mean", difference.mean_translation_m * 1e3, "mm", at_most=MEAN_M * 1e3)
    bench.claim(f"{name}: position on the way, largest", difference.largest_translation_m * 1e3, "mm")
    bench.claim(f"{name}: live trails gymnasium by", difference.lag_s * 1e3, "ms")
    bench.claim(f"{name}: real-time factor", factor, "", at_least=REAL_TIME_FACTOR)


if __name__ == "__main__":
    sys.exit(main())
