"""A D455 without hardware: librealsense's own software device with the geometry of a real one, fed by the test.

Everything behind the USB cable is the real library: pipeline, syncer, filters, align, recorder. ``Bus`` is what is
plugged in; its ``make_context`` is what the driver under test is given.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyrealsense2 as rs
from numpy.typing import NDArray

from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import inverse, make_pose, rotation_vector_to_matrix
from clar_core.simulation.camera import COLOR_INTRINSICS, DEPTH_INTRINSICS

T_DEPTH_COLOR = make_pose(rotation_vector_to_matrix([0.003, -0.002, 0.004]), [0.059, 0.0004, -0.0002])
"""Slightly turned, as every real one is: a transposed rotation would show."""

_MODELS = {"none": rs.distortion.brown_conrady, "inverse_brown_conrady": rs.distortion.inverse_brown_conrady}
_OPTIONS = (
    (rs.option.visual_preset, 0, 6, 1, 0),
    (rs.option.emitter_enabled, 0, 2, 1, 1),
    (rs.option.laser_power, 0, 360, 30, 150),
    (rs.option.enable_auto_exposure, 0, 1, 1, 1),
    (rs.option.exposure, 1, 200000, 1, 8500),
)


class SoftwareD455:
    """The device: what it is, and its two sensors that take frames."""

    def __init__(
        self, serial: str = "000000000455", usb: str = "3.2", firmware: str = "5.16.0.1", depth_scale_m: float = 0.001
    ) -> None:
        self.serial = serial
        self.device = rs.software_device()
        for field, value in (
            (rs.camera_info.name, "Intel RealSense D455"),
            (rs.camera_info.serial_number, serial),
            (rs.camera_info.product_line, "D400"),
            (rs.camera_info.firmware_version, firmware),
            (rs.camera_info.usb_type_descriptor, usb),
            (rs.camera_info.physical_port, f"software-{serial}"),
            (rs.camera_info.product_id, "0B5C"),
        ):
            # some are there from the beginning
            (self.device.update_info if self.device.supports(field) else self.device.register_info)(field, value)
        self.depth_sensor = self.device.add_sensor("Stereo Module")
        self.color_sensor = self.device.add_sensor("RGB Camera")
        self._depth_profile = self._add_stream(self.depth_sensor, rs.stream.depth, rs.format.z16, 2, DEPTH_INTRINSICS)
        self._color_profile = self._add_stream(self.color_sensor, rs.stream.color, rs.format.rgb8, 3, COLOR_INTRINSICS)
        self.depth_sensor.add_read_only_option(rs.option.depth_units, depth_scale_m)
        self.depth_sensor.add_read_only_option(rs.option.stereo_baseline, 95.0)
        for option, low, high, step, default in _OPTIONS:
            limits = rs.option_range()
            limits.min, limits.max, limits.step, limits.default = low, high, step, default
            self.depth_sensor.add_option(option, limits, True)
        T_color_depth = inverse(T_DEPTH_COLOR)
        extrinsics = rs.extrinsics()
        extrinsics.rotation = T_color_depth[:3, :3].T.ravel().tolist()
        extrinsics.translation = T_color_depth[:3, 3].tolist()
        self._depth_profile.register_extrinsics_to(self._color_profile, extrinsics)
        self.device.create_matcher(rs.matchers.dlr_c)
        self._depth_scale_m = depth_scale_m

    def depth(self, pixels: NDArray[np.uint16], number: int, stamp_ms: float, domain: Any) -> None:
        """One depth image (480, 640) in the device's units."""
        assert pixels.dtype == np.uint16
        frame = self._frame(pixels, 2, number, stamp_ms, domain, self._depth_profile)
        frame.depth_units = self._depth_scale_m
        self.depth_sensor.on_video_frame(frame)

    def color(self, pixels: NDArray[np.uint8], number: int, stamp_ms: float, domain: Any) -> None:
        """One colour image (480, 640, 3), RGB."""
        assert pixels.dtype == np.uint8
        self.color_sensor.on_video_frame(self._frame(pixels, 3, number, stamp_ms, domain, self._color_profile))

    def _frame(self, pixels: Any, size: int, number: int, stamp_ms: float, domain: Any, profile: Any) -> Any:
        assert pixels.flags.c_contiguous  # the library copies the memory without looking
        frame = rs.software_video_frame()
        frame.pixels, frame.bpp, frame.stride = pixels, size, pixels.shape[1] * size
        frame.timestamp, frame.domain, frame.frame_number = stamp_ms, domain, number
        frame.profile = profile.as_video_stream_profile()
        return frame

    @staticmethod
    def _add_stream(sensor: Any, kind: Any, pixel_format: Any, size: int, geometry: Intrinsics) -> Any:
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = geometry.width, geometry.height
        intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy = (
            geometry.fx,
            geometry.fy,
            geometry.cx,
            geometry.cy,
        )
        intrinsics.model, intrinsics.coeffs = _MODELS[geometry.model], list(geometry.coefficients)
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid = kind, 0, int(kind)
        stream.width, stream.height, stream.fps = geometry.width, geometry.height, 30
        stream.bpp, stream.fmt, stream.intrinsics = size, pixel_format, intrinsics
        return sensor.add_video_stream(stream, True)


class Bus:
    """What is plugged in. Contexts that were made before keep what they saw, as the library does."""

    def __init__(self, *cameras: SoftwareD455) -> None:
        self.cameras = list(cameras)
        self._kept: list[Any] = []

    def make_context(self) -> Any:
        """A context that sees the cameras of this moment."""
        context = rs.context()
        # Without somebody who keeps the device information, the context forgets software devices at once.
        context.set_devices_changed_callback(lambda change: self._kept.append(change.get_new_devices()))
        for camera in self.cameras:
            camera.device.add_to(context)
        end_s = time.monotonic() + 10.0
        while len(context.query_devices()) < len(self.cameras):
            assert time.monotonic() < end_s, "the context does not see the software devices"
            time.sleep(0.005)
        return context


def noise_images(count: int = 4) -> list[tuple[NDArray[np.uint16], NDArray[np.uint8]]]:
    """Pairs of depth (about 0.7 m) and colour images, no two alike."""
    random = np.random.default_rng(0)
    return [
        (
            random.integers(690, 710, (480, 640), dtype=np.uint16),
            random.integers(0, 256, (480, 640, 3), dtype=np.uint8),
        )
        for _ in range(count)
    ]


class Feeder:
    """A thread that feeds a camera at its frame rate.

    Attributes:
        frozen: feed the same image under new stamps.
        silent: feed nothing.
        stamp_ms: the device's clock; wall time by default.
        images: pairs of depth and colour that are fed in turn.
        fed: frames fed so far.
    """

    def __init__(
        self,
        camera: SoftwareD455,
        *,
        rate_hz: float = 30.0,
        domain: Any = rs.timestamp_domain.global_time,
        images: list[tuple[NDArray[np.uint16], NDArray[np.uint8]]] | None = None,
    ) -> None:
        self.camera, self.domain = camera, domain
        self.frozen = self.silent = False
        self.stamp_ms: Callable[[], float] = lambda: time.time() * 1e3
        self.fed = 0
        self.skip = 0
        self._rate_hz = rate_hz
        self.images = images or noise_images()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(5.0)

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _feed(self) -> None:
        due_s, number, image = time.monotonic(), 0, 0
        while not self._ending.is_set():
            number += 1 + self.skip
            self.skip = 0
            image = image if self.frozen else (image + 1) % len(self.images)
            if not self.silent:
                depth, color = self.images[image % len(self.images)]
                stamp_ms = self.stamp_ms()
                self.camera.depth(depth, number, stamp_ms, self.domain)
                self.camera.color(color, number, stamp_ms, self.domain)
                self.fed += 1
            due_s = max(due_s + 1.0 / self._rate_hz, time.monotonic() - 0.1)
            self._ending.wait(max(0.0, due_s - time.monotonic()))
