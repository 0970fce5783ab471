"""Raw subscriptions that follow the graph: serialized messages of topics, whatever their types and publishers' QoS.

A tap opens when its topic gets a publisher, with the type and the quality of service that publisher offers: reliable
with a deep queue where that is offered, best effort where it is not, latched where all publishers latch. It is opened
anew when a publisher of another kind joins. Message types that the type store does not know are added from their
package's definitions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosbags.interfaces import Qos
from rosbags.typesys.store import Typestore

from clar import qos
from clar_core.data.bag_writer import offered_qos
from clar_core.data.bags import BagError, make_typestore
from clar_core.data.recording import RecordedTopic

_KEPT_LATCHED = 64

OnMessage = Callable[[RecordedTopic, int, bytes], None]


@dataclass
class Tap:
    """One open tap, with what came through it."""

    topic: RecordedTopic
    subscription: Subscription
    latched: bool
    received: int = 0
    lost: int = 0
    # The newest messages of a latched topic: what a bag that begins later must start with.
    kept: dict[bytes, None] = field(default_factory=dict)


class Taps:
    """The taps of a node.

    Args:
        node: whose subscriptions they are.
        wanted: full names of topics.
        on_message: called with topic, time of reception in nanoseconds, and the serialized message.
    """

    def __init__(self, node: Node, wanted: Iterable[str], on_message: OnMessage) -> None:
        self.typestore: Typestore = make_typestore()
        self.open: dict[str, Tap] = {}
        self.refused: dict[str, str] = {}
        self._node = node
        self._wanted = tuple(dict.fromkeys(wanted))
        self._on_message = on_message

    @property
    def without_publisher(self) -> list[str]:
        """Wanted topics that nobody has published yet."""
        return [name for name in self._wanted if name not in self.open and name not in self.refused]

    def refresh(self) -> None:
        """Open what has become available, and reopen what is offered differently now."""
        for name in self._wanted:
            publishers = self._node.get_publishers_info_by_topic(name)
            if not publishers:
                continue
            profile = _fitting_profile(publishers)
            tap = self.open.get(name)
            if tap is not None:
                now = tap.subscription.qos_profile
                # Fewer guarantees are asked for when somebody offers fewer; never more, while it works.
                if profile.reliability in (now.reliability, ReliabilityPolicy.RELIABLE) and (
                    profile.durability in (now.durability, DurabilityPolicy.TRANSIENT_LOCAL)
                ):
                    continue
                self._node.destroy_subscription(tap.subscription)
            self._open(name, publishers, profile, tap)

    def latched_messages(self) -> list[tuple[RecordedTopic, bytes]]:
        """What latched topics hold now, oldest first."""
        return [(tap.topic, data) for tap in self.open.values() for data in tap.kept]

    def close(self) -> None:
        """Close all taps."""
        for tap in self.open.values():
            self._node.destroy_subscription(tap.subscription)
        self.open.clear()

    def _open(self, name: str, publishers: list[TopicEndpointInfo], profile: QoSProfile, before: Tap | None) -> None:
        msgtype = publishers[0].topic_type
        try:
            message_class = load_message(msgtype)
            ensure_definition(self.typestore, msgtype)
        except (BagError, ImportError, AttributeError, PackageNotFoundError) as error:
            if name not in self.refused:
                self._node.get_logger().error(
                    f"{name} cannot be recorded: no definition of {msgtype}: {error}; "
                    "source the workspace that has its package"
                )
            self.refused[name] = str(error)
            return
        offered = tuple(dict.fromkeys(_as_stored(publisher.qos_profile) for publisher in publishers))
        topic = RecordedTopic(name, msgtype, offered)
        latched = profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
        self.refused.pop(name, None)

        def receive(data: bytes, info: dict[str, Any]) -> None:
            tap.received += 1
            if latched:
                tap.kept.pop(data, None)
                tap.kept[data] = None
                if len(tap.kept) > _KEPT_LATCHED:
                    del tap.kept[next(iter(tap.kept))]
            self._on_message(topic, int(info["received_timestamp"]), data)

        def lost(status: Any) -> None:
            tap.lost += int(status.total_count_change)

        subscription = self._node.create_subscription(
            message_class,
            name,
            receive,
            profile,
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(message_lost=lost),
        )
        tap = Tap(topic, subscription, latched)
        if before is not None:
            tap.received, tap.lost, tap.kept = before.received, before.lost, before.kept
        self.open[name] = tap


def load_message(msgtype: str) -> type:
    """The message class of a type such as ``sensor_msgs/msg/Image``. Raises ImportError or AttributeError."""
    package, _, name = msgtype.partition("/msg/")
    return getattr(importlib.import_module(f"{package}.msg"), name)  # type: ignore[no-any-return]


def ensure_definition(store: Typestore, msgtype: str) -> None:
    """Add the definitions of a type's package to a store that does not have it, and those of what it consists of.

    Raises:
        BagError: the package has no readable definitions.
        PackageNotFoundError: the package is not installed.
    """
    if msgtype in store.fielddefs:
        return
    package = msgtype.partition("/")[0]
    definitions = make_typestore(Path(get_package_share_directory(package)))
    new = {name: value for name, value in definitions.fielddefs.items() if name not in store.fielddefs}
    store.register(new)
    for part in _parts(store, msgtype):
        ensure_definition(store, part)


def _parts(store: Typestore, msgtype: str) -> list[str]:
    """Names of the message types that a type's fields have."""
    names: list[str] = []
    for _, (kind, detail) in store.fielddefs[msgtype][1]:
        while kind.name in ("ARRAY", "SEQUENCE"):
            (kind, detail), _ = detail  # type: ignore[misc]
        if kind.name == "NAME":
            names.append(str(detail))
    return names


def _fitting_profile(publishers: list[TopicEndpointInfo]) -> QoSProfile:
    """The most that all publishers offer."""
    reliable = all(p.qos_profile.reliability is ReliabilityPolicy.RELIABLE for p in publishers)
    latched = all(p.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL for p in publishers)
    base = qos.RECORD if reliable else qos.RECORD_BEST_EFFORT
    return QoSProfile(
        history=base.history,
        depth=base.depth,
        reliability=base.reliability,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _as_stored(profile: QoSProfile) -> Qos:
    reliability: Literal["reliable", "best_effort"] = (
        "reliable" if profile.reliability is ReliabilityPolicy.RELIABLE else "best_effort"
    )
    durability: Literal["volatile", "transient_local"] = (
        "transient_local" if profile.durability is DurabilityPolicy.TRANSIENT_LOCAL else "volatile"
    )
    # Discovery does not tell a publisher's depth. One is what every latched topic of the stack has.
    return offered_qos(reliability=reliability, durability=durability, depth=profile.depth or 1)
