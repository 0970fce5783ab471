"""The sim node: the topics, transforms and stamps of a camera, reset, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy.time
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_ros import Buffer, TransformListener

from clar import bridge, names, qos
from clar_core.simulation.camera import DEPTH_INTRINSICS, T_DEPTH_COLOR, T_LINK_DEPTH
from clar_interfaces.msg import SimState
from clar_interfaces.srv import ResetCell
from tests.ros.processes import NodeProcess, Probe, node_process, wait_for

MODULE = "clar.nodes.sim"


@pytest.fixture(scope="module")
def module_address() -> Iterator[str]:
    from tests.isolation import FCI_ADDRESSES, fci_ports_are_free, lease

    with lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address:
        yield address


@pytest.fixture(scope="module")
def sim(ros_domain: int, module_address: str) -> Iterator[NodeProcess]:
    with node_process(MODULE, {"robot_ip": module_address, "seed": 4, "diagnostics_period_s": 0.2}) as process:
        yield process


def _physics_pid(process: NodeProcess) -> int:
    process.wait_for_output("physics in process")
    found = re.search(r"physics in process (\d+)", process.output)
    assert found is not None
    return int(found.group(1))


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _values(diagnostics: list[DiagnosticArray]) -> dict[str, str]:
    """The newest figures in the node's diagnostics."""
    for message in reversed(diagnostics):
        for status in message.status:
            if status.name == names.NODE_SIM:
                return {value.key: value.value for value in status.values}
    return {}


def test_depth_images_are_raw_millimetres_with_matching_intrinsics_and_stamps(sim: NodeProcess, probe: Probe) -> None:
    images = probe.collect(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR)
    infos = probe.collect(CameraInfo, names.TOPIC_DEPTH_INFO, qos.SENSOR)
    wait_for(lambda: len(images) > 3 and len(infos) > 3, "depth images")
    image, received_ns = images[-1], time.time_ns()
    assert (image.encoding, image.header.frame_id) == ("16UC1", names.DEPTH_OPTICAL_FRAME)
    depth = bridge.image_to_array(image)
    assert depth.shape == (480, 640)
    assert 300 < np.median(depth[depth > 0]) < 2000
    assert bridge.stamp_to_ns(image.header.stamp) <= received_ns
    assert bridge.camera_info_to_intrinsics(infos[-1]) == DEPTH_INTRINSICS
    stamps = {bridge.stamp_to_ns(info.header.stamp) for info in infos}
    assert any(bridge.stamp_to_ns(each.header.stamp) in stamps for each in images)


def test_depth_stamps_advance_with_every_image(sim: NodeProcess, probe: Probe) -> None:
    images = probe.collect(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR)
    wait_for(lambda: len(images) > 10, "depth images")
    stamps = [bridge.stamp_to_ns(image.header.stamp) for image in images]
    assert (np.diff(stamps) > 0).all()


def test_color_comes_as_jpeg_and_raw_only_when_somebody_listens(sim: NodeProcess, probe: Probe) -> None:
    compressed = probe.collect(CompressedImage, names.TOPIC_COLOR_COMPRESSED, qos.SENSOR)
    wait_for(lambda: compressed, "a compressed image")
    picture = cv2.imdecode(np.frombuffer(compressed[-1].data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (480, 640, 3)
    assert "jpeg" in compressed[-1].format
    raw = probe.collect(Image, names.TOPIC_COLOR_IMAGE, qos.SENSOR)
    wait_for(lambda: raw, "a raw image")
    assert (raw[-1].encoding, raw[-1].header.frame_id) == ("rgb8", names.COLOR_OPTICAL_FRAME)


def test_static_transforms_are_those_of_the_camera_driver(sim: NodeProcess, probe: Probe) -> None:
    buffer = Buffer()
    TransformListener(buffer, probe.node)

    def lookup(child: str) -> np.ndarray:
        now = rclpy.time.Time()
        wait_for(lambda: buffer.can_transform(names.CAMERA_FRAME, child, now), f"the transform to {child}")
        return bridge.transform_to_matrix(buffer.lookup_transform(names.CAMERA_FRAME, child, now).transform)

    np.testing.assert_allclose(lookup(names.DEPTH_OPTICAL_FRAME), T_LINK_DEPTH, atol=1e-9)
    np.testing.assert_allclose(lookup(names.COLOR_OPTICAL_FRAME), T_LINK_DEPTH @ T_DEPTH_COLOR, atol=1e-9)


def test_reset_moves_the_objects_and_the_state_says_so(sim: NodeProcess, probe: Probe) -> None:
    states = probe.collect(SimState, names.TOPIC_SIM_STATE, qos.STATE)
    response = probe.call(ResetCell, names.SERVICE_SIM_RESET, ResetCell.Request(seed=99))
    assert response.success, response.message
    wait_for(lambda: states and states[-1].seed == 99, "the state with the new seed")
    state = states[-1]
    assert state.task == "place_cube_in_basin"
    assert not state.success
    assert len(state.qpos) > 9
    assert state.real_time_factor > 0.0


def test_reset_to_another_task_and_back_keeps_the_images_coming(sim: NodeProcess, probe: Probe) -> None:
    images = probe.collect(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR)
    states = probe.collect(SimState, names.TOPIC_SIM_STATE, qos.STATE)
    for task in ("open_drawer", "place_cube_in_basin"):
        response = probe.call(ResetCell, names.SERVICE_SIM_RESET, ResetCell.Request(task=task, seed=1))
        assert response.success, response.message
        seen = len(images)
        wait_for(lambda task=task: states and states[-1].task == task, f"the state of {task}")
        wait_for(lambda seen=seen: len(images) > seen + 3, "images of the new scene")


def test_reset_to_an_unknown_task_is_refused_with_the_nearest_name(sim: NodeProcess, probe: Probe) -> None:
    response = probe.call(ResetCell, names.SERVICE_SIM_RESET, ResetCell.Request(task="open_drawr", seed=1))
    assert not response.success
    assert "did you mean open_drawer" in response.message


def test_diagnostics_report_the_real_time_factor(sim: NodeProcess, probe: Probe) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    wait_for(lambda: "real_time_factor" in _values(diagnostics), "the node's diagnostics")
    assert float(_values(diagnostics)["real_time_factor"]) > 0.0


def test_ctrl_c_ends_node_and_physics(ros_domain: int, fci_address: str) -> None:
    with node_process(MODULE, {"robot_ip": fci_address}) as process:
        pid = _physics_pid(process)
        assert process.interrupt(20.0) == 0, process.output
        assert not _is_running(pid)


def test_simulator_outlives_the_arm_on_ctrl_c(ros_domain: int, fci_address: str, probe: Probe) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    parameters = {"robot_ip": fci_address, "linger_s": 6.0, "seed": 4321, "diagnostics_period_s": 0.2}
    with node_process(MODULE, parameters) as process:
        pid = _physics_pid(process)
        with socket.create_connection((fci_address, 1337)):
            wait_for(
                lambda: (
                    (_values(diagnostics).get("seed"), _values(diagnostics).get("robot_client"))
                    == ("4321", "connected")
                ),
                "the connection in the diagnostics",
            )
            process.process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait_for_exit(1.0)
            assert _is_running(pid)
        assert process.wait_for_exit(20.0) == 0, process.output
        assert not _is_running(pid)


def test_crash_of_the_physics_ends_the_node_with_the_reason(ros_domain: int, fci_address: str) -> None:
    with node_process(MODULE, {"robot_ip": fci_address}) as process:
        pid = _physics_pid(process)
        os.kill(pid, signal.SIGKILL)
        assert process.wait_for_exit() == 1
        assert f"(pid {pid}) has ended with status -9" in process.output


def test_taken_port_ends_the_node_with_the_command_that_finds_its_owner(ros_domain: int, fci_address: str) -> None:
    with socket.create_server((fci_address, 1337)), node_process(MODULE, {"robot_ip": fci_address}) as process:
        assert process.wait_for_exit() == 1
        assert f"port 1337 at {fci_address} is in use" in process.output
        assert "ss -ltnp" in process.output


def test_unknown_task_ends_the_node_with_the_nearest_name(ros_domain: int) -> None:
    with node_process(MODULE, {"task": "open_drawr"}) as process:
        assert process.wait_for_exit() == 1
        assert "did you mean open_drawer" in process.output
