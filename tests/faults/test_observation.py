"""Faults of what the arm acts upon: software D455, camera and cloud nodes, a source that follows clouds, and the arm.

The source stands for the policy: one small step for every cloud, at most ten a second, naming the cloud's stamp.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from tf2_ros import StaticTransformBroadcaster

from clar import bridge, names, qos
from clar_core.geometry.camera import T_BODY_OPTICAL
from clar_core.geometry.poses import inverse
from clar_interfaces.msg import DeltaCommand
from tests.faults.contract import Entry
from tests.faults.rig import HALTED, FaultRig, fault_rig
from tests.faults.test_commands import STRICT
from tests.isolation import FCI_ADDRESSES, fci_ports_are_free, lease
from tests.ros.camera_process import TOPIC
from tests.ros.processes import Probe, node_process, wait_for
from tests.ros.scene import T_BASE_OPTICAL

CAMERA = {"color": False, "diagnostics_period_s": 0.2, "frame_timeout_s": 0.5, "retry_s": 0.1, "restart_after_s": 0.5}
_STEP_PERIOD_S = 0.095


class Follower:
    """Commands one step for every cloud that comes in time for the next tick."""

    def __init__(self, rig: FaultRig) -> None:
        self._rig = rig
        self._last_s = 0.0
        self._sequence = 0
        self._publisher = rig.arm.probe.node.create_publisher(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
        self.clouds = 0
        rig.arm.probe.node.create_subscription(PointCloud2, names.TOPIC_CLOUD, self._on_cloud, qos.SENSOR)

    def _on_cloud(self, cloud: PointCloud2) -> None:
        self.clouds += 1
        if time.monotonic() - self._last_s < _STEP_PERIOD_S:
            return
        self._last_s = time.monotonic()
        self._sequence += 1
        command = DeltaCommand(source="policy", sequence=self._sequence, gripper=1.0)
        command.header.frame_id = names.BASE_FRAME
        command.header.stamp = self._rig.arm.probe.node.get_clock().now().to_msg()
        command.observation_stamp = cloud.header.stamp
        command.translation = bridge.vector3(self._rig.step()[:3])
        command.rotation = bridge.vector3((0.0, 0.0, 0.0))
        self._publisher.publish(command)


@pytest.fixture(scope="module")
def shared(
    ros_domain: int, tmp_path_factory: pytest.TempPathFactory, faults: list[Entry]
) -> Iterator[tuple[FaultRig, Follower]]:
    probe = Probe()
    broadcaster = StaticTransformBroadcaster(probe.node)
    place = TransformStamped(child_frame_id=names.CAMERA_FRAME)
    place.header.frame_id = names.BASE_FRAME
    place.transform = bridge.matrix_to_transform(T_BASE_OPTICAL @ inverse(T_BODY_OPTICAL))
    broadcaster.sendTransform(place)
    folder = tmp_path_factory.mktemp("cell")
    with (
        lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address,
        node_process("tests.ros.camera_process", CAMERA, {"CAMERA_HZ": "20"}),
        node_process("clar.nodes.cloud", {}),
        fault_rig(probe, folder, address, faults, **STRICT) as rig,
    ):
        yield rig, Follower(rig)
    probe.close()


@pytest.mark.parametrize(
    ("row", "request_", "how"),
    [
        (5, "freeze", "the camera's driver repeats one image under new stamps"),
        (7, "empty", "nothing left in the crop box"),
        (10, "unplug", "the camera's cable pulled"),
    ],
)
def test_the_arm_stops_when_its_camera_does(
    shared: tuple[FaultRig, Follower], row: int, request_: str, how: str
) -> None:
    rig, follower = shared
    ask = camera(rig)
    try:
        clouds = follower.clouds
        wait_for(lambda: follower.clouds > clouds + 5, "clouds")
        rig.arm.start("policy")
        wait_for(lambda: rig.robot.report().still_since_ns == 0, f"the arm moving; {rig.state.reason}")
        stop = rig.time_to_rest(lambda: ask(request_))
        rig.arm.wait_for_mode(HALTED)
        rig.enter(row, how, stop, within_s=0.4)
    finally:
        ask("thaw")
        rig.restore()
    clouds = follower.clouds
    wait_for(lambda: follower.clouds > clouds + 5, "clouds after the fault")
    assert rig.state.mode != HALTED
    assert rig.state.owner == "", "nothing resumes by itself"


def camera(rig: FaultRig) -> Callable[[str], None]:
    publisher = rig.arm.probe.node.create_publisher(String, TOPIC, qos.LATCHED)
    wait_for(publisher.get_subscription_count, "the camera node")
    return lambda request: publisher.publish(String(data=request))
