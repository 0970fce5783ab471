"""The camera node: realsense-ros's topics and frames from the real library, and a camera that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from tf2_ros import Buffer, TransformListener

from clar import bridge, names, qos
from clar_core.geometry.camera import T_BODY_OPTICAL
from clar_core.simulation.camera import COLOR_INTRINSICS, DEPTH_INTRINSICS
from tests.hardware.software_d455 import T_DEPTH_COLOR
from tests.ros.camera_process import TOPIC
from tests.ros.processes import NodeProcess, Probe, node_process, wait_for

SETTINGS = {"diagnostics_period_s": 0.2, "frame_timeout_s": 0.5, "retry_s": 0.1, "restart_after_s": 0.5}


@pytest.fixture(scope="module")
def shared(ros_domain: int) -> Iterator[tuple[Probe, NodeProcess]]:
    probe = Probe()
    with node_process("tests.ros.camera_process", {"align_depth": True, **SETTINGS}) as node:
        yield probe, node
    probe.close()


@pytest.fixture
def probe(shared: tuple[Probe, NodeProcess]) -> Probe:
    return shared[0]


@pytest.fixture
def ask(probe: Probe) -> Iterator[Callable[[str], None]]:
    publisher = probe.node.create_publisher(String, TOPIC, qos.LATCHED)
    wait_for(publisher.get_subscription_count, "the camera node")
    yield lambda request: publisher.publish(String(data=request))
    publisher.publish(String(data="thaw"))


def diagnosis(messages: list[DiagnosticArray]) -> DiagnosticStatus | None:
    own = [s for message in list(messages) for s in message.status if s.name == names.NODE_CAMERA]
    return own[-1] if own else None


def await_diagnosis(messages: list[DiagnosticArray], text: str) -> DiagnosticStatus:
    wait_for(lambda: (s := diagnosis(messages)) and text in s.message, f"{text!r}, now {diagnosis(messages)}")
    status = diagnosis(messages)
    assert status is not None
    return status


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {entry.key: entry.value for entry in status.values}


def test_images_and_intrinsics_come_under_the_official_drivers_names(probe: Probe) -> None:
    def collect(kind: type, topic: str) -> list[Any]:
        return probe.collect(kind, topic, qos.SENSOR)

    depths, infos = collect(Image, names.TOPIC_DEPTH_IMAGE), collect(CameraInfo, names.TOPIC_DEPTH_INFO)
    jpegs, color_infos = (
        collect(CompressedImage, names.TOPIC_COLOR_COMPRESSED),
        collect(CameraInfo, names.TOPIC_COLOR_INFO),
    )
    colors, aligned = collect(Image, names.TOPIC_COLOR_IMAGE), collect(Image, names.TOPIC_ALIGNED_IMAGE)
    everything = (depths, infos, jpegs, color_infos, colors, aligned)
    wait_for(lambda: all(len(messages) >= 3 for messages in everything), "three of every message")
    depth = depths[-1]
    assert (depth.encoding, depth.header.frame_id) == ("16UC1", names.DEPTH_OPTICAL_FRAME)
    assert 690 <= np.median(bridge.image_to_array(depth)) <= 710
    assert {bridge.stamp_to_ns(m.header.stamp) for m in depths} & {bridge.stamp_to_ns(m.header.stamp) for m in infos}
    assert bridge.camera_info_to_intrinsics(infos[-1]).fx == pytest.approx(DEPTH_INTRINSICS.fx)
    assert not any(infos[-1].d)
    assert color_infos[-1].distortion_model == "plumb_bob", "as the official driver labels it"
    assert list(color_infos[-1].d) == pytest.approx(COLOR_INTRINSICS.coefficients)
    assert colors[-1].header.frame_id == aligned[-1].header.frame_id == names.COLOR_OPTICAL_FRAME
    assert cv2.imdecode(np.frombuffer(jpegs[-1].data, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)


def test_the_frames_are_rep_103s_with_the_devices_own_extrinsics(probe: Probe) -> None:
    buffer = Buffer(node=probe.node)
    listener = TransformListener(buffer, probe.node)

    def lookup(child: str) -> np.ndarray:
        from rclpy.time import Time

        wait_for(lambda: buffer.can_transform(names.CAMERA_FRAME, child, Time()), child)
        return bridge.transform_to_matrix(buffer.lookup_transform(names.CAMERA_FRAME, child, Time()).transform)

    np.testing.assert_allclose(lookup(names.DEPTH_OPTICAL_FRAME), T_BODY_OPTICAL, atol=1e-9)
    np.testing.assert_allclose(lookup(names.COLOR_OPTICAL_FRAME), T_BODY_OPTICAL @ T_DEPTH_COLOR, atol=1e-6)
    listener.unregister()


def test_an_unplugged_camera_is_named_waited_for_and_comes_back(probe: Probe, ask: Callable[[str], None]) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    images = probe.collect(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR)
    assert values(await_diagnosis(diagnostics, "streaming"))["serial"] == "000000000455"
    ask("unplug")
    status = await_diagnosis(diagnostics, "no RealSense camera is connected")
    assert status.level == DiagnosticStatus.ERROR
    count = len(images)
    ask("plug")
    wait_for(lambda: len(images) > count + 5, "images after plugging in")
    assert int(values(await_diagnosis(diagnostics, "streaming"))["restarts"]) >= 1


def test_a_frozen_camera_is_held_back_and_connected_again(probe: Probe, ask: Callable[[str], None]) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    images = probe.collect(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR)
    wait_for(lambda: images, "an image")
    ask("freeze")
    await_diagnosis(diagnostics, "the camera is frozen for")
    count, restarts = len(images), int(values(await_diagnosis(diagnostics, "frozen"))["restarts"])
    wait_for(lambda: int(values(await_diagnosis(diagnostics, "frozen"))["restarts"]) > restarts, "another attempt")
    assert len(images) == count, "a frozen image passes on no new connection either"
    ask("thaw")
    await_diagnosis(diagnostics, "streaming")


def test_a_camera_that_is_not_there_is_waited_for_at_the_start(probe: Probe) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    with node_process("clar.nodes.camera", SETTINGS):
        await_diagnosis(diagnostics, "waiting for the camera's first image: no RealSense camera is connected")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"filters": ["sharpen"]}, "filters: expected some of decimation"),
        ({"recording": "/nowhere.db3"}, "there is no file /nowhere.db3"),
        ({"preset": "best"}, "preset: expected one of keep, default"),
        ({"cell": "/nowhere/cell.yaml"}, "clar cell init /nowhere/cell.yaml"),
        ({"frame_timeout_s": 100.0}, "frame_timeout_s: 100.0 is out of bounds"),
    ],
)
def test_it_refuses_to_start_by_name(parameters: dict[str, object], text: str, ros_domain: int) -> None:
    with node_process("clar.nodes.camera", parameters) as node:
        assert node.wait_for_exit() != 0
        assert text in node.output
