"""How long a write takes while whoever listens is frozen: over shared memory, and by UDP as the arm's processes do.

A listener is frozen at random moments while a thread writes to it as fast as it can, which makes rare moments frequent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import rclpy
from harness import ROOT, Benchmark
from rclpy.node import Node
from std_msgs.msg import UInt64
from tqdm import tqdm

from clar import qos
from clar.transport import SHIPPED, keep_off_shared_memory

PROFILES = ROOT / "ros2_ws" / "src" / "clar" / "config"
FROZEN_S = 0.35
HELD_S = 0.2
TOPIC = "/frozen_listener/count"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--freezes", type=int, default=100)
    parser.add_argument("--role", choices=("listen", "write"), help=argparse.SUPPRESS)
    parser.add_argument("--udp", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "listen":
        return listen()
    if options.role == "write":
        return write(options.freezes, udp=options.udp)
    bench = Benchmark("frozen_listener", f"longest write while the listener is frozen, {options.freezes} times")
    shared, by_udp = (measure(options.freezes, udp=udp) for udp in (False, True))
    for name, result in (("shared memory", shared), ("UDP alone", by_udp)):
        text = f"{result['writes']} writes, median of the longest {np.median(result['longest_s']) * 1e3:.1f} ms"
        held = sum(longest > HELD_S for longest in result["longest_s"])
        most = 0 if result is by_udp else None
        bench.claim(f"{name}: freezes with a write over {HELD_S:g} s", held, "", at_most=most, reference=text)
        bench.claim(f"{name}: longest write", max(result["longest_s"]), "s")
    return bench.finish()


def measure(freezes: int, *, udp: bool) -> dict[str, Any]:
    """The writer in a process of its own, since a process has one transport."""
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", "77"),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILES / SHIPPED),
    }
    command = [sys.executable, __file__, "--role", "write", "--freezes", str(freezes), *(["--udp"] if udp else [])]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def listen() -> int:
    """Take what comes, until the process is ended."""
    rclpy.init()
    node = Node("frozen_listener")
    node.create_subscription(UInt64, TOPIC, lambda _: None, qos.STATE)
    rclpy.spin(node)
    return 0


def write(freezes: int, *, udp: bool) -> int:
    """Write in a thread; freeze the listener, note the longest write, thaw it."""
    listener = subprocess.Popen([sys.executable, __file__, "--role", "listen"])
    try:
        if udp and (kept := keep_off_shared_memory(folder=PROFILES)):
            raise SystemExit(f"frozen_listener: {kept}")
        rclpy.init()
        node = Node("frozen_listener_writer")
        publisher = node.create_publisher(UInt64, TOPIC, qos.STATE)
        while not publisher.get_subscription_count():
            if listener.poll() is not None:
                raise SystemExit("frozen_listener: the listener ended")
            time.sleep(0.05)
        longest_s, writes = [0.0], 0

        def write_on() -> None:
            nonlocal writes
            while rclpy.ok():
                started = time.perf_counter()
                publisher.publish(UInt64())
                longest_s[-1] = max(longest_s[-1], time.perf_counter() - started)
                writes += 1

        threading.Thread(target=write_on, daemon=True).start()
        rng = random.Random(0)
        for _ in tqdm(range(freezes), desc="UDP alone" if udp else "shared memory", unit="freeze"):
            time.sleep(rng.uniform(0.05, 0.15))
            longest_s.append(0.0)
            listener.send_signal(signal.SIGSTOP)
            time.sleep(FROZEN_S)
            listener.send_signal(signal.SIGCONT)
            time.sleep(0.02)
        print(json.dumps({"writes": writes, "longest_s": longest_s[1:]}), flush=True)
    finally:
        listener.kill()
        listener.wait()
    os._exit(0)  # the thread may be in a write


if __name__ == "__main__":
    sys.exit(main())
