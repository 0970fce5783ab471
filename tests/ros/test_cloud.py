"""The cloud node, fed by a synthetic camera and placed by calibrated_tf, in processes of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

from clar import bridge, names, qos
from clar_core.observation.builder import build_cloud
from clar_core.observation.spec import ObservationSpec
from clar_interfaces.msg import StageTimings
from tests.ros.processes import NodeProcess, Probe, node_process, wait_for
from tests.ros.scene import INTRINSICS, T_BASE_OPTICAL, Driver, depth_image, write_calibration


@pytest.fixture
def driver(probe: Probe) -> Iterator[Driver]:
    driver = Driver(probe)
    yield driver
    driver.stop()


@pytest.fixture
def cloud_node(tmp_path: Path, driver: Driver) -> Iterator[NodeProcess]:
    write_calibration(tmp_path / "calibration.yaml")
    with (
        node_process("clar.nodes.calibrated_tf", {"calibration": str(tmp_path / "calibration.yaml")}),
        node_process("clar.nodes.cloud", {"diagnostics_period_s": 0.2}) as process,
    ):
        yield process


def message_of(diagnostics: list[DiagnosticArray], name: str) -> DiagnosticStatus | None:
    return next((s for d in reversed(diagnostics) for s in d.status if s.name == name), None)


def await_diagnosis(diagnostics: list[DiagnosticArray], text: str) -> DiagnosticStatus:
    def found() -> DiagnosticStatus | None:
        status = message_of(diagnostics, names.NODE_CLOUD)
        return status if status is not None and text in status.message else None

    status: DiagnosticStatus = wait_for(found, f"{text!r} in the diagnostics of the cloud node")
    return status


def test_clouds_are_the_builders_own_bit_for_bit_under_the_capture_stamp(
    probe: Probe, driver: Driver, cloud_node: NodeProcess
) -> None:
    clouds = probe.collect(PointCloud2, names.TOPIC_CLOUD, qos.SENSOR)
    timings = probe.collect(StageTimings, names.TOPIC_TIMINGS, qos.STATUS)
    specs = probe.collect(String, names.TOPIC_CLOUD_SPEC, qos.LATCHED)
    driver.start()
    wait_for(lambda: len(clouds) >= 5 and specs, "five clouds and their spec")
    spec = ObservationSpec.from_dict(json.loads(specs[0].data))
    assert spec == ObservationSpec()
    seed_of = {stamp: seed for seed, stamp in enumerate(list(driver.published), start=1)}
    for message in clouds[:5]:
        stamp = bridge.stamp_to_ns(message.header.stamp)
        expected = build_cloud(depth_image(seed_of[stamp]), INTRINSICS, T_BASE_OPTICAL, spec)
        assert message.header.frame_id == "fr3_link0"
        np.testing.assert_array_equal(bridge.cloud_to_points(message), expected)
    assert {"deproject", "crop", "downsample", "publish"} <= set(timings[0].stages)
    assert bridge.stamp_to_ns(timings[0].header.stamp) in seed_of


def test_a_frozen_camera_is_held_back_and_named(probe: Probe, driver: Driver, cloud_node: NodeProcess) -> None:
    clouds = probe.collect(PointCloud2, names.TOPIC_CLOUD, qos.SENSOR)
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    driver.start()
    wait_for(lambda: clouds, "a cloud")
    driver.frozen = True
    status = await_diagnosis(diagnostics, "the camera is frozen")
    assert status.level == DiagnosticStatus.ERROR
    count = len(clouds)
    held = len(driver.published)
    wait_for(lambda: len(driver.published) > held + 5, "more frozen images")
    assert len(clouds) == count
    driver.frozen = False
    wait_for(lambda: len(clouds) > count, "clouds after the camera moves on")


def test_an_empty_crop_box_is_held_back_with_its_count(probe: Probe, driver: Driver, cloud_node: NodeProcess) -> None:
    clouds = probe.collect(PointCloud2, names.TOPIC_CLOUD, qos.SENSOR)
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    driver.box = False
    driver.start()
    await_diagnosis(diagnostics, "expected at least 200")
    assert not clouds


def test_without_a_transform_clouds_are_held_back_and_the_frames_named(probe: Probe, driver: Driver) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    with node_process("clar.nodes.cloud", {"diagnostics_period_s": 0.2}):
        driver.start()
        await_diagnosis(diagnostics, f"no transform {names.BASE_FRAME} <- {names.DEPTH_OPTICAL_FRAME}")


def test_a_silent_camera_is_reported_by_its_topic(probe: Probe) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    with node_process("clar.nodes.cloud", {"diagnostics_period_s": 0.2, "silence_s": 0.3}):
        await_diagnosis(diagnostics, f"no depth image on {names.TOPIC_DEPTH_IMAGE}")


def test_a_checkpoint_that_does_not_exist_is_refused_by_path(tmp_path: Path) -> None:
    with node_process("clar.nodes.cloud", {"checkpoint": str(tmp_path / "none")}) as process:
        assert process.wait_for_exit() == 1
        assert f"{tmp_path / 'none'}/config.json: cannot be read" in process.output
