"""From a camera's own time stamps to wall time, and what is wrong with them.

A RealSense camera stamps its frames in one of three time domains (librealsense, ``rs2_timestamp_domain``): *global
time* is the device's clock already fitted to this computer's, *hardware clock* counts from when the camera was powered,
*system time* is when the frame reached the computer. Only the first tells when the picture was taken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

GLOBAL_TIME = "global_time"
HARDWARE_CLOCK = "hardware_clock"
SYSTEM_TIME = "system_time"
DOMAINS = (GLOBAL_TIME, HARDWARE_CLOCK, SYSTEM_TIME)

_WINDOW_FRAMES = 300


class DeviceTimeError(ValueError):
    """A frame's stamp cannot be believed; the text says what was found and what to do."""


@dataclass(frozen=True, kw_only=True)
class DeviceTimeLimits:
    """What a stamp may look like when its frame arrives.

    Attributes:
        age_max_s: a frame that is older on arrival is refused.
        future_max_s: so far ahead of this computer's clock a stamp may be.
        jump_s: the device's clock may gain or lose no more than this against the computer's from one frame to the next.
    """

    age_max_s: float = 0.5
    future_max_s: float = 0.02
    jump_s: float = 0.2


class DeviceClock:
    """Maps the stamps of one device. A clock that is not fitted to this computer's is anchored by arrival times.

    The anchor is the smallest difference between arrival and device time over the last ten seconds or so of frames:
    the frame that travelled fastest. It follows the drift of the two clocks, and leaves the stamps late by the
    shortest transfer, which nobody can see from this side.
    """

    def __init__(self, limits: DeviceTimeLimits | None = None) -> None:
        self._limits = limits or DeviceTimeLimits()
        self._last: tuple[str, int, int] | None = None
        self._offsets_ns: deque[int] = deque(maxlen=_WINDOW_FRAMES)

    @property
    def domain(self) -> str:
        """Time domain of the last frame, empty before the first."""
        return self._last[0] if self._last else ""

    def wall_ns(self, device_ms: float, domain: str, arrival_ns: int) -> int:
        """Wall time in nanoseconds at which a frame was taken.

        Args:
            device_ms: the frame's stamp in milliseconds, in its domain.
            domain: one of ``DOMAINS``.
            arrival_ns: wall time at which the frame reached this program.

        Raises:
            DeviceTimeError: an unknown domain, a stamp that jumps, repeats or goes back, or one that is too old or in
                the future. The next frame is judged afresh.
        """
        if domain not in DOMAINS:
            raise DeviceTimeError(f"time domain: expected one of {', '.join(DOMAINS)}, got {domain!r}")
        device_ns = round(device_ms * 1e6)
        last, self._last = self._last, (domain, device_ns, arrival_ns)
        if last is not None:
            self._check_progress(last, domain, device_ns, arrival_ns)
        if domain == HARDWARE_CLOCK:
            self._offsets_ns.append(arrival_ns - device_ns)
            device_ns += min(self._offsets_ns)
        self._check_age(device_ns, domain, arrival_ns)
        return device_ns

    def _check_progress(self, last: tuple[str, int, int], domain: str, device_ns: int, arrival_ns: int) -> None:
        last_domain, last_device_ns, last_arrival_ns = last
        if domain != last_domain:
            self._offsets_ns.clear()
            raise DeviceTimeError(f"the camera's time domain changed from {last_domain} to {domain}")
        step_ns = device_ns - last_device_ns
        jump_ns = step_ns - (arrival_ns - last_arrival_ns)
        if step_ns <= 0 or abs(jump_ns) > self._limits.jump_s * 1e9:
            self._offsets_ns.clear()
            raise DeviceTimeError(
                f"the camera's clock jumped by {jump_ns * 1e-6:+.0f} ms against this computer's: was one of them set"
                " (time synchronisation), or the camera reset?"
            )

    def _check_age(self, stamp_ns: int, domain: str, arrival_ns: int) -> None:
        age_s = (arrival_ns - stamp_ns) * 1e-9
        if age_s > self._limits.age_max_s:
            raise DeviceTimeError(
                f"a frame was {age_s * 1e3:.0f} ms old when it arrived ({domain}), expected at most"
                f" {self._limits.age_max_s * 1e3:.0f} ms: is this computer overloaded, or its clock wrong?"
            )
        if -age_s > self._limits.future_max_s:
            raise DeviceTimeError(
                f"a frame is stamped {-age_s * 1e3:.0f} ms in the future ({domain}), expected at most"
                f" {self._limits.future_max_s * 1e3:.0f} ms: was this computer's clock set back?"
            )
