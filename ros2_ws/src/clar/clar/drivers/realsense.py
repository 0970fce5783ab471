"""A RealSense D455 through pyrealsense2, as one small class. No ROS: it works from a notebook too.

    with RealSenseCamera(CameraSettings(serial="234322071234")) as camera:
        frame = camera.read()
        print(frame.depth.shape, camera.description.depth)

It is one connection, without threads: when the camera is lost, make a new one (``camera_stream`` does so by itself).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import pyrealsense2 as rs
from numpy.typing import NDArray

from clar.drivers.realsense_device import (
    CameraDescription,
    CameraError,
    CameraMissingError,
    CameraSettings,
    apply_options,
    describe,
    make_config,
    make_filters,
)
from clar.drivers.watched import watched
from clar_core.control.robot import RobotError
from clar_core.observation.device_time import HARDWARE_CLOCK, DeviceClock, DeviceTimeError

__all__ = ["CameraError", "CameraMissingError", "CameraSettings", "Frame", "RealSenseCamera"]

_START_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 3.0
_FIRST_FRAMES = 100
_MILLIMETRE_M = 0.001


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of the camera. The arrays are the caller's.

    Attributes:
        depth: (h, w) uint16, millimetres along the optical axis; 0 is no reading.
        color: (h, w, 3) uint8 RGB, or None when none belongs to this depth image.
        aligned_depth: (h, w) uint16 millimetres in the pixels of ``color``, when asked for.
        stamp_ns: wall time at which the depth image was taken.
        color_stamp_ns: the same of the colour image.
        number: the device's count of depth images.
        lost: depth images between this frame and the one before that never came.
        domain: time domain of the device's stamps.
    """

    depth: NDArray[np.uint16]
    color: NDArray[np.uint8] | None
    aligned_depth: NDArray[np.uint16] | None
    stamp_ns: int
    color_stamp_ns: int
    number: int
    lost: int
    domain: str


class RealSenseCamera:
    """One connection to one camera, streaming from when it is made. All calls from one thread."""

    def __init__(self, settings: CameraSettings, make_context: Callable[[], Any] = rs.context) -> None:
        """Find the camera, set it, start it and wait for its first frame.

        Args:
            settings: which camera, and how it shall be set.
            make_context: makes the ``rs.context`` to look for it in.

        Raises:
            CameraMissingError: it is not connected, or delivers nothing.
            CameraError: it cannot be used as asked for.
        """
        self.settings = settings
        self._clock = DeviceClock()
        self._filter = make_filters(settings)
        self._align = rs.align(rs.stream.color) if settings.align and settings.color else None
        self._number: int | None = None
        self._context = make_context()
        self._pipeline = rs.pipeline(self._context)
        try:
            config = make_config(self._context, settings)
            profile = _watched(lambda: self._pipeline.start(config), _START_TIMEOUT_S, "starting the camera")
        except RuntimeError as error:
            if isinstance(error, CameraError):
                raise
            step = "is the file whole?" if settings.recording else "unplug it and plug it in again"
            raise CameraMissingError(f"the camera does not start ({error}): {step}") from error
        try:
            self._device = profile.get_device()
            if not settings.recording:
                apply_options(self._device, settings)
            self._depth_scale_m = float(self._device.first_depth_sensor().get_depth_scale())
            self._to_millimetres = self._depth_scale_m / _MILLIMETRE_M
            self.description = self._first_description()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RealSenseCamera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> Frame:
        """The next frame; waits for it.

        Raises:
            CameraMissingError: none came in time.
            DeviceTimeError: its stamp cannot be believed; the next frame may be read.
        """
        while True:
            frames = self._wait()
            depth, color = frames.get_depth_frame(), frames.get_color_frame()
            if depth:
                break
        arrival_ns = time.time_ns()
        number = int(depth.frame_number)
        lost = 0 if self._number is None else max(0, number - self._number - 1)
        self._number = number
        domain = HARDWARE_CLOCK if self.settings.recording else depth.get_frame_timestamp_domain().name
        stamp_ns = self._clock.wall_ns(depth.get_timestamp(), domain, arrival_ns)
        aligned = None
        if self._align is not None and color:
            aligned = self._pixels_mm(self._align.process(frames).get_depth_frame())
        return Frame(
            depth=self._pixels_mm(self._filter(depth)),
            color=np.array(color.get_data()) if color else None,
            aligned_depth=aligned,
            stamp_ns=stamp_ns,
            color_stamp_ns=stamp_ns + round((color.get_timestamp() - depth.get_timestamp()) * 1e6) if color else 0,
            number=number,
            lost=lost,
            domain=domain,
        )

    def reset_hardware(self) -> None:
        """Restart the device as if it had been unplugged; it is gone for some seconds. Nothing where it cannot."""
        with suppress(RuntimeError):
            _watched(self._device.hardware_reset, _STOP_TIMEOUT_S, "resetting the camera")

    def close(self) -> None:
        """Stop streaming. Never raises."""
        with suppress(RuntimeError):
            _watched(self._pipeline.stop, _STOP_TIMEOUT_S, "stopping the camera")

    def _wait(self) -> Any:
        try:
            return self._pipeline.wait_for_frames(round(self.settings.frame_timeout_s * 1e3))
        except RuntimeError as error:
            raise CameraMissingError(
                f"no frame came from the camera for {self.settings.frame_timeout_s:g} s: is it plugged in? ({error})"
            ) from error

    def _first_description(self) -> CameraDescription:
        """The description from the first complete frames: the syncer's first ones are partial."""
        for _ in range(_FIRST_FRAMES):
            frames = self._wait()
            depth, color = frames.get_depth_frame(), frames.get_color_frame()
            if depth and (color or not self.settings.color):
                return describe(self._device, self._filter(depth), color or None, self._depth_scale_m)
        missing = "colour" if self.settings.color else "depth"
        raise CameraMissingError(f"the camera sends no {missing} images: unplug it and plug it in again")

    def _pixels_mm(self, depth: Any) -> NDArray[np.uint16]:
        pixels = np.array(depth.get_data(), dtype=np.uint16)
        if abs(self._to_millimetres - 1.0) < 1e-3:
            return pixels
        return np.minimum(pixels * self._to_millimetres + 0.5, 65535.0).astype(np.uint16)


def _watched(call: Callable[[], Any], timeout_s: float, what: str) -> Any:
    try:
        return watched(call, timeout_s, what, "unplug it and plug it in again")
    except RobotError as error:
        raise CameraMissingError(str(error)) from error


# What a reader of this module may meet while reading.
READ_ERRORS = (CameraError, DeviceTimeError)
