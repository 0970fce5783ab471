"""What makes a whole bag misleading, named by field: a clock that jumped, a camera that is not where it was calibrated.

``validate`` reports these, and ``convert`` refuses the bag for them; what they say is written here once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clar_core.data.bag_log import BagLog, StateLog
from clar_core.data.mapping import BagMapping
from clar_core.geometry.frames import FrameError
from clar_core.geometry.poses import Array, delta_between

_JUMP_S = 0.05
"""Messages that overtake one another are a few milliseconds apart; a clock that is set jumps further."""
_SHIFT_S = 0.15
_BLOCKS = 8
_OFF_M, _OFF_RAD = 0.001, np.deg2rad(0.2)


class Calibration(Protocol):
    """What is compared of a ``clar_calibration.CalibrationResult``: its hash, and (4, 4) optical frame in the base."""

    @property
    def hash(self) -> str:
        """The hash that bags carry."""

    @property
    def T_base_optical(self) -> Array:
        """Maps points of the depth optical frame to the base frame."""


@dataclass(frozen=True)
class Fault:
    """One fault: the field it is in, what was found there, and what to do."""

    field: str
    found: str
    hint: str

    def __str__(self) -> str:
        return f"{self.field}: {self.found}; {self.hint}"


def clock_fault(log: BagLog, mapping: BagMapping) -> Fault | None:
    """The first topic whose stamps go back, or shift against the times of reception; None when the clocks are good."""
    hint = "the clock jumped: synchronise it (chrony) and record again"
    for topic in (mapping.state, mapping.pose, mapping.depth_info, mapping.command):
        stamps = log.stamps_ns.get(topic, np.zeros(0, np.int64))
        back_s = -float(np.diff(stamps).min()) * 1e-9 if len(stamps) > 1 else 0.0
        if back_s > _JUMP_S:
            return Fault(f"{topic}: header.stamp", f"goes back by {back_s:.2f} s", hint)
        shift_s = _shift_s(stamps, log.arrivals_ns.get(topic, np.zeros(0, np.int64)))
        if shift_s > _SHIFT_S:
            return Fault(f"{topic}: header.stamp", f"shifts by {shift_s:.2f} s against the time of reception", hint)
    if back := _sequences_back(log.states):
        return Fault(f"{mapping.state}: last_sequence", f"goes back {back} times in order of the stamps", hint)
    return None


def _shift_s(stamps_ns: NDArray[np.int64], arrivals_ns: NDArray[np.int64]) -> float:
    """How far the delay of a topic's messages moves; what a busy machine delays for a moment does not count."""
    if len(stamps_ns) != len(arrivals_ns) or len(stamps_ns) < 4 * _BLOCKS:
        return 0.0
    delays = [float(np.median(block)) for block in np.array_split(arrivals_ns - stamps_ns, _BLOCKS)]
    return (max(delays) - min(delays)) * 1e-9


def _sequences_back(states: StateLog) -> int:
    """How often an owner's command number goes back: states of two times, sorted into one."""
    back, newest = 0, dict[str, int]()
    for owner, sequence in zip(states.owner, states.last_sequence.tolist(), strict=True):
        if owner and sequence:
            back += sequence < newest.get(owner, 0)
            newest[owner] = sequence
    return back


def camera_pose(log: BagLog, mapping: BagMapping) -> tuple[str, Array]:
    """The depth camera's optical frame and its pose (4, 4) in the base frame. Raises FrameError without transforms."""
    frame = next((f for f in log.frames.frames() if f.endswith("depth_optical_frame")), "")
    return frame, log.frames.lookup(mapping.base_frame, frame)


def calibration_fault(log: BagLog, mapping: BagMapping, calibration: Calibration | None) -> Fault | None:
    """How far the bag's camera is from where a calibration puts it; None when it is there or nothing is to compare."""
    if calibration is None or mapping.T_base_camera is not None:
        return None
    try:
        frame, T = camera_pose(log, mapping)
    except FrameError as error:
        return Fault(mapping.tf_static, str(error), "record the transforms, or give T_base_camera in a mapping file")
    translation, rotation = delta_between(np.asarray(calibration.T_base_optical), T)
    off_m, off_rad = float(np.linalg.norm(translation)), float(np.linalg.norm(rotation))
    if off_m <= _OFF_M and off_rad <= _OFF_RAD:
        return None
    return Fault(
        f"{mapping.tf_static}: {mapping.base_frame} <- {frame}",
        f"{off_m * 1e3:.1f} mm and {np.rad2deg(off_rad):.1f} degrees off the calibration given",
        "give the calibration that was in use, or record again",
    )


def name_of_camera(log: BagLog) -> str:
    """The first intrinsics of a bag's depth camera, short enough for a table; empty without camera_info."""
    if not log.intrinsics:
        return ""
    i = log.intrinsics[0]
    return f"{i.width}x{i.height}, fx {i.fx:.2f}, cx {i.cx:.2f}"
