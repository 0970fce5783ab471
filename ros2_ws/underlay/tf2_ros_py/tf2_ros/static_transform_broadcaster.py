"""StaticTransformBroadcaster: publishes transforms that hold at any time, also to those who come later."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from tf2_ros.transform_broadcaster import as_list


class StaticTransformBroadcaster:
    """Publishes on /tf_static, reliable, transient local, keep-last 1 when no QoS is given.

    Each call publishes all transforms sent so far in one message, since late subscribers get only the last one.
    """

    def __init__(self, node: Node, qos: QoSProfile | int | None = None) -> None:
        if qos is None:
            qos = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.pub_tf = node.create_publisher(TFMessage, "/tf_static", qos)
        self._sent: dict[str, TransformStamped] = {}

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Publish one transform or several, beside those sent before.

        Raises:
            ValueError: another transform of the same child was sent before. Upstream keeps the first one in silence.
        """
        for message in as_list(transform):
            earlier = self._sent.setdefault(message.child_frame_id, message)
            if (earlier.transform, earlier.header.frame_id) != (message.transform, message.header.frame_id):
                raise ValueError(
                    f"a static transform of {message.child_frame_id!r} was already sent; a broadcaster of ROS 2 Jazzy "
                    "goes on to publish the first one, so send a changed transform from a new broadcaster"
                )
        self.pub_tf.publish(TFMessage(transforms=list(self._sent.values())))
