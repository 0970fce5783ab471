"""tf2_ros: buffers, listeners and broadcasters as the nodes use them."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
tf2_ros = pytest.importorskip("tf2_ros")

import tf2_py  # noqa: E402
from builtin_interfaces.msg import Time as TimeMessage  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.time import Time  # noqa: E402

LATEST = Time()


def transform(
    parent: str, child: str, x: float = 0.0, y: float = 0.0, yaw: float = 0.0, stamp_s: float = 0.0
) -> TransformStamped:
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp = at(stamp_s).to_msg()
    message.transform.translation.x, message.transform.translation.y = x, y
    message.transform.rotation.z, message.transform.rotation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


def at(seconds: float) -> Time:
    return Time(nanoseconds=round(seconds * 1e9))


def position(message: TransformStamped) -> tuple[float, float, float]:
    translation = message.transform.translation
    return translation.x, translation.y, translation.z


def yaw_of(message: TransformStamped) -> float:
    return 2.0 * math.atan2(message.transform.rotation.z, message.transform.rotation.w)


@pytest.fixture
def buffer() -> object:
    return tf2_ros.Buffer()


@pytest.fixture
def ros(ros_domain: int) -> Iterator[tuple[Node, Node]]:
    context = rclpy.Context()
    context.init()
    nodes = [rclpy.create_node(name, context=context) for name in ("tf_sender", "tf_receiver")]
    executor = SingleThreadedExecutor(context=context)
    for node in nodes:
        executor.add_node(node)
    done = threading.Event()

    def spin() -> None:
        while not done.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield nodes[0], nodes[1]
    done.set()
    thread.join(timeout=10)
    context.shutdown()


def eventually(condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_lookup_maps_points_of_the_source_to_the_target(buffer) -> None:
    buffer.set_transform_static(transform("base", "camera", x=1.0, yaw=math.pi / 2), "test")
    buffer.set_transform_static(transform("camera", "optical", x=0.5), "test")
    found = buffer.lookup_transform("base", "optical", LATEST)
    np.testing.assert_allclose(position(found), (1.0, 0.5, 0.0), atol=1e-12)
    assert yaw_of(found) == pytest.approx(math.pi / 2)
    assert (found.header.frame_id, found.child_frame_id) == ("base", "optical")
    np.testing.assert_allclose(
        position(buffer.lookup_transform("optical", "base", LATEST)), (-0.5, 1.0, 0.0), atol=1e-9
    )


def test_timed_transforms_are_interpolated_and_stamped(buffer) -> None:
    buffer.set_transform(transform("base", "tcp", x=0.0, yaw=0.0, stamp_s=10.0), "test")
    buffer.set_transform(transform("base", "tcp", x=1.0, yaw=1.0, stamp_s=11.0), "test")
    found = buffer.lookup_transform("base", "tcp", at(10.25))
    assert position(found)[0] == pytest.approx(0.25)
    assert yaw_of(found) == pytest.approx(0.25)
    assert Time.from_msg(found.header.stamp).nanoseconds == at(10.25).nanoseconds
    latest = buffer.lookup_transform("base", "tcp", LATEST)
    assert position(latest)[0] == 1.0
    assert Time.from_msg(latest.header.stamp).nanoseconds == at(11.0).nanoseconds


def test_message_times_are_taken_too(buffer) -> None:
    buffer.set_transform(transform("base", "tcp", x=2.0, stamp_s=10.0), "test")
    assert position(buffer.lookup_transform("base", "tcp", TimeMessage(sec=10)))[0] == 2.0


def test_failures_are_told_apart(buffer) -> None:
    buffer.set_transform(transform("base", "tcp", stamp_s=10.0), "test")
    buffer.set_transform(transform("base", "tcp", stamp_s=11.0), "test")
    buffer.set_transform_static(transform("island", "hut"), "test")
    with pytest.raises(tf2_ros.LookupException, match="nowhere"):
        buffer.lookup_transform("base", "nowhere", LATEST)
    with pytest.raises(tf2_ros.ConnectivityException):
        buffer.lookup_transform("base", "hut", LATEST)
    for stamp_s in (9.0, 12.0):
        with pytest.raises(tf2_ros.ExtrapolationException):
            buffer.lookup_transform("base", "tcp", at(stamp_s))
    with pytest.raises(tf2_ros.InvalidArgumentException):
        buffer.lookup_transform("/base", "tcp", LATEST)


def test_every_failure_is_a_transform_exception() -> None:
    for name in ("Lookup", "Connectivity", "Extrapolation", "InvalidArgument", "Timeout"):
        exception = getattr(tf2_ros, f"{name}Exception")
        assert issubclass(exception, tf2_ros.TransformException)
        assert exception is getattr(tf2_py, f"{name}Exception")


def test_can_transform_answers_without_raising(buffer) -> None:
    buffer.set_transform(transform("base", "tcp", stamp_s=10.0), "test")
    assert buffer.can_transform("base", "tcp", LATEST)
    assert not buffer.can_transform("base", "tcp", at(11.0))
    possible, reason = buffer.can_transform("base", "camera", LATEST, return_debug_tuple=True)
    assert not possible
    assert "camera" in reason


def test_lookups_wait_for_what_arrives_within_their_timeout(buffer) -> None:
    timer = threading.Timer(0.2, buffer.set_transform_static, (transform("base", "camera", x=3.0), "test"))
    timer.start()
    found = buffer.lookup_transform("base", "camera", LATEST, timeout=Duration(seconds=30))
    timer.join()
    assert position(found)[0] == 3.0


def test_lookups_give_up_after_their_timeout(buffer) -> None:
    start = time.monotonic()
    with pytest.raises(tf2_ros.LookupException):
        buffer.lookup_transform("base", "camera", LATEST, timeout=Duration(seconds=0.2))
    assert time.monotonic() - start >= 0.19


def test_a_lookup_can_be_awaited(buffer) -> None:
    future = buffer.wait_for_transform_async("base", "camera", LATEST)
    assert not future.done()
    buffer.set_transform_static(transform("base", "camera", x=4.0), "test")
    assert future.done()
    found = asyncio.run(buffer.lookup_transform_async("base", "camera", LATEST))
    assert position(found)[0] == position(future.result())[0] == 4.0


def test_a_moving_base_is_compensated_through_a_fixed_frame(buffer) -> None:
    for stamp_s in (10.0, 11.0):
        buffer.set_transform(transform("world", "cart", x=stamp_s, stamp_s=stamp_s), "test")
    found = buffer.lookup_transform_full("cart", at(11.0), "cart", at(10.0), "world")
    assert position(found)[0] == pytest.approx(-1.0)


def test_the_history_has_the_length_asked_for() -> None:
    buffer = tf2_ros.Buffer(cache_time=Duration(seconds=2))
    for tick in range(50):
        buffer.set_transform(transform("base", "tcp", stamp_s=10.0 + tick / 10), "test")
    assert buffer.can_transform("base", "tcp", at(13.0))
    assert not buffer.can_transform("base", "tcp", at(12.5))


def test_malformed_transforms_are_ignored(buffer) -> None:
    no_rotation = transform("base", "tcp")
    no_rotation.transform.rotation.w = 0.0
    not_a_number = transform("base", "tcp")
    not_a_number.transform.translation.x = math.nan
    for malformed in (no_rotation, not_a_number, transform("base", "base"), transform("base", "")):
        buffer.set_transform(malformed, "test")
    assert not buffer.can_transform("base", "tcp", LATEST)


def test_quaternions_are_normalised(buffer) -> None:
    message = transform("base", "tcp", yaw=1.0)
    message.transform.rotation.z *= 3.0
    message.transform.rotation.w *= 3.0
    buffer.set_transform_static(message, "test")
    found = buffer.lookup_transform("base", "tcp", LATEST)
    assert yaw_of(found) == pytest.approx(1.0)
    assert math.hypot(found.transform.rotation.z, found.transform.rotation.w) == pytest.approx(1.0)


def test_leading_slashes_in_messages_are_dropped(buffer) -> None:
    buffer.set_transform_static(transform("/base", "/camera", x=5.0), "test")
    assert position(buffer.lookup_transform("base", "camera", LATEST))[0] == 5.0


def test_cleared_buffers_know_nothing(buffer) -> None:
    buffer.set_transform(transform("base", "tcp", stamp_s=10.0), "test")
    buffer.clear()
    assert not buffer.can_transform("base", "tcp", LATEST)


def test_broadcast_transforms_reach_a_listener(ros: tuple[Node, Node]) -> None:
    sender, receiver = ros
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, receiver)
    broadcaster = tf2_ros.TransformBroadcaster(sender)
    assert eventually(lambda: broadcaster.pub_tf.get_subscription_count() > 0)
    broadcaster.sendTransform(transform("base", "tcp", x=1.0, stamp_s=10.0))
    broadcaster.sendTransform([transform("base", "tcp", x=2.0, stamp_s=11.0), transform("tcp", "tip", stamp_s=11.0)])
    assert eventually(
        lambda: buffer.can_transform("base", "tip", at(11.0)) and buffer.can_transform("base", "tcp", at(10.5))
    )
    assert position(buffer.lookup_transform("base", "tcp", at(10.5)))[0] == pytest.approx(1.5)
    listener.unregister()


def test_static_transforms_reach_those_who_come_late(ros: tuple[Node, Node]) -> None:
    sender, receiver = ros
    broadcaster = tf2_ros.StaticTransformBroadcaster(sender)
    broadcaster.sendTransform(transform("base", "camera_link", x=1.0))
    broadcaster.sendTransform([transform("camera_link", "optical", x=0.5)])
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, receiver)
    assert eventually(lambda: buffer.can_transform("base", "optical", LATEST))
    assert position(buffer.lookup_transform("base", "optical", at(123.0)))[0] == 1.5
    listener.unregister()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_listener_can_spin_its_node_by_itself(ros_domain: int) -> None:
    # The executor of a listener is of the default context. Upstream's thread does not catch what a shutdown raises.
    rclpy.init()
    try:
        sender, receiver = rclpy.create_node("static_sender"), rclpy.create_node("own_thread")
        broadcaster = tf2_ros.StaticTransformBroadcaster(sender)
        broadcaster.sendTransform(transform("base", "camera", x=7.0))
        buffer = tf2_ros.Buffer()
        listener = tf2_ros.TransformListener(buffer, receiver, spin_thread=True)
        assert position(buffer.lookup_transform("base", "camera", LATEST, Duration(seconds=30)))[0] == 7.0
        assert listener.buffer is buffer
    finally:
        rclpy.shutdown()


def test_lookups_are_cheap_enough_for_a_control_loop(buffer) -> None:
    buffer.set_transform_static(transform("base", "camera_link", x=1.0), "test")
    buffer.set_transform_static(transform("camera_link", "optical", x=0.5), "test")
    for tick in range(1000):
        buffer.set_transform(transform("base", "tcp", x=tick / 1000, stamp_s=10.0 + tick / 100), "test")

    def of_a_hundred(target: str, source: str, when: Time) -> float:
        start = time.process_time()
        for _ in range(100):
            buffer.lookup_transform(target, source, when)
        return (time.process_time() - start) / 100

    # 100 Hz of transforms and 30 Hz of lookups may not cost more than a few per cent of a core.
    assert min(of_a_hundred("base", "optical", at(15.0)) for _ in range(5)) < 1e-3
    assert min(of_a_hundred("optical", "tcp", at(15.005)) for _ in range(5)) < 2e-3
