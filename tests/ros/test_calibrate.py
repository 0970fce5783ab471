"""The calibration through the real nodes: what a launch refuses, and the gate that a moved camera closes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from clar import bridge, names, qos
from clar_calibration import save_calibration
from clar_calibration.arm_shape import ArmShape
from clar_calibration.reference import arm_mask, make_scene, save_scene
from clar_calibration.rendered import RenderedCell
from clar_calibration.simulated import simulated_calibration
from clar_core.simulation.camera import COLOR_INTRINSICS, DEPTH_INTRINSICS, T_BASE_DEPTH, T_DEPTH_COLOR
from clar_core.simulation.scene import HAND_MAX_WIDTH_M, HOME_JOINT_POSITIONS_RAD
from tests.ros.processes import Probe, node_process, wait_for

SIMULATED_CELL = Path(__file__).parents[2] / "calibration/cells/sim/cell.yaml"
HOME = np.array(HOME_JOINT_POSITIONS_RAD)


def launch(folder: Path, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ros2", "launch", "clar", "calibrate.launch.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "cell: required with hardware:=real"),
        (("hardware:=sim", "board_mount:=[left]"), "board_mount: expected a list of numbers"),
        (("hardware:=sim", "samples:=many"), "samples: expected a whole number"),
        (("hardware:=sim", "square_mm:=wide"), "square_mm: expected a number, got 'wide'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = launch(tmp_path, *arguments)
    printed = result.stdout + result.stderr
    assert result.returncode != 0, printed
    assert message in printed
    assert "process started" not in printed


@pytest.fixture(scope="module")
def with_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated cell's calibration with a reference scene."""
    folder = tmp_path_factory.mktemp("calibration")
    random = np.random.default_rng(0)
    with RenderedCell() as cell:
        cell.show(HOME)
        board = cell.arm.pose(HOME) @ cell.truth.Y
        mask = arm_mask(
            HOME,
            HAND_MAX_WIDTH_M,
            T_BASE_DEPTH,
            DEPTH_INTRINSICS,
            ArmShape(cell.model),
            T_base_board=board,
            outline=cell.rig.board.outline,
        )
        depths = [cell.depth(random) for _ in range(6)]
        scene = make_scene(depths, [cell.color(random)], DEPTH_INTRINSICS, COLOR_INTRINSICS, T_DEPTH_COLOR, mask)
    entry = save_scene(scene, folder / "calibration.scene.safetensors")
    result = replace(simulated_calibration(), date=datetime.now(UTC), reference=entry)
    save_calibration(result, folder / "calibration.yaml")
    return folder / "calibration.yaml"


@contextmanager
def standing_arm(probe: Probe) -> Iterator[None]:
    """Joint states of an arm that stands at home, as the arm node publishes them."""
    publisher = probe.node.create_publisher(JointState, names.TOPIC_JOINT_STATES, qos.STATE)
    joints = JointState(position=[*HOME.tolist(), HAND_MAX_WIDTH_M / 2, HAND_MAX_WIDTH_M / 2])
    timer = probe.node.create_timer(0.02, lambda: publisher.publish(joints))
    yield
    probe.node.destroy_timer(timer)


@pytest.mark.realtime
@pytest.mark.parametrize(("shift_mm", "closed"), [((), False), ((0.0, 3.0, 0.0), True)])
def test_a_moved_camera_closes_the_gate_and_one_that_stands_opens_it(
    probe: Probe, fci_address: str, with_scene: Path, shift_mm: tuple[float, ...], closed: bool
) -> None:
    words = probe.collect(DiagnosticStatus, names.TOPIC_GATES, qos.GATES)
    sim = {"robot_ip": fci_address, "depth_fps": 10.0, **({"camera_shift_mm": shift_mm} if shift_mm else {})}
    check = {"calibration": str(with_scene)}
    with standing_arm(probe), node_process("clar.nodes.sim", sim), node_process("clar.nodes.scene_check", check):
        last = wait_for(lambda: next((w for w in words if "not been looked at" not in w.message), None), "an answer")
        assert last.name == names.GATE_SCENE
        assert (last.level == DiagnosticStatus.ERROR) is closed, last.message
        answer = probe.call(Trigger, names.SERVICE_CHECK_SCENE, Trigger.Request())
        assert answer.success is not closed
        assert ("the camera has moved" in answer.message) is closed, answer.message
        verdict = probe.call(Trigger, names.SERVICE_VERIFY_CALIBRATION, Trigger.Request())
        assert verdict.success
        assert "beside its model" in verdict.message


@pytest.mark.realtime
def test_images_of_a_frame_that_the_drivers_tree_does_not_have_are_named(probe: Probe, tmp_path: Path) -> None:
    streams = [
        (names.TOPIC_COLOR_IMAGE, names.TOPIC_COLOR_INFO, "my_camera_frame", COLOR_INTRINSICS, "rgb8", (480, 640, 3)),
        (
            names.TOPIC_DEPTH_IMAGE,
            names.TOPIC_DEPTH_INFO,
            names.DEPTH_OPTICAL_FRAME,
            DEPTH_INTRINSICS,
            "16UC1",
            (480, 640),
        ),
    ]
    publishers = [
        (
            probe.node.create_publisher(Image, image, qos.SENSOR_PUBLISHER),
            probe.node.create_publisher(CameraInfo, info, qos.SENSOR_PUBLISHER),
        )
        for image, info, *_ in streams
    ]

    def publish() -> None:
        stamp = probe.node.get_clock().now().to_msg()
        for (image, info), (_, _, frame, intrinsics, encoding, shape) in zip(publishers, streams, strict=True):
            header = Header(stamp=stamp, frame_id=frame)
            pixels = np.zeros(shape, dtype=np.uint16 if encoding == "16UC1" else np.uint8)
            image.publish(bridge.array_to_image(pixels, encoding, header))
            info.publish(bridge.intrinsics_to_camera_info(intrinsics, header))

    timer = probe.node.create_timer(0.1, publish)
    parameters = {"cell": str(SIMULATED_CELL), "session": str(tmp_path / "session")}
    with node_process("clar.nodes.calibrate", parameters) as process:
        assert process.wait_for_exit() == 1
        assert "no transform camera_depth_optical_frame <- my_camera_frame" in process.output
        assert "a frame that its tree does not have" in process.output
    probe.node.destroy_timer(timer)
    assert not (tmp_path / "session" / "calibration.yaml").exists()
