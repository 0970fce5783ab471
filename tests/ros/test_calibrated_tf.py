"""calibrated_tf puts the camera into the robot's tree, and refuses what would put it in the wrong place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rclpy.time
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import String
from tf2_ros import Buffer, StaticTransformBroadcaster, TransformException, TransformListener

from clar import bridge, names, qos
from clar_core.geometry.poses import make_pose
from tests.ros.processes import Probe, node_process, wait_for
from tests.ros.scene import T_BASE_OPTICAL, T_LINK_OPTICAL, Driver, write_calibration

MODULE = "clar.nodes.calibrated_tf"


def test_the_optical_frame_is_where_the_calibration_says_under_one_parent(probe: Probe, tmp_path: Path) -> None:
    result = write_calibration(tmp_path / "c.yaml")
    hashes = probe.collect(String, names.TOPIC_CALIBRATION, qos.LATCHED)
    buffer = Buffer(node=probe.node)
    listener = TransformListener(buffer, probe.node)
    with node_process(MODULE, {"calibration": str(tmp_path / "c.yaml")}) as process:
        Driver(probe)

        def found() -> TransformStamped | None:
            try:
                return buffer.lookup_transform(names.BASE_FRAME, names.DEPTH_OPTICAL_FRAME, rclpy.time.Time())
            except TransformException:
                return None

        transform = wait_for(found, "base -> optical")
        np.testing.assert_allclose(bridge.transform_to_matrix(transform.transform), T_BASE_OPTICAL, atol=1e-9)
        assert buffer.can_transform(names.BASE_FRAME, names.CAMERA_FRAME, rclpy.time.Time())
        wait_for(lambda: hashes, "the hash of the calibration")
        assert hashes[0].data == result.hash
        assert process.interrupt() == 0
    listener.unregister()


def test_a_driver_that_differs_from_the_calibrations_is_refused_with_the_difference(
    probe: Probe, tmp_path: Path
) -> None:
    write_calibration(tmp_path / "c.yaml")
    with node_process(MODULE, {"calibration": str(tmp_path / "c.yaml")}) as process:
        Driver(probe, T_link_optical=T_LINK_OPTICAL @ make_pose(None, (0.005, 0.0, 0.0)))
        assert process.wait_for_exit() == 1
        assert "differs from the one in" in process.output
        assert "5.00 mm and 0.00 degrees" in process.output


def test_a_camera_that_somebody_else_places_is_refused(probe: Probe, tmp_path: Path) -> None:
    write_calibration(tmp_path / "c.yaml")
    other = StaticTransformBroadcaster(probe.node)
    transform = TransformStamped(child_frame_id=names.CAMERA_FRAME)
    transform.header.frame_id = names.BASE_FRAME
    with node_process(MODULE, {"calibration": str(tmp_path / "c.yaml")}) as process:
        other.sendTransform(transform)
        Driver(probe)
        assert process.wait_for_exit() == 1
        assert "a frame must have one parent" in process.output


def test_an_old_calibration_is_refused_and_an_override_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    write_calibration(path, date=datetime(2020, 1, 1, tzinfo=UTC))
    with node_process(MODULE, {"calibration": str(path)}) as process:
        assert process.wait_for_exit() == 1
        assert "days old, expected at most 30" in process.output
    with node_process(MODULE, {"calibration": str(path), "accept_old": True}) as process:
        process.wait_for_output("accepted by override")
        assert process.interrupt() == 0


def test_a_missing_calibration_says_how_to_get_one(tmp_path: Path) -> None:
    with node_process(MODULE, {"calibration": str(tmp_path / "none.yaml")}) as process:
        assert process.wait_for_exit() == 1
        assert "ros2 launch clar calibrate.launch.py" in process.output


def test_a_poor_calibration_is_refused_with_its_shortcomings_and_an_override_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    write_calibration(path, quality={"at_work_mm": 9.0, "advice": ["turn the hand"]})
    with node_process(MODULE, {"calibration": str(path)}) as process:
        assert process.wait_for_exit() == 1
        assert "the calibration is poor: error in the working area (95 %) 9 mm, expected at most 3 mm" in process.output
        assert "It advised: turn the hand" in process.output
    with node_process(MODULE, {"calibration": str(path), "accept_poor": True}) as process:
        process.wait_for_output("accepted by override: the calibration is poor")


def test_a_camera_on_the_hand_hangs_under_the_tcp(probe: Probe, tmp_path: Path) -> None:
    write_calibration(tmp_path / "c.yaml", set_up="eye_in_hand", base_frame=names.TCP_FRAME)
    buffer = Buffer(node=probe.node)
    listener = TransformListener(buffer, probe.node)
    with node_process(MODULE, {"calibration": str(tmp_path / "c.yaml")}):
        Driver(probe)
        wait_for(
            lambda: buffer.can_transform(names.TCP_FRAME, names.DEPTH_OPTICAL_FRAME, rclpy.time.Time()),
            "TCP -> optical",
        )
    listener.unregister()
