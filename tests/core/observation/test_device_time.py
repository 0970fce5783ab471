"""Device stamps to wall time."""

import pytest

from clar_core.observation.device_time import (
    GLOBAL_TIME,
    HARDWARE_CLOCK,
    SYSTEM_TIME,
    DeviceClock,
    DeviceTimeError,
)

EPOCH_NS = 1_700_000_000_000_000_000
FRAME_NS = 33_333_333


def ms(stamp_ns: int) -> float:
    return stamp_ns * 1e-6


@pytest.mark.parametrize("domain", [GLOBAL_TIME, SYSTEM_TIME])
def test_fitted_stamps_are_taken_as_they_are(domain: str) -> None:
    clock = DeviceClock()
    for frame in range(3):
        taken_ns = EPOCH_NS + frame * FRAME_NS
        assert clock.wall_ns(ms(taken_ns), domain, taken_ns + 9_000_000) == pytest.approx(taken_ns, abs=300)
    assert clock.domain == domain


def test_a_hardware_clock_is_anchored_by_the_fastest_frame_and_followed_as_it_drifts() -> None:
    clock, stamps = DeviceClock(), []
    for frame in range(2000):
        device_ns = round(5_000_000_000 + frame * FRAME_NS * (1 + 100e-6))
        transfer_ns = 5_000_000 + (frame % 7) * 1_000_000
        stamps.append(clock.wall_ns(ms(device_ns), HARDWARE_CLOCK, EPOCH_NS + frame * FRAME_NS + transfer_ns))
    for frame in (500, 1999):
        error_ns = stamps[frame] - (EPOCH_NS + frame * FRAME_NS)
        assert 0 <= error_ns - 5_000_000 + 1_100_000 <= 2_200_000, "late by the shortest transfer, drift followed"


@pytest.mark.parametrize("step_ns", [0, -FRAME_NS, 900_000_000])
def test_a_stamp_that_repeats_goes_back_or_jumps_is_refused_and_the_next_judged_afresh(step_ns: int) -> None:
    clock = DeviceClock()
    arrival_ns = EPOCH_NS + 400_000_000
    clock.wall_ns(ms(EPOCH_NS), GLOBAL_TIME, arrival_ns)
    with pytest.raises(DeviceTimeError, match="jumped by"):
        clock.wall_ns(ms(EPOCH_NS + step_ns), GLOBAL_TIME, arrival_ns + FRAME_NS)
    taken_ns = EPOCH_NS + step_ns + FRAME_NS
    if taken_ns <= arrival_ns + 2 * FRAME_NS:
        assert clock.wall_ns(ms(taken_ns), GLOBAL_TIME, arrival_ns + 2 * FRAME_NS) == pytest.approx(taken_ns, abs=300)


@pytest.mark.parametrize(("age_ns", "text"), [(600_000_000, "600 ms old"), (-30_000_000, "30 ms in the future")])
def test_a_stamp_too_old_or_in_the_future_is_refused(age_ns: int, text: str) -> None:
    with pytest.raises(DeviceTimeError, match=text):
        DeviceClock().wall_ns(ms(EPOCH_NS), GLOBAL_TIME, EPOCH_NS + age_ns)


def test_an_unknown_or_changing_domain_is_refused() -> None:
    clock = DeviceClock()
    with pytest.raises(DeviceTimeError, match="expected one of"):
        clock.wall_ns(0.0, "lunar_time", 0)
    clock.wall_ns(ms(EPOCH_NS), GLOBAL_TIME, EPOCH_NS)
    with pytest.raises(DeviceTimeError, match="changed from global_time to system_time"):
        clock.wall_ns(ms(EPOCH_NS + FRAME_NS), SYSTEM_TIME, EPOCH_NS + FRAME_NS)
