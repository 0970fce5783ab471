"""Finding and configuring a RealSense camera: which one, which profile, its options, filters and geometry. No ROS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyrealsense2 as rs
from numpy.typing import NDArray

from clar_core.geometry.camera import DistortionModel, Intrinsics
from clar_core.geometry.poses import make_pose

PRESETS = ("default", "hand", "high_accuracy", "high_density", "medium_density")
FILTERS = ("decimation", "threshold", "spatial", "temporal", "hole_filling")
"""In the order in which librealsense recommends to apply them."""

_SLOW_USB = ("1", "2")


class CameraError(RuntimeError):
    """The camera cannot be used as asked for; the text says what was expected, what was found and what to do."""


class CameraMissingError(CameraError):
    """The camera is not there, or no longer delivers: it may come back by itself."""


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """Which camera, and how it shall be set.

    Attributes:
        serial: of the camera; empty takes the only one there is.
        width, height, fps: of depth and colour.
        color: whether colour is wanted at all.
        align: depth in the colour image's pixels, too.
        preset: one of ``PRESETS`` for the depth sensor; empty leaves it as it is.
        laser_power_mw: of the infrared projector; 0 switches it off, negative leaves it as it is.
        depth_exposure_us: fixed exposure of the depth sensor; 0 is automatic.
        color_exposure_us: fixed exposure of the colour sensor; 0 is automatic.
        filters: of ``FILTERS``, applied to depth in their recommended order.
        decimation: factor by which the decimation filter makes images smaller.
        threshold_m: nearest and farthest distance that the threshold filter keeps.
        accept_usb2: run on a USB 2 connection all the same.
        recording: file to play instead of a camera.
        frame_timeout_s: without a frame for this long the camera counts as lost.
    """

    serial: str = ""
    width: int = 640
    height: int = 480
    fps: int = 30
    color: bool = True
    align: bool = False
    preset: str = ""
    laser_power_mw: float = -1.0
    depth_exposure_us: float = 0.0
    color_exposure_us: float = 0.0
    filters: tuple[str, ...] = ()
    decimation: int = 2
    threshold_m: tuple[float, float] = (0.15, 4.0)
    accept_usb2: bool = False
    recording: str = ""
    frame_timeout_s: float = 1.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.filters if name not in FILTERS]
        if unknown:
            raise CameraError(f"filters: expected some of {', '.join(FILTERS)}, got {', '.join(unknown)}")
        if self.preset and self.preset not in PRESETS:
            raise CameraError(f"preset: expected one of {', '.join(PRESETS)}, got {self.preset!r}")
        if not 0.0 <= self.threshold_m[0] < self.threshold_m[1]:
            raise CameraError(f"threshold_m: expected 0 <= min < max, got {self.threshold_m}")
        if self.recording and not Path(self.recording).is_file():
            raise CameraError(f"recording: there is no file {self.recording}")


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraDescription:
    """What the device says about itself.

    Attributes:
        name, serial, firmware, usb: as the device reports them; empty where it does not.
        depth: intrinsics of the depth images, after the filters.
        color: intrinsics of the colour images in their true direction of distortion; None without colour.
        T_depth_color: (4, 4) pose of the colour optical frame in the depth optical frame.
        depth_scale_m: metres per unit of the device's depth. Frames are in millimetres all the same.
    """

    name: str
    serial: str
    firmware: str
    usb: str
    depth: Intrinsics
    color: Intrinsics | None
    T_depth_color: NDArray[np.float64]
    depth_scale_m: float


def info(device: Any, field: Any) -> str:
    """One of the device's own fields, empty when it has none."""
    return str(device.get_info(field)) if device.supports(field) else ""


def find_device(context: Any, settings: CameraSettings) -> Any:
    """The camera that the settings mean.

    Raises:
        CameraMissingError: it is not connected.
        CameraError: several are connected and none is named, or it hangs on USB 2.
    """
    devices = list(context.query_devices())
    serials = [info(device, rs.camera_info.serial_number) for device in devices]
    found = ", ".join(f"{info(d, rs.camera_info.name)} {s}" for d, s in zip(devices, serials, strict=True)) or "none"
    if settings.serial:
        chosen = [device for device, serial in zip(devices, serials, strict=True) if serial == settings.serial]
        if not chosen:
            raise CameraMissingError(
                f"camera {settings.serial}: not connected (found: {found}): plug it into a USB 3 port, or correct"
                " camera.serial in the cell file"
            )
    else:
        chosen = devices
        if not devices:
            raise CameraMissingError("no RealSense camera is connected: plug it into a USB 3 port")
        if len(devices) > 1:
            raise CameraError(
                f"{len(devices)} cameras are connected ({found}) and none is named: set camera.serial in the cell file"
            )
    device = chosen[0]
    usb = info(device, rs.camera_info.usb_type_descriptor)
    if usb.startswith(_SLOW_USB) and not settings.accept_usb2:
        raise CameraError(
            f"camera {info(device, rs.camera_info.serial_number)} is on USB {usb}, expected USB 3: use its own cable"
            " and a blue or USB-C port, without a hub; accept_usb2 runs it all the same, at what frame rate it manages"
        )
    return device


def make_config(context: Any, settings: CameraSettings) -> Any:
    """The pipeline's configuration. Raises CameraError when the device does not offer the profile."""
    config = rs.config()
    if settings.recording:
        config.enable_device_from_file(settings.recording, repeat_playback=True)
        config.enable_stream(rs.stream.depth)
        if settings.color:
            config.enable_stream(rs.stream.color)
        return config
    device = find_device(context, settings)
    config.enable_device(info(device, rs.camera_info.serial_number))
    wanted = [(rs.stream.depth, rs.format.z16)] + ([(rs.stream.color, rs.format.rgb8)] if settings.color else [])
    for stream, pixel_format in wanted:
        offered = _offered(device, stream, pixel_format)
        profile = (settings.width, settings.height, settings.fps)
        if profile not in offered:
            listing = ", ".join(f"{w}x{h}x{f}" for w, h, f in offered) or "nothing"
            raise CameraError(
                f"camera profile: {stream.name} does not come as {'x'.join(map(str, profile))}, this device offers"
                f" {listing}: correct camera.width, height and fps in the cell file"
            )
        config.enable_stream(stream, settings.width, settings.height, pixel_format, settings.fps)
    return config


def _offered(device: Any, stream: Any, pixel_format: Any) -> list[tuple[int, int, int]]:
    profiles = (p for sensor in device.query_sensors() for p in sensor.get_stream_profiles())
    video = [p.as_video_stream_profile() for p in profiles if p.stream_type() == stream and p.format() == pixel_format]
    return sorted({(p.width(), p.height(), p.fps()) for p in video})


def apply_options(device: Any, settings: CameraSettings) -> None:
    """Preset, laser, exposures. Raises CameraError for an option that the device lacks or a value out of its range."""
    sensors = {_kind(sensor): sensor for sensor in device.query_sensors()}
    depth, color = sensors.get(rs.stream.depth), sensors.get(rs.stream.color)
    if settings.preset:
        _set(depth, rs.option.visual_preset, float(getattr(rs.rs400_visual_preset, settings.preset)), "preset")
    if settings.laser_power_mw == 0.0:
        _set(depth, rs.option.emitter_enabled, 0.0, "laser_power_mw")
    elif settings.laser_power_mw > 0.0:
        _set(depth, rs.option.emitter_enabled, 1.0, "laser_power_mw")
        _set(depth, rs.option.laser_power, settings.laser_power_mw, "laser_power_mw")
    if settings.depth_exposure_us > 0.0:
        _set(depth, rs.option.enable_auto_exposure, 0.0, "depth_exposure_us")
        _set(depth, rs.option.exposure, settings.depth_exposure_us, "depth_exposure_us")
    if settings.color_exposure_us > 0.0 and color is not None:
        _set(color, rs.option.enable_auto_exposure, 0.0, "color_exposure_us")
        # the colour sensor counts in units of 100 microseconds
        _set(color, rs.option.exposure, settings.color_exposure_us / 100.0, "color_exposure_us")
    for sensor in sensors.values():
        if sensor.supports(rs.option.global_time_enabled):
            sensor.set_option(rs.option.global_time_enabled, 1.0)


def _kind(sensor: Any) -> Any:
    kinds = {profile.stream_type() for profile in sensor.get_stream_profiles()}
    return rs.stream.depth if rs.stream.depth in kinds else next(iter(kinds), None)


def _set(sensor: Any, option: Any, value: float, name: str) -> None:
    if sensor is None or not sensor.supports(option) or sensor.is_option_read_only(option):
        raise CameraError(f"{name}: this camera has no option {option.name} to set: leave {name} at its default")
    limits = sensor.get_option_range(option)
    if not limits.min <= value <= limits.max:
        raise CameraError(f"{name}: {value:g} is out of bounds, this camera admits {limits.min:g} to {limits.max:g}")
    sensor.set_option(option, value)


def make_filters(settings: CameraSettings) -> Callable[[Any], Any]:
    """The depth frame after the filters that the settings name, in the recommended order."""
    chain: list[Any] = []
    for name in sorted(settings.filters, key=FILTERS.index):
        if name == "decimation":
            chain.append(rs.decimation_filter(float(settings.decimation)))
        elif name == "threshold":
            chain.append(rs.threshold_filter(*settings.threshold_m))
        elif name == "spatial":
            chain += [rs.disparity_transform(True), rs.spatial_filter(), rs.disparity_transform(False)]
        elif name == "temporal":
            chain += [rs.disparity_transform(True), rs.temporal_filter(), rs.disparity_transform(False)]
        else:
            chain.append(rs.hole_filling_filter())

    def apply(frame: Any) -> Any:
        for block in chain:
            frame = block.process(frame)
        return frame.as_depth_frame()

    return apply


def describe(device: Any, depth: Any, color: Any | None, depth_scale_m: float) -> CameraDescription:
    """The device's description, of one depth frame after the filters and one colour frame."""
    depth_profile = depth.profile.as_video_stream_profile()
    T_depth_color = np.eye(4)
    if color is not None:
        extrinsics = color.profile.get_extrinsics_to(depth.profile)
        # librealsense writes rotations column by column
        T_depth_color = make_pose(np.array(extrinsics.rotation).reshape(3, 3).T, extrinsics.translation)
    return CameraDescription(
        name=info(device, rs.camera_info.name),
        serial=info(device, rs.camera_info.serial_number),
        firmware=info(device, rs.camera_info.firmware_version),
        usb=info(device, rs.camera_info.usb_type_descriptor),
        depth=to_intrinsics(depth_profile.get_intrinsics()),
        color=None if color is None else to_intrinsics(color.profile.as_video_stream_profile().get_intrinsics()),
        T_depth_color=T_depth_color,
        depth_scale_m=depth_scale_m,
    )


_MODELS: dict[Any, DistortionModel] = {
    rs.distortion.brown_conrady: "brown_conrady",
    rs.distortion.inverse_brown_conrady: "inverse_brown_conrady",
}


def to_intrinsics(intrinsics: Any) -> Intrinsics:
    """Intrinsics of librealsense as ours. Raises CameraError for a distortion model that nobody here can undo."""
    coefficients: Sequence[float] = [float(c) for c in intrinsics.coeffs]
    model = _MODELS.get(intrinsics.model, "none")
    if any(coefficients) and model == "none":
        raise CameraError(f"camera intrinsics: distortion model {intrinsics.model} is not supported: use a D400 camera")
    return Intrinsics(
        width=intrinsics.width,
        height=intrinsics.height,
        fx=intrinsics.fx,
        fy=intrinsics.fy,
        cx=intrinsics.ppx,
        cy=intrinsics.ppy,
        model=model if any(coefficients) else "none",
        coefficients=tuple(coefficients),  # type: ignore[arg-type]
    )
