"""What the nodes see live and what is read from the bag of it later are the same, bit for bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sensor_msgs.msg import PointCloud2

from clar import bridge, names, qos
from clar_core.data.bag_clouds import read_clouds
from clar_core.data.bags import BagReader
from clar_core.observation.builder import build_network_points
from clar_core.observation.spec import ObservationSpec
from tests.ros.processes import Probe, node_process, wait_for
from tests.ros.scene import Driver, write_calibration

SPEC = ObservationSpec()


@pytest.fixture
def driver(probe: Probe) -> Iterator[Driver]:
    driver = Driver(probe, rate_hz=10.0)
    yield driver
    driver.stop()


def test_the_network_sees_the_same_live_and_from_the_bag(probe: Probe, driver: Driver, tmp_path: Path) -> None:
    write_calibration(tmp_path / "calibration.yaml")
    live: dict[int, PointCloud2] = {}
    probe.node.create_subscription(
        PointCloud2, names.TOPIC_CLOUD, lambda m: live.update({bridge.stamp_to_ns(m.header.stamp): m}), qos.SENSOR
    )
    recording = {"directory": str(tmp_path), "record_run": True, "run_name": "run", "min_free_mb": 0, "autostart": True}
    with (
        node_process("clar.nodes.calibrated_tf", {"calibration": str(tmp_path / "calibration.yaml")}),
        node_process("clar.nodes.cloud"),
        node_process("clar.nodes.recorder", recording) as recorder,
    ):
        driver.start()
        wait_for(lambda: len(live) >= 10, "ten live clouds")
        recorder.wait_for_output("recording")
        wait_for(lambda: driver.listeners() >= 2, "the cloud node and the recorder to listen")
        first = len(live)
        wait_for(lambda: len(live) >= first + 15, "fifteen more while recording")
        assert recorder.interrupt() == 0, recorder.output
    skipped: Counter[str] = Counter()
    with BagReader(tmp_path / "run") as bag:
        replayed = {cloud.stamp_ns: cloud.points for cloud in read_clouds(bag, SPEC, skipped=skipped)}
    assert not {reason for reason in skipped if "camera_info" not in reason}, skipped
    both = sorted(set(live) & set(replayed))
    assert len(both) >= 10
    for stamp in both:
        points = bridge.cloud_to_points(live[stamp])
        assert points.tobytes() == replayed[stamp].tobytes()
        network = build_network_points(points, SPEC)
        assert network.tobytes() == build_network_points(replayed[stamp], SPEC).tobytes()
