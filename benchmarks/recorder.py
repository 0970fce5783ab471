"""The recorder under the load of a real cell: 640x480 RGB-D at 30 Hz, states at 100 Hz, commands at 10 Hz.

A process of its own publishes numbered messages; the recorder node records them as one episode. Afterwards the bag is
read back: nothing may be missing, and the 10 Hz steps must have kept their pace while the recorder ran beside them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
from harness import Benchmark
from tqdm import tqdm

from clar import names
from clar_core.data.bags import BagReader
from clar_core.data.messages import stamp_ns

STEP_S = 0.1
JITTER_MS = 5.0
_DOMAIN = "93"


def publish(stop: Event, counts: multiprocessing.Queue[dict[str, int]]) -> None:
    """Publish until told to stop; messages of each topic are numbered by their stamps, steps stamped by the clock."""
    import cv2
    import rclpy
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image
    from std_msgs.msg import Header

    from clar import bridge, qos
    from clar_interfaces.msg import DeltaCommand, RobotState

    rclpy.init()
    node = rclpy.create_node("benchmark_cell")
    rng = np.random.default_rng(0)
    # A smooth scene with a millimetre of noise compresses as a real one does.
    surface = np.add.outer(np.linspace(600, 900, 480), np.linspace(0, 400, 640))
    depths = [(surface + rng.normal(0, 1.5, surface.shape)).astype(np.uint16) for _ in range(8)]
    encoded, jpeg = cv2.imencode(".jpg", rng.integers(90, 110, (480, 640, 3)).astype(np.uint8))
    assert encoded
    color = CompressedImage(format="rgb8; jpeg compressed bgr8")
    color.data = jpeg.tobytes()
    topics = {
        names.TOPIC_DEPTH_IMAGE: (node.create_publisher(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR_PUBLISHER), 30),
        names.TOPIC_DEPTH_INFO: (node.create_publisher(CameraInfo, names.TOPIC_DEPTH_INFO, qos.SENSOR_PUBLISHER), 30),
        names.TOPIC_COLOR_COMPRESSED: (
            node.create_publisher(CompressedImage, names.TOPIC_COLOR_COMPRESSED, qos.SENSOR_PUBLISHER), 30,
        ),
        names.TOPIC_ROBOT_STATE: (node.create_publisher(RobotState, names.TOPIC_ROBOT_STATE, qos.STATE), 100),
        names.TOPIC_COMMAND: (node.create_publisher(DeltaCommand, names.TOPIC_COMMAND, qos.STATE), 10),
    }  # fmt: skip
    sent = dict.fromkeys(topics, 0)
    begin_s = time.monotonic()
    while not stop.is_set():
        elapsed_s = time.monotonic() - begin_s
        for topic, (publisher, rate_hz) in topics.items():
            if sent[topic] >= elapsed_s * rate_hz:
                continue
            number = Header(stamp=bridge.ns_to_stamp(sent[topic]))
            if topic == names.TOPIC_DEPTH_IMAGE:
                publisher.publish(bridge.array_to_image(depths[sent[topic] % len(depths)], "16UC1", number))
            elif topic == names.TOPIC_COLOR_COMPRESSED:
                color.header = number
                publisher.publish(color)
            elif topic == names.TOPIC_COMMAND:
                publisher.publish(DeltaCommand(header=number, observation_stamp=node.get_clock().now().to_msg()))
            else:
                publisher.publish(publisher.msg_type(header=number))
            sent[topic] += 1
        time.sleep(0.0005)
    counts.put(sent)
    time.sleep(1.0)
    rclpy.shutdown()


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def record(folder: Path, seconds: float) -> tuple[dict[str, int], list[float]]:
    """Record for a time; returns what was published, and the recorder's memory once a second."""
    context = multiprocessing.get_context("spawn")
    stop, counts = context.Event(), context.Queue()
    parameters = {"directory": folder, "autostart": "true", "record_run": "true", "run_name": "run", "min_free_mb": 0}
    given = [item for name, value in parameters.items() for item in ("-p", f"{name}:={value}")]
    recorder = subprocess.Popen(
        [sys.executable, "-m", "clar.nodes.recorder", "--ros-args", *given], stdout=subprocess.DEVNULL
    )
    while not any(folder.glob("run*")):
        time.sleep(0.1)
    cell = context.Process(target=publish, args=(stop, counts))
    cell.start()
    memory = []
    for _ in tqdm(range(round(seconds)), unit="s"):
        time.sleep(1.0)
        memory.append(rss_mb(recorder.pid))
    stop.set()
    sent = counts.get(timeout=30.0)
    time.sleep(0.5)
    recorder.send_signal(2)
    recorder.wait(60.0)
    cell.join(10.0)
    return sent, memory


def main() -> int:
    """Record, read back, state the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = os.environ.get("ROS_DOMAIN_ID", _DOMAIN)
    bench = Benchmark("recorder", f"640x480 RGB-D at 30 Hz, states at 100 Hz, {options.minutes:g} minutes")
    folder = Path(tempfile.mkdtemp(prefix="clar_recorder_"))
    try:
        sent, memory = record(folder, options.minutes * 60)
        size_mb = sum(file.stat().st_size for file in folder.rglob("*.mcap")) / 1e6
        with BagReader(folder / "run") as bag:
            lost = gaps = 0
            for topic, count in sent.items():
                numbers = [stamp_ns(m.message.header.stamp) for m in bag.messages([topic])]
                # What was sent before the subscription was there is not a loss; from then on all must be there.
                lost += count - numbers[0] - len(numbers)
                gaps += int(np.sum(np.diff(numbers) != 1))
            steps = [stamp_ns(m.message.observation_stamp) * 1e-9 for m in bag.messages([names.TOPIC_COMMAND])]
    finally:
        shutil.rmtree(folder)
    jitter_ms = np.abs(np.diff(steps) - STEP_S) * 1e3
    settled = memory[min(30, len(memory) // 4) :]
    bench.claim("messages lost", float(max(lost, gaps)), "", at_most=0.0, reference=f"{sum(sent.values())} sent")
    bench.claim("jitter of the 10 Hz steps, p99", float(np.percentile(jitter_ms, 99)), "ms", at_most=JITTER_MS)
    bench.claim(
        "memory at the end against after settling",
        float(np.mean(settled[-5:]) / np.mean(settled[:5])),
        "x",
        at_most=1.1,
        reference=f"{np.mean(settled[:5]):.0f} MB, then {np.mean(settled[-5:]):.0f} MB",
    )
    bench.claim("written", size_mb / max(options.minutes * 60, 1.0), "MB/s")
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
