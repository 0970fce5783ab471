"""The camera node at 640x480, 30 fps: images lost, capture to publication, share of a processor.

A software D455 (librealsense's own software device in the node's process) is fed at 30 fps by a thread; everything from
the pipeline on is what a real camera meets, the USB transfer is not in it. A subscriber in another process counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from harness import ROOT, Benchmark
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from clar import names, qos
from clar_interfaces.msg import StageTimings

P99_MS = 15.0
WARM_UP_S = 5.0
RATE_HZ = 30


def main() -> int:
    """Run node and subscriber, state the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="length of the run")
    parser.add_argument("--role", choices=("subscribe",), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role:
        return subscribe(given.seconds)
    bench = Benchmark("camera", f"the camera node on a software D455, 640x480 at {RATE_HZ} fps")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", "78"),
    }
    node = subprocess.Popen(
        [sys.executable, "-m", "tests.ros.camera_process", "--ros-args", "-p", "color_fps:=15.0"],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        subscriber = subprocess.run(
            [sys.executable, __file__, "--role", "subscribe", "--seconds", str(given.seconds)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=given.seconds + 120.0,
        )
        processor = processor_s(node.pid) / uptime_s(node.pid)
    finally:
        node.terminate()
        node.wait(10.0)
    if subscriber.returncode:
        raise SystemExit("camera: the subscriber failed; its message is above")
    result = json.loads(subscriber.stdout.splitlines()[-1])
    text = f"{result['images']} images in {given.seconds:g} s, and {result['jpegs']} JPEG images"
    bench.claim("depth images lost", result["lost"], "images", at_most=0, reference=text)
    bench.claim("capture to publication, p50", result["p50_ms"], "ms")
    bench.claim("capture to publication, p99", result["p99_ms"], "ms", at_most=P99_MS)
    bench.claim("capture to arrival at a subscriber, p99", result["arrival_p99_ms"], "ms")
    bench.claim(
        "processor share of the node", 100.0 * processor, "% of a core", reference="the feeding thread included"
    )
    return bench.finish()


class NodeReports:
    """What the camera node says about itself: images that the device sent and it missed, capture to publication."""

    def __init__(self, node: Node) -> None:
        self.ages_ms: list[float] = []
        self._lost = [0, 0]
        node.create_subscription(StageTimings, names.TOPIC_TIMINGS, self._on_timings, qos.STATUS)
        node.create_subscription(DiagnosticArray, names.TOPIC_DIAGNOSTICS, self._on_diagnostics, qos.STATUS)

    def start(self) -> None:
        """Forget what came before."""
        self.ages_ms.clear()
        self._lost[0] = self._lost[1]

    def lost(self) -> int:
        """Images missed since ``start``."""
        return self._lost[1] - self._lost[0]

    def _on_timings(self, timings: StageTimings) -> None:
        if timings.node == "camera":
            self.ages_ms.append(sum(timings.durations_ms))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == names.NODE_CAMERA:
                self._lost[1] = int(next((v.value for v in status.values if v.key == "lost"), 0))


def subscribe(seconds: float) -> int:
    """Count images by their stamps, and take their times."""
    rclpy.init()
    node = Node("camera_subscriber")
    arrivals: list[tuple[int, int]] = []
    jpegs = [0]

    def on_depth(image: Image) -> None:
        stamp = image.header.stamp
        arrivals.append((stamp.sec * 1_000_000_000 + stamp.nanosec, time.time_ns()))

    def on_jpeg(_: CompressedImage) -> None:
        jpegs[0] += 1

    node.create_subscription(Image, names.TOPIC_DEPTH_IMAGE, on_depth, qos.RECORD)
    node.create_subscription(CompressedImage, names.TOPIC_COLOR_COMPRESSED, on_jpeg, qos.RECORD)
    reports = NodeReports(node)
    end_s = time.monotonic() + 60.0
    while not arrivals:
        if time.monotonic() > end_s:
            raise SystemExit("camera: no image came within 60 s")
        rclpy.spin_once(node, timeout_sec=0.1)
    end_s = time.monotonic() + WARM_UP_S
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.1)
    arrivals.clear()
    jpegs[0] = 0
    reports.start()
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.1)
    stamps, times = np.array(arrivals, dtype=np.int64).T
    gaps = np.rint(np.diff(np.sort(stamps)) * 1e-9 * RATE_HZ).astype(int)
    ages_ms = (times - stamps) * 1e-6
    print(
        json.dumps(
            {
                "images": len(stamps),
                "lost": max(int(np.maximum(gaps - 1, 0).sum()), reports.lost()),  # the same ones, twice told
                "jpegs": jpegs[0],
                "p50_ms": float(np.percentile(reports.ages_ms, 50)),
                "p99_ms": float(np.percentile(reports.ages_ms, 99)),
                "arrival_p99_ms": float(np.percentile(ages_ms, 99)),
            }
        )
    )
    return 0


def processor_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def uptime_s(pid: int) -> float:
    """Seconds since a process was started."""
    started = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - started


if __name__ == "__main__":
    sys.exit(main())
