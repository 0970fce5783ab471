"""Images over DDS between two processes: 640x480 RGB8 and 16UC1 at 30 fps, under each quality of service in use.

Nothing may be lost with the profile in ``config/fastdds.xml``. A short run without it shows why the profile exists.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from harness import ROOT, Benchmark
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from clar import qos

PROFILE = ROOT / "ros2_ws" / "src" / "clar" / "config" / "fastdds.xml"
RATE_HZ = 30
P99_MS = 20.0
STREAMS = {"rgb8": 3, "16UC1": 2}
WITHOUT_PROFILE_S = 5.0
_PATIENCE_S = 30.0

BEST_EFFORT_PUBLISHER = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
CHOICES = {
    "sensor: newest only, best effort, from a reliable publisher": (qos.SENSOR_PUBLISHER, qos.SENSOR),
    "recorder: reliable, depth 60": (qos.SENSOR_PUBLISHER, qos.RECORD),
    "recorder: best effort, depth 60, from a best-effort publisher": (BEST_EFFORT_PUBLISHER, qos.RECORD_BEST_EFFORT),
}


@dataclass(frozen=True)
class Result:
    """Messages of both streams: sent, lost, and the latency of those that arrived."""

    sent: int
    lost: int
    p50_ms: float
    p99_ms: float


def main() -> int:
    """Measure every choice of quality of service, state the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each stream")
    parser.add_argument("--role", choices=("publish", "subscribe"), help=argparse.SUPPRESS)
    parser.add_argument("--choice", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    publisher_qos, subscriber_qos = list(CHOICES.values())[given.choice]
    if given.role == "publish":
        return publish(given.seconds, publisher_qos)
    if given.role == "subscribe":
        return subscribe(given.seconds, subscriber_qos)

    bench = Benchmark("dds", f"640x480 RGB8 + 16UC1 at {RATE_HZ} fps between two processes")
    for choice, name in enumerate(CHOICES):
        result = measure(choice, given.seconds, PROFILE)
        text = f"{result.sent} messages in {given.seconds:g} s, p50 {result.p50_ms:.1f} ms"
        bench.claim(f"{name}: lost", result.lost, "messages", at_most=0, reference=text)
        bench.claim(f"{name}: latency p99", result.p99_ms, "ms", at_most=P99_MS)
    bare = measure(0, min(WITHOUT_PROFILE_S, given.seconds), None)
    bench.claim(
        "for comparison, Fast DDS without the profile: lost",
        100 * bare.lost / bare.sent,
        "%",
        reference=f"{bare.lost} of {bare.sent} messages, {next(iter(CHOICES))}",
    )
    return bench.finish()


def measure(choice: int, seconds: float, profile: Path | None) -> Result:
    """One publisher and one subscriber, each a process of its own."""
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", "77"),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("FASTRTPS_DEFAULT_PROFILES_FILE", None)
    if profile is not None:
        environment["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(profile)
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--role", role, "--choice", str(choice), "--seconds", str(seconds)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for role in ("subscribe", "publish")
    ]
    try:
        outputs = [process.communicate(timeout=seconds + 3 * _PATIENCE_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        raise SystemExit("dds: a process failed; its message is above")
    received, sent = (json.loads(output.splitlines()[-1]) for output in outputs)
    latencies = np.array(received["latencies_ms"] or [float("nan")])
    return Result(
        sent=sent["sent"],
        lost=sent["sent"] - len(received["latencies_ms"]),
        p50_ms=float(np.percentile(latencies, 50)),
        p99_ms=float(np.percentile(latencies, 99)),
    )


def publish(seconds: float, profile: QoSProfile) -> int:
    """Publish both streams on a steady clock once the subscriber is there."""
    rclpy.init()
    node = Node("dds_publisher")
    random = np.random.default_rng(0)
    streams = []
    for encoding, pixel_bytes in STREAMS.items():
        image = Image(height=480, width=640, encoding=encoding, step=640 * pixel_bytes)
        image.data = array.array("B", random.integers(0, 256, 480 * 640 * pixel_bytes, dtype=np.uint8).tobytes())
        streams.append((image, node.create_publisher(Image, f"/dds/image_{encoding}", profile)))
    _wait(lambda: all(publisher.get_subscription_count() for _, publisher in streams), node, "the subscriber")
    frames = round(seconds * RATE_HZ)
    start = time.monotonic() + 0.5
    for frame in range(frames):
        time.sleep(max(0.0, start + frame / RATE_HZ - time.monotonic()))
        for image, publisher in streams:
            image.header.frame_id = str(frame)
            image.header.stamp.sec, image.header.stamp.nanosec = divmod(time.time_ns(), 1_000_000_000)
            publisher.publish(image)
    # The subscriber leaves when it has seen the last frame, or has waited long enough for it.
    _wait(lambda: not any(publisher.get_subscription_count() for _, publisher in streams), node, "the end", fail=False)
    print(json.dumps({"sent": frames * len(streams)}))
    return 0


def subscribe(seconds: float, profile: QoSProfile) -> int:
    """Receive both streams until their last frames."""
    rclpy.init()
    node = Node("dds_subscriber")
    last = str(round(seconds * RATE_HZ) - 1)
    latencies: dict[tuple[str, str], float] = {}

    def receive(image: Image) -> None:
        sent_s = image.header.stamp.sec + image.header.stamp.nanosec * 1e-9
        latencies[image.encoding, image.header.frame_id] = (time.time() - sent_s) * 1e3

    for encoding in STREAMS:
        node.create_subscription(Image, f"/dds/image_{encoding}", receive, profile)
    _wait(lambda: latencies, node, "the publisher's first image")
    end = time.monotonic() + seconds + 5.0
    while time.monotonic() < end and not all((encoding, last) in latencies for encoding in STREAMS):
        rclpy.spin_once(node, timeout_sec=0.1)
    print(json.dumps({"latencies_ms": list(latencies.values())}))
    return 0


def _wait(condition: Any, node: Node, what: str, *, fail: bool = True) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            if fail:
                raise SystemExit(f"dds: waited {_PATIENCE_S:g} s for {what}; is another run using this ROS_DOMAIN_ID?")
            return
        rclpy.spin_once(node, timeout_sec=0.05)


if __name__ == "__main__":
    sys.exit(main())
