"""The hand of the gymnasium front: requests are carried out to their end, and a lost object ends the trial."""

from itertools import pairwise

import numpy as np

from clar_core.control.robot import OBJECT_LOST
from clar_core.control.tracking import CONTROL_PERIOD_S
from clar_core.simulation.env import CellEnv, EnvConfig
from clar_core.simulation.hand import Hand
from clar_core.simulation.tasks import get_task

SPEED_M = 0.1 * CONTROL_PERIOD_S


class Fingers:
    """Fingers that go to the hand's target, and stop at what is between them."""

    def __init__(self) -> None:
        self.hand, self.width_m, self.time_s, self.object_m = Hand(delay_s=0.06), 0.08, 0.0, 0.0

    def run(self, periods: int) -> list[float]:
        widths = []
        for _ in range(periods):
            self.hand.advance(self.time_s, self.width_m)
            least = max(self.hand.target_m, self.object_m)
            self.width_m = float(np.clip(least, self.width_m - SPEED_M, self.width_m + SPEED_M))
            self.time_s += CONTROL_PERIOD_S
            widths.append(self.width_m)
        return widths


def test_a_request_is_carried_out_to_its_end_before_the_next_one() -> None:
    fingers = Fingers()
    fingers.hand.request(False, fingers.time_s)
    fingers.run(10)
    fingers.hand.request(True, fingers.time_s)
    widths = fingers.run(100)
    closed = widths.index(0.0)
    assert all(b <= a for a, b in pairwise(widths[: closed + 1]))
    assert widths[-1] == 0.08
    assert not fingers.hand.reading().busy


def test_a_request_that_waits_is_replaced_and_one_that_changes_nothing_is_none() -> None:
    fingers = Fingers()
    fingers.hand.request(False, fingers.time_s)
    fingers.run(10)
    for is_open in (True, False, False):
        fingers.hand.request(is_open, fingers.time_s)
    fingers.run(100)
    assert fingers.width_m == 0.0
    assert not fingers.hand.reading().busy


def test_a_hand_holds_what_stops_its_fingers_until_it_is_told_to_open() -> None:
    fingers = Fingers()
    fingers.object_m = 0.05
    fingers.hand.request(False, fingers.time_s)
    fingers.run(5)
    assert fingers.hand.reading().busy
    assert not fingers.hand.reading().holds_object
    fingers.run(50)
    assert fingers.hand.reading().holds_object
    fingers.hand.request(True, fingers.time_s)
    fingers.run(10)
    assert not fingers.hand.reading().holds_object


def test_losing_what_was_grasped_ends_the_trial_as_the_arm_halts() -> None:
    for halts in (True, False):
        env = CellEnv(EnvConfig(task="pick_banana", render_depth=False, halt_on_object_lost=halts))
        env.reset(seed=3)
        while not env.robot.hand.reading().holds_object:
            truncated = env.step(env.expert().to_array())[3]
            assert not truncated
        banana = env.model.body(get_task("pick_banana").objects[0]).jntadr[0]
        env.data.qpos[env.model.jnt_qposadr[banana]] += 0.3  # pulled out from between the fingers
        still = np.zeros(7)
        infos = [env.step(still)[3:] for _ in range(15)]
        ended = [info["halt"] for truncated, info in infos if truncated]
        assert (ended[:1] == [OBJECT_LOST]) if halts else not ended
