"""`clar data play` puts a bag's messages on their topics again, latched ones latched, commands left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from clar import bridge, names, qos
from clar_core.data.bags import BagReader
from clar_interfaces.msg import DeltaCommand
from tests.core.data.recorded_episode import record
from tests.ros.processes import Probe, wait_for


def test_messages_come_again_at_their_pace_and_late_joiners_get_what_is_latched(probe: Probe, tmp_path: Path) -> None:
    path = record(tmp_path, ticks=12)
    images = probe.collect(Image, names.TOPIC_DEPTH_IMAGE, qos.RECORD)
    infos = probe.collect(CameraInfo, names.TOPIC_DEPTH_INFO, qos.RECORD)
    commands = probe.collect(DeltaCommand, names.TOPIC_COMMAND, qos.RECORD)
    clock = probe.collect(Clock, "/clock", 10)
    player = subprocess.Popen(
        [sys.executable, "-m", "clar.play", str(path), "--clock", "--loop"], stdout=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: len(images) >= 20, "images")
        static = probe.collect(TFMessage, names.TOPIC_TF_STATIC, qos.TF_STATIC)
        wait_for(lambda: static, "the latched transform")
    finally:
        player.terminate()
        player.wait(10.0)
    with BagReader(path) as bag:
        recorded = {bridge.stamp_to_ns(m.message.header.stamp) for m in bag.messages([names.TOPIC_DEPTH_IMAGE])}
    assert {bridge.stamp_to_ns(m.header.stamp) for m in images} <= recorded
    assert infos
    assert clock
    assert not commands


def test_a_topic_that_is_not_there_is_named(ros_domain: int, tmp_path: Path) -> None:
    path = record(tmp_path, ticks=12)
    command = [sys.executable, "-m", "clar.play", str(path), "--topics", "/odd"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "no topic /odd" in result.stderr
