"""``clar data play BAG``: a bag's messages on their topics again, at the pace at which they came.

Stands in for ``ros2 bag play``. Publishers offer what the recorded ones did, so that latched topics stay latched.
``--clock`` publishes the bag's time on /clock, for nodes with ``use_sim_time``; the arm refuses that on real hardware.
Topics that would move a robot are left out unless they are asked for by name.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import rclpy
import tyro
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from clar import bridge, names
from clar.taps import load_message
from clar_core.cli.main import fail
from clar_core.data.bags import BagReader, BagTopic

_DISCOVERY_S = 1.0
_CLOCK_NS = 10_000_000
_LEFT_OUT = (names.TOPIC_COMMAND,)


@dataclass(frozen=True)
class Play:
    """Publish a bag's messages at the pace at which they came."""

    bag: Annotated[Path, tyro.conf.Positional]
    """A bag."""
    rate: float = 1.0
    """Times the recorded pace."""
    topics: tuple[str, ...] = ()
    """Only these; all but commands when left out."""
    clock: bool = False
    """Publish the bag's time on /clock."""
    loop: bool = False
    """Begin again at the end."""
    start: float = 0.0
    """Seconds from the beginning to begin at."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Play until the end or Ctrl-C; 1 with the reason when it cannot."""
    options = tyro.cli(Play, prog="clar data play", args=arguments)
    if options.rate <= 0:
        return fail(f"--rate: expected a positive number, got {options.rate:g}")
    try:
        with BagReader(options.bag) as bag:
            context = rclpy.Context()
            context.init()
            node = Node("clar_play", context=context, start_parameter_services=False, enable_rosout=False)
            try:
                count = Player(node, bag, options).run()
            finally:
                node.destroy_node()
                context.try_shutdown()
    except (ValueError, OSError) as error:
        return fail(str(error))
    print(f"{count} messages played")
    return 0


class Player:
    """Publishes the messages of an open bag."""

    def __init__(self, node: Node, bag: BagReader, options: Play) -> None:
        self._bag, self._options = bag, options
        wanted = set(options.topics) or set(bag.topics) - set(_LEFT_OUT)
        if missing := sorted(wanted - set(bag.topics)):
            raise ValueError(f"{bag.path}: no topic {missing[0]}; the bag has {', '.join(sorted(bag.topics))}")
        self._publishers: dict[str, Any] = {}
        for name in sorted(wanted):
            topic = bag.topics[name]
            try:
                self._publishers[name] = node.create_publisher(load_message(topic.msgtype), name, profile_of(topic))
            except (ImportError, AttributeError):
                print(f"left out: {name}: no {topic.msgtype} here; source its workspace", file=sys.stderr)
        self._clock = node.create_publisher(Clock, "/clock", 10) if options.clock else None

    def run(self) -> int:
        """Publish everything once, or for ever; returns the number of messages."""
        time.sleep(_DISCOVERY_S)  # a subscriber that is found later has missed what is not latched
        count = self._once()
        while self._options.loop:
            count += self._once()
        return count

    def _once(self) -> int:
        count, first_ns, next_clock_ns, begin_s = 0, None, 0, time.monotonic()
        latched = {name for name, p in self._publishers.items() if _is_latched(self._bag.topics[name])}
        for name, stamp_ns, data in self._bag.raw_messages(self._publishers):
            if first_ns is None:
                first_ns = stamp_ns + int(self._options.start * 1e9)
            if stamp_ns < first_ns and name not in latched:
                continue
            wait_s = (stamp_ns - first_ns) * 1e-9 / self._options.rate - (time.monotonic() - begin_s)
            if wait_s > 0:
                time.sleep(wait_s)
            if self._clock is not None and stamp_ns >= next_clock_ns:
                self._clock.publish(Clock(clock=bridge.ns_to_stamp(stamp_ns)))
                next_clock_ns = stamp_ns + _CLOCK_NS
            self._publishers[name].publish(bytes(data))
            count += 1
        return count


def profile_of(topic: BagTopic) -> QoSProfile:
    """What the recorded publishers offered."""
    reliable = all(q.reliability.name != "BEST_EFFORT" for q in topic.qos)
    depth = max([q.depth for q in topic.qos if q.depth], default=10)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=max(depth, 10 if not _is_latched(topic) else 1),
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if _is_latched(topic) else DurabilityPolicy.VOLATILE,
    )


def _is_latched(topic: BagTopic) -> bool:
    return bool(topic.qos) and all(q.durability.name == "TRANSIENT_LOCAL" for q in topic.qos)


if __name__ == "__main__":
    sys.exit(main())
