"""When an observation is too old to act on: by its stamp, and by its content.

A stalled camera driver often goes on publishing the last frame under new stamps. Sensor noise never repeats a whole
image, so an unchanged image is evidence of a frozen camera, and its true age counts from when the content last changed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROW_STEP = 4

MAX_REPEAT_S = 0.15
"""Images whose content has not changed for longer are those of a frozen camera, live and in bags."""


class RepeatDetector:
    """Tells for how long the content of an image stream has not changed."""

    def __init__(self) -> None:
        self._checksum: int | None = None
        self._since_ns = 0

    @property
    def since_ns(self) -> int:
        """Stamp of the first image with the present content: when it was really taken."""
        return self._since_ns

    def unchanged_s(self, image: NDArray[np.generic], stamp_ns: int) -> float:
        """Seconds between the first image with this content in a row and this one; 0 for new content.

        Args:
            image: (h, w) or (h, w, c), any dtype. Every fourth row is looked at.
            stamp_ns: capture stamp.
        """
        checksum = zlib.crc32(np.ascontiguousarray(image[::_ROW_STEP]).data)
        if checksum != self._checksum or stamp_ns < self._since_ns:
            self._checksum, self._since_ns = checksum, stamp_ns
        return (stamp_ns - self._since_ns) * 1e-9


@dataclass(frozen=True, kw_only=True)
class AgeLimits:
    """Bounds on the age of an observation at the moment it is used.

    Attributes:
        max_age_s: older observations are not acted on.
        max_future_s: stamps may be ahead of the clock by no more than this; beyond it a clock is wrong.
    """

    max_age_s: float = 0.150
    max_future_s: float = 0.020

    def objection(self, stamp_ns: int, now_ns: int) -> str | None:
        """Why an observation of ``stamp_ns`` must not be used at ``now_ns``; None when it may."""
        age_ns = now_ns - stamp_ns
        if age_ns > round(self.max_age_s * 1e9):
            return f"observation is {age_ns * 1e-6:.0f} ms old, expected at most {self.max_age_s * 1e3:.0f} ms"
        if -age_ns > round(self.max_future_s * 1e9):
            return (
                f"observation is stamped {-age_ns * 1e-6:.0f} ms in the future, expected at most"
                f" {self.max_future_s * 1e3:.0f} ms: compare the clocks of camera and computer"
            )
        return None
