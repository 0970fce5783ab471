"""Telling others without waiting for them."""

from __future__ import annotations

import threading
import time

from clar_core.control.controller import ArmController, ControllerSettings
from clar_core.control.loop import ArmLoop
from clar_core.control.teller import Teller
from tests.core.control.fake_robot import FakeGripper
from tests.core.control.test_loop import LIMITS, TimedArm


def test_jobs_are_done_in_order_and_the_rest_of_them_before_it_ends() -> None:
    done: list[int] = []
    teller = Teller(lambda error: None)
    for number in range(20):
        teller.put(lambda number=number: done.append(number))
    teller.close(20.0)
    assert done == list(range(20))


def test_while_one_hangs_nobody_waits_and_the_oldest_are_dropped() -> None:
    begun, going_on = threading.Event(), threading.Event()
    done: list[int] = []
    teller = Teller(lambda error: None, kept=3)
    teller.put(lambda: (begun.set(), going_on.wait(20.0)))
    assert begun.wait(20.0)
    for number in range(10):
        teller.put(lambda number=number: done.append(number))
    teller.close(0.01)
    assert not done, "it hangs, and closing it did not wait for that"
    going_on.set()
    teller.close(20.0)
    assert done == [7, 8, 9]


def test_what_a_job_raises_is_reported_and_the_next_is_done() -> None:
    errors: list[Exception] = []
    done: list[str] = []

    def fails() -> None:
        raise KeyError("oops")

    teller = Teller(errors.append)
    teller.put(fails)
    teller.put(lambda: done.append("next"))
    teller.close(20.0)
    assert [type(error) for error in errors] == [KeyError]
    assert done == ["next"]


def test_the_loop_goes_on_while_a_listener_hangs() -> None:
    going_on = threading.Event()
    teller = Teller(lambda error: None)
    controller = ArmController(ControllerSettings(envelope=LIMITS))
    loop = ArmLoop(
        controller,
        TimedArm(),
        FakeGripper(),
        on_state=lambda state: teller.put(lambda: going_on.wait(20.0)),
        period_s=0.001,
    )
    loop.start()
    try:
        reads: set[float] = set()
        end_s = time.monotonic() + 20.0
        while len(reads) < 100 and time.monotonic() < end_s:
            reads.add(loop.state.arm.read_at_s)
            time.sleep(0.001)
        assert len(reads) == 100, "the loop waits for the listener"
    finally:
        loop.close("the test ends")
        going_on.set()
        teller.close(20.0)
