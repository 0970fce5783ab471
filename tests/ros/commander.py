"""A command source in a process of its own, to be killed: ``python -m tests.ros.commander policy 0.01``.

Publishes a step of that many metres along x as the given source at 10 Hz, with observations captured just before.
"""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.node import Node

from clar import bridge, names, qos
from clar_core.control.action import Action
from clar_interfaces.msg import DeltaCommand


def main(source: str, step_m: float) -> None:
    rclpy.init()
    node = Node("commander")
    publisher = node.create_publisher(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
    while not publisher.get_subscription_count():
        time.sleep(0.01)
    action = Action([step_m, 0, 0], [0, 0, 0], 1.0)  # type: ignore[arg-type]
    print("commanding", flush=True)
    sequence, due_s = 0, time.monotonic()
    while True:
        sequence, due_s = sequence + 1, due_s + 0.1
        stamp = node.get_clock().now().to_msg()
        command = bridge.action_to_command(
            action, source=source, sequence=sequence, frame=names.BASE_FRAME, observation=stamp
        )
        command.header.stamp = stamp
        publisher.publish(command)
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
