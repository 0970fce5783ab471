"""The steady clock serves each tick once, and names the ones it missed."""

from __future__ import annotations

import pytest

from clar_core.control.ticks import TickClock, aligned_start, awaited_until, paced


def test_a_callback_serves_the_tick_that_is_due() -> None:
    clock = TickClock(0.1, 5.0)
    tick = clock.serve(5.103)
    assert tick is not None
    assert tick.due_s == pytest.approx(5.1)
    assert tick.missed_s == ()


def test_a_tick_is_served_once() -> None:
    clock = TickClock(0.1, 0.0)
    assert clock.serve(0.05) is None
    assert clock.serve(0.11) is not None
    assert clock.serve(0.15) is None


def test_late_callbacks_name_the_ticks_they_missed_and_keep_the_phase() -> None:
    clock = TickClock(0.1, 0.0)
    clock.serve(0.1001)
    tick = clock.serve(0.4501)
    assert tick is not None
    assert tick.due_s == pytest.approx(0.4)
    assert tick.missed_s == pytest.approx((0.2, 0.3))


def test_ticks_start_a_margin_after_the_usual_arrival() -> None:
    arrivals = [7.0 + k / 30 for k in range(30)]
    arrivals[-1] += 0.010  # one late arrival moves little
    start = aligned_start(arrivals, 0.008, now_s=8.2)
    assert start >= 8.2
    after_an_arrival = (start - 7.0) % (1 / 30)
    assert after_an_arrival == pytest.approx(0.008, abs=0.001)


def test_jitter_averages_out() -> None:
    arrivals = [k * 0.05 + (0.002 if k % 2 else -0.002) for k in range(20)]
    del arrivals[7]  # a lost frame
    start = aligned_start(arrivals, 0.005, now_s=1.0)
    assert (start + 0.025) % 0.05 - 0.025 == pytest.approx(0.005, abs=0.001)


@pytest.mark.parametrize("arrivals", [[], [1.0, 1.1], [2.0] * 10])
def test_without_a_rate_ticks_start_at_once(arrivals: list[float]) -> None:
    assert aligned_start(arrivals, 0.008, now_s=3.0) == 3.0


@pytest.mark.parametrize(
    ("now_s", "until_s"),
    [
        (1.01, None),  # fresh
        (1.024, None),
        (1.026, 1.058),  # the next one is nearer
        (1.057, 1.058),
        (1.059, None),  # a frame is lost
        (9.0, None),  # the camera has stopped
    ],
)
def test_a_tick_waits_for_an_observation_that_is_about_to_come(now_s: float, until_s: float | None) -> None:
    arrivals = [0.05 * k for k in range(10, 21)]
    assert awaited_until(arrivals, 0.008, now_s) == (until_s and pytest.approx(until_s))


@pytest.mark.parametrize("arrivals", [[], [1.0, 1.1], [2.0] * 10])
def test_without_a_rate_no_tick_waits(arrivals: list[float]) -> None:
    assert awaited_until(arrivals, 0.0, 2.0) is None


def test_steps_that_are_on_time_keep_their_schedule() -> None:
    due_s = 5.0
    for number in range(1, 50):
        due_s = paced(due_s, 0.1, due_s + 0.004)
        assert due_s == pytest.approx(5.0 + 0.1 * number)


def test_a_held_up_step_moves_those_after_it_and_none_is_made_at_once() -> None:
    due_s = paced(5.0, 0.1, 5.43)
    assert due_s == pytest.approx(5.52)
    assert paced(due_s, 0.1, due_s) == pytest.approx(5.62)
