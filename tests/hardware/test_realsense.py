"""The camera's driver through librealsense's pipeline, on a software D455."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyrealsense2 as rs
import pytest

from clar.drivers.realsense import Frame, RealSenseCamera
from clar.drivers.realsense_device import CameraError, CameraMissingError, CameraSettings
from clar_core.geometry.camera import deproject
from clar_core.observation.device_time import HARDWARE_CLOCK, DeviceTimeError
from clar_core.simulation.camera import COLOR_INTRINSICS, DEPTH_INTRINSICS
from tests.hardware.software_d455 import T_DEPTH_COLOR, Bus, Feeder, SoftwareD455, noise_images

IMAGES = noise_images()


@pytest.fixture
def device() -> SoftwareD455:
    return SoftwareD455()


@pytest.fixture
def feeder(device: SoftwareD455) -> Iterator[Feeder]:
    with Feeder(device, images=IMAGES) as feeder:
        yield feeder


def open_camera(device: SoftwareD455, **settings: object) -> RealSenseCamera:
    return RealSenseCamera(CameraSettings(**settings), Bus(device).make_context)  # type: ignore[arg-type]


def is_fed(frame: Frame) -> bool:
    return any(np.array_equal(frame.depth, depth) for depth, _ in IMAGES)


def test_frames_come_unchanged_with_the_time_of_their_capture(device: SoftwareD455, feeder: Feeder) -> None:
    with open_camera(device) as camera:
        frames = [camera.read() for _ in range(10)]
    assert all(is_fed(frame) for frame in frames)
    for frame in frames:
        assert frame.color is not None
        assert any(np.array_equal(frame.color, color) for _, color in IMAGES)
        assert frame.color_stamp_ns == pytest.approx(frame.stamp_ns, abs=1e6)
        assert 0 <= time.time_ns() - frame.stamp_ns < 5e9
    steps_ns = np.diff([frame.stamp_ns for frame in frames])
    assert (steps_ns > 0).all()


def test_the_description_is_the_devices_own_with_the_direction_of_distortion(
    device: SoftwareD455, feeder: Feeder
) -> None:
    with open_camera(device) as camera:
        description = camera.description
    assert (description.serial, description.usb, description.firmware) == (device.serial, "3.2", "5.16.0.1")
    assert description.depth.model == "none"
    assert description.depth.fx == pytest.approx(DEPTH_INTRINSICS.fx)
    assert description.color is not None
    assert description.color.model == "inverse_brown_conrady"
    assert description.color.coefficients == pytest.approx(COLOR_INTRINSICS.coefficients)
    np.testing.assert_allclose(description.T_depth_color, T_DEPTH_COLOR, atol=1e-6)


def test_our_deprojection_is_librealsenses_point_cloud(device: SoftwareD455, feeder: Feeder) -> None:
    with open_camera(device) as camera:
        frame = camera.read()
        points = deproject(frame.depth, camera.description.depth, depth_min_m=0.1, depth_max_m=5.0)
        pipeline_frame = camera._wait().get_depth_frame()
        theirs = np.array(rs.pointcloud().calculate(pipeline_frame).get_vertices()).view(np.float32).reshape(-1, 3)
        ours = deproject(np.array(pipeline_frame.get_data()), camera.description.depth, depth_min_m=0.1, depth_max_m=5)
    assert points.shape == ours.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_lost_frames_are_counted(device: SoftwareD455, feeder: Feeder) -> None:
    with open_camera(device) as camera:
        first = camera.read()
        feeder.skip = 3
        lost, number = 0, first.number
        while lost < 3:
            frame = camera.read()
            assert frame.lost == frame.number - number - 1
            lost, number = lost + frame.lost, frame.number


def test_options_and_filters_are_applied_and_decimation_changes_the_intrinsics(
    device: SoftwareD455, feeder: Feeder
) -> None:
    filters = ("temporal", "decimation", "threshold", "spatial", "hole_filling")
    with open_camera(
        device, preset="high_accuracy", laser_power_mw=180.0, depth_exposure_us=6000.0, filters=filters, align=True
    ) as camera:
        frame = camera.read()
        sensor = camera._device.first_depth_sensor()
        assert sensor.get_option(rs.option.visual_preset) == float(rs.rs400_visual_preset.high_accuracy)
        assert sensor.get_option(rs.option.laser_power) == 180.0
        assert sensor.get_option(rs.option.exposure) == 6000.0
        assert sensor.get_option(rs.option.enable_auto_exposure) == 0.0
    assert frame.depth.shape == (240, 320)
    assert camera.description.depth.width == 320
    assert camera.description.depth.fx == pytest.approx(DEPTH_INTRINSICS.fx / 2, rel=1e-3)
    assert frame.aligned_depth is not None
    assert frame.aligned_depth.shape == (480, 640)
    assert 0.68 < np.median(frame.aligned_depth[frame.aligned_depth > 0]) * 1e-3 < 0.72


def test_other_depth_units_become_millimetres() -> None:
    device = SoftwareD455(depth_scale_m=0.0001)
    images = [(depth * np.uint16(10), color) for depth, color in IMAGES]
    with Feeder(device, images=images), open_camera(device) as camera:
        assert camera.description.depth_scale_m == pytest.approx(0.0001)
        assert is_fed(camera.read())


def test_a_clock_of_the_device_alone_is_anchored(device: SoftwareD455) -> None:
    start_s = time.monotonic()
    with Feeder(device, domain=rs.timestamp_domain.hardware_clock) as feeder:
        feeder.stamp_ms = lambda: (time.monotonic() - start_s) * 1e3 + 17.0
        with open_camera(device) as camera:
            frames = [camera.read() for _ in range(5)]
    assert {frame.domain for frame in frames} == {HARDWARE_CLOCK}
    assert all(0 <= time.time_ns() - frame.stamp_ns < 5e9 for frame in frames)


def test_a_silent_camera_is_missing_and_comes_back_on_a_new_connection(device: SoftwareD455, feeder: Feeder) -> None:
    with open_camera(device, frame_timeout_s=0.2) as camera:
        camera.read()
        feeder.silent = True
        with pytest.raises(CameraMissingError, match=r"no frame came from the camera for 0.2 s"):  # noqa: PT012
            while True:
                camera.read()
    feeder.silent = False
    with open_camera(device) as camera:
        assert camera.read().number > 0


def test_two_cameras_need_a_serial_number_and_one_given_is_taken(feeder: Feeder, device: SoftwareD455) -> None:
    bus = Bus(device, SoftwareD455("000000000456"))
    with pytest.raises(CameraError, match=r"2 cameras .*000000000455.*000000000456|2 cameras .*456.*455") as error:
        RealSenseCamera(CameraSettings(), bus.make_context)
    assert "camera.serial" in str(error.value)
    with RealSenseCamera(CameraSettings(serial=device.serial), bus.make_context) as camera:
        assert camera.description.serial == device.serial


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"serial": "999"}, r"camera 999: not connected \(found: Intel RealSense D455 000000000455\)"),
        ({"width": 848}, r"does not come as 848x480x30, this device offers 640x480x30"),
        ({"laser_power_mw": 999.0}, r"laser_power_mw: 999 is out of bounds, this camera admits 0 to 360"),
        ({"color_exposure_us": 100.0}, "color_exposure_us: this camera has no option"),
        ({"filters": ("sharpen",)}, "filters: expected some of decimation"),
        ({"preset": "best"}, "preset: expected one of default"),
        ({"threshold_m": (2.0, 1.0)}, "threshold_m: expected 0 <= min < max"),
        ({"recording": "/nowhere.db3"}, "there is no file /nowhere.db3"),
    ],
)
def test_impossible_settings_are_refused_by_name(
    device: SoftwareD455, feeder: Feeder, settings: dict[str, object], text: str
) -> None:
    with pytest.raises(CameraError, match=text):
        open_camera(device, **settings)


def test_usb_2_is_refused_unless_accepted() -> None:
    device = SoftwareD455(usb="2.1")
    with Feeder(device):
        with pytest.raises(CameraError, match=r"USB 2\.1, expected USB 3"):
            open_camera(device)
        with open_camera(device, accept_usb2=True) as camera:
            assert camera.read().number > 0


def test_no_camera_is_named(device: SoftwareD455) -> None:
    with pytest.raises(CameraMissingError, match="no RealSense camera is connected"):
        RealSenseCamera(CameraSettings(), Bus().make_context)


def test_a_recording_plays_every_image_again_and_again(device: SoftwareD455, feeder: Feeder, tmp_path: Path) -> None:
    path = tmp_path / "recording.db3"
    record(device, path, 20)
    with RealSenseCamera(CameraSettings(recording=str(path))) as camera:
        assert camera.description.serial == device.serial
        np.testing.assert_allclose(camera.description.T_depth_color, T_DEPTH_COLOR, atol=1e-6)
        frame = camera.read()
        assert is_fed(frame)
        assert abs(time.time_ns() - frame.stamp_ns) < 5e9, "replayed images are stamped with the time of the replay"


def record(device: SoftwareD455, path: Path, frames: int) -> None:
    """Record so many framesets of the fed device, as realsense-viewer does."""
    config = rs.config()
    config.enable_device(device.serial)
    config.enable_stream(rs.stream.depth, 640, 480, rs.format.z16, 30)
    config.enable_stream(rs.stream.color, 640, 480, rs.format.rgb8, 30)
    config.enable_record_to_file(str(path))
    context = Bus(device).make_context()
    pipeline = rs.pipeline(context)
    pipeline.start(config)
    for _ in range(frames):
        pipeline.wait_for_frames(5000)
    pipeline.stop()


def test_a_recording_that_ends_begins_again(device: SoftwareD455, feeder: Feeder, tmp_path: Path) -> None:
    path = tmp_path / "short.db3"
    record(device, path, 6)
    with RealSenseCamera(CameraSettings(recording=str(path))) as camera:
        numbers: list[int] = []
        end_s = time.monotonic() + 30.0
        while len(numbers) < 12:
            assert time.monotonic() < end_s
            try:
                numbers.append(camera.read().number)
            except DeviceTimeError:  # the jump back to the beginning
                continue
    assert (np.diff(numbers) < 0).any()
