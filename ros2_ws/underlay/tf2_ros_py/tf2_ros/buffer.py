"""Buffer: the transforms a node has heard of, and lookups among them."""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Callable
from typing import Any

import tf2_py
from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.task import Future

from clar_core.geometry.frames import (
    DEFAULT_HISTORY_NS,
    ExtrapolationError,
    FrameError,
    FrameTree,
    UnconnectedFramesError,
    UnknownFrameError,
)
from tf2_ros.conversions import frame_name, message_of, nanoseconds, pose_of

_AT_ONCE = Duration()
_EXCEPTIONS: dict[type[FrameError], type[tf2_py.TransformException]] = {
    UnknownFrameError: tf2_py.LookupException,
    UnconnectedFramesError: tf2_py.ConnectivityException,
    ExtrapolationError: tf2_py.ExtrapolationException,
}


class Buffer:
    """Stores transforms for ``cache_time`` (10 s when left out) and looks them up, from any thread.

    With a node, its clock is watched: a jump back in time (a bag that starts again) clears the buffer.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        self._tree = FrameTree(DEFAULT_HISTORY_NS if cache_time is None else cache_time.nanoseconds)
        self._changed = threading.Condition()
        self._waiting: list[Callable[[], bool]] = []
        self._clock = Clock() if node is None else node.get_clock()
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jump_handle = self._clock.create_jump_callback(threshold, post_callback=self._on_time_jump)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Store a transform that holds at its stamp. A malformed one is logged and ignored, as in tf2."""
        self._store(transform, authority, static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Store a transform that holds at any time. A malformed one is logged and ignored, as in tf2."""
        self._store(transform, authority, static=True)

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Any, timeout: Duration = _AT_ONCE
    ) -> TransformStamped:
        """The transform that maps points of the source frame to the target frame.

        Args:
            target_frame: its name goes to the header's frame_id.
            source_frame: its name goes to child_frame_id.
            time: an rclpy or message time; zero asks for the newest at which all is known.
            timeout: how long to block until the transform is available.

        Raises:
            LookupException, ConnectivityException, ExtrapolationException: see tf2_py.
        """
        return self._after(timeout, lambda: self._lookup(target_frame, source_frame, time))

    def lookup_transform_full(
        self,
        target_frame: str,
        target_time: Any,
        source_frame: str,
        source_time: Any,
        fixed_frame: str,
        timeout: Duration = _AT_ONCE,
    ) -> TransformStamped:
        """As ``lookup_transform``, from the source at one time to the target at another, by way of a fixed frame."""
        return self._after(
            timeout, lambda: self._lookup_full(target_frame, target_time, source_frame, source_time, fixed_frame)
        )

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Any,
        timeout: Duration = _AT_ONCE,
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """Whether ``lookup_transform`` would succeed; with ``return_debug_tuple`` also why not."""
        try:
            self.lookup_transform(target_frame, source_frame, time, timeout)
        except tf2_py.TransformException as error:
            return (False, str(error)) if return_debug_tuple else False
        return (True, "") if return_debug_tuple else True

    def wait_for_transform_async(self, target_frame: str, source_frame: str, time: Any) -> Future:
        """A future that gets the transform as its result once it is available."""
        future: Future = Future()

        def try_now() -> bool:
            if future.done():
                return True
            try:
                future.set_result(self._lookup(target_frame, source_frame, time))
            except tf2_py.TransformException:
                return False
            return True

        with self._changed:
            if not try_now():
                self._waiting.append(try_now)
        return future

    async def lookup_transform_async(self, target_frame: str, source_frame: str, time: Any) -> TransformStamped:
        """The transform, awaited until it is available."""
        return await self.wait_for_transform_async(target_frame, source_frame, time)

    def clear(self) -> None:
        """Forget every transform."""
        self._tree.clear()

    def all_frames_as_yaml(self) -> str:
        """Each frame that has a parent, with it, as YAML."""
        parents = {frame: self._tree.parent(frame) for frame in self._tree.frames()}
        return "".join(f"{frame}:\n  parent: '{parent}'\n" for frame, parent in parents.items() if parent)

    def _store(self, message: TransformStamped, authority: str, static: bool) -> None:
        parent, child = frame_name(message.header.frame_id), frame_name(message.child_frame_id)
        try:
            pose = pose_of(message)
            if static:
                self._tree.set_static(parent, child, pose)
            elif not self._tree.set_timed(parent, child, pose, nanoseconds(message.header.stamp)):
                get_logger("tf2_buffer").warning(f"ignoring old data for {parent} -> {child} from {authority}")
                return
        except ValueError as error:
            get_logger("tf2_buffer").error(f"ignoring transform {parent} -> {child} from {authority}: {error}")
            return
        with self._changed:
            self._changed.notify_all()
            if self._waiting:
                self._waiting = [still_waiting for still_waiting in self._waiting if not still_waiting()]

    def _after(self, timeout: Duration, attempt: Callable[[], TransformStamped]) -> TransformStamped:
        """The attempt's result; its failures are retried at each new transform until the timeout."""
        remaining_ns = nanoseconds(timeout)
        if remaining_ns <= 0:
            return attempt()
        deadline = clock.monotonic() + remaining_ns / 1e9
        with self._changed:
            while True:
                try:
                    return attempt()
                except tf2_py.TransformException:
                    if not self._changed.wait(timeout=max(0.0, deadline - clock.monotonic())):
                        return attempt()

    def _lookup(self, target: str, source: str, time: Any) -> TransformStamped:
        stamp_ns = nanoseconds(time)
        pose, found_ns = self._resolve(target, source, stamp_ns or None)
        return message_of(pose, target, source, found_ns)

    def _lookup_full(
        self, target: str, target_time: Any, source: str, source_time: Any, fixed: str
    ) -> TransformStamped:
        T_target_fixed, found_ns = self._resolve(target, fixed, nanoseconds(target_time) or None)
        T_fixed_source, _ = self._resolve(fixed, source, nanoseconds(source_time) or None)
        return message_of(T_target_fixed @ T_fixed_source, target, source, found_ns)

    def _resolve(self, target: str, source: str, stamp_ns: int | None) -> tuple[Any, int]:
        for frame in (target, source):
            if not frame or frame.startswith("/"):
                raise tf2_py.InvalidArgumentException(
                    f"expected a frame name, not empty and without a leading slash, got {frame!r}"
                )
        try:
            return self._tree.lookup_stamped(target, source, stamp_ns)
        except FrameError as error:
            raise _EXCEPTIONS[type(error)](str(error)) from None

    def _on_time_jump(self, jump: TimeJump) -> None:
        get_logger("tf2_buffer").warning("time jumped back: clearing the buffer")
        self.clear()
