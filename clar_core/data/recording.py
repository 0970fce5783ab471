"""One recording: messages handed over by any thread, written to a bag by a thread of its own.

Handing over never blocks. What cannot be written in time, or for lack of space, ends the recording: the bag is closed
readable with everything that was handed over before, and whoever listens is told at once why. Nothing is dropped in
silence.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rosbags.interfaces import Qos
from rosbags.typesys.store import Typestore

from clar_core.data.bag_writer import BagWriter
from clar_core.data.bags import BagError


@dataclass(frozen=True)
class RecordingLimits:
    """Bounds of a recording.

    Attributes:
        queue_bytes: messages waiting to be written beyond this size end the recording: the disk is too slow.
        min_free_bytes: less free space than this ends the recording while the bag can still be closed well.
        flush_period_s: longest time that a message stays in this process only.
        compression_level: of zstd.
    """

    queue_bytes: int = 256 << 20
    min_free_bytes: int = 512 << 20
    flush_period_s: float = 1.0
    compression_level: int = 1


@dataclass(frozen=True)
class RecordedTopic:
    """A topic to record: full name, message type, and what its publishers offer."""

    name: str
    msgtype: str
    qos: tuple[Qos, ...]


@dataclass(frozen=True)
class RecordingStatus:
    """A look at a recording: figures since its start, and why it ended early, if it did."""

    messages: dict[str, int] = field(default_factory=dict)
    bytes_written: int = 0
    queued_bytes: int = 0
    rejected: int = 0
    free_bytes: int = 0
    failure: str | None = None


class Recording:
    """A bag that fills until :meth:`finish` or :meth:`discard`.

    Args:
        path: folder of the finished bag. Until then it is called ``<path>.recording``.
        typestore: definitions of all types that will be recorded.
        limits: bounds.
        notes: stored in the bag, whatever ends the recording.
        on_failure: called once, on the writing thread, with the reason, when the recording ends early.

    Raises:
        FileExistsError: a bag of this name exists.
        OSError: no space, or the folder cannot be made.
    """

    def __init__(
        self,
        path: Path,
        typestore: Typestore,
        limits: RecordingLimits,
        *,
        notes: Mapping[str, str] | None = None,
        on_failure: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.path = path
        self._limits = limits
        self._notes = dict(notes or {})
        self._on_failure = on_failure
        path.parent.mkdir(parents=True, exist_ok=True)
        self._free_bytes = shutil.disk_usage(path.parent).free
        if self._free_bytes < limits.min_free_bytes:
            raise OSError(
                f"{path.parent}: {self._free_bytes >> 20} MiB free, expected at least "
                f"{limits.min_free_bytes >> 20} MiB; free some space or record elsewhere"
            )
        self._writer = BagWriter(path, typestore, compression_level=limits.compression_level)
        self._changed = threading.Condition()
        self._queue: deque[RecordedTopic | tuple[str, int, bytes]] = deque()
        self._queued_bytes = 0
        self._topics: set[str] = set()
        self._rejected = 0
        self._failure: str | None = None
        self._ending = False
        self._drain_until = float("inf")
        self._discarding = False
        self._error: Exception | None = None
        self._counts: dict[str, int] = {}
        self._bytes_written = 0
        self._thread = threading.Thread(target=self._run, name="bag-writer", daemon=True)
        self._thread.start()

    def add_topic(self, topic: RecordedTopic) -> None:
        """Declare a topic before its first message; a topic declared already stays as it is."""
        with self._changed:
            if topic.name not in self._topics:
                self._topics.add(topic.name)
                self._queue.append(topic)
                self._changed.notify()

    def put(self, topic: str, stamp_ns: int, data: bytes) -> bool:
        """Hand over one serialized message; False, and counted, when the recording has ended.

        Raises:
            KeyError: the topic was not added.
        """
        with self._changed:
            if topic not in self._topics:
                raise KeyError(topic)
            if self._ending or self._failure is not None:
                self._rejected += 1
                return False
            if self._queued_bytes + len(data) > self._limits.queue_bytes:
                self._rejected += 1
                self._fail(
                    f"the writer fell behind: {self._queued_bytes >> 20} MiB wait for {self.path.parent}; "
                    "record to a faster disk, or fewer topics"
                )
                return False
            self._queue.append((topic, stamp_ns, data))
            self._queued_bytes += len(data)
            self._changed.notify()
            return True

    def status(self) -> RecordingStatus:
        """Figures since the start."""
        with self._changed:
            return RecordingStatus(
                messages=dict(self._counts),
                bytes_written=self._bytes_written,
                queued_bytes=self._queued_bytes,
                rejected=self._rejected,
                free_bytes=self._free_bytes,
                failure=self._failure,
            )

    def finish(self, notes: Mapping[str, str] | None = None, *, within_s: float = 60.0) -> Path:
        """Write what waits, close the bag under its final name, and return that.

        Args:
            notes: stored beside those given at the start.
            within_s: what still waits after this long is given up, and the bag says so.

        Raises:
            BagError: the bag could not be closed, or holds no message.
        """
        with self._changed:
            self._notes.update(notes or {})
            self._drain_until = time.monotonic() + within_s
            self._ending = True
            self._changed.notify()
        self._thread.join()
        if self._error is not None:
            raise BagError(f"{self._writer.part}: could not be closed: {self._error}") from self._error
        return self.path

    def discard(self) -> None:
        """Stop, and delete the bag."""
        with self._changed:
            self._discarding = self._ending = True
            self._drain_until = 0.0
            self._changed.notify()
        self._thread.join()
        if self.path.exists():
            # It had ended early and been closed by itself.
            shutil.rmtree(self.path)

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
            self._notes["ended_early"] = reason
            self._changed.notify()

    def _run(self) -> None:
        broken = False
        try:
            self._write_until_end()
        except Exception as error:
            broken = True
            with self._changed:
                self._fail(f"writing to {self.path.parent} failed: {error}")
        if self._failure is not None and not self._discarding:
            self._on_failure(self._failure)
        try:
            self._close(broken)
        except Exception as error:
            self._error = error

    def _write_until_end(self) -> None:
        next_flush = time.monotonic() + self._limits.flush_period_s
        while True:
            with self._changed:
                ended = self._ending or self._failure is not None
                if not self._queue and not ended:
                    self._changed.wait(max(0.0, next_flush - time.monotonic()))
                batch = list(self._queue)
                self._queue.clear()
            for i, item in enumerate(batch):
                if time.monotonic() > self._drain_until:
                    self._give_up(batch[i:])
                    return
                self._write(item)
            if time.monotonic() >= next_flush:
                self._flush()
                next_flush = time.monotonic() + self._limits.flush_period_s
            if ended and not batch:
                return

    def _write(self, item: RecordedTopic | tuple[str, int, bytes]) -> None:
        if isinstance(item, RecordedTopic):
            self._writer.add_topic(item.name, item.msgtype, item.qos)
            with self._changed:
                self._counts[item.name] = 0
            return
        topic, stamp_ns, data = item
        self._writer.write(topic, stamp_ns, data)
        with self._changed:
            self._bytes_written = self._writer.bytes_written
            self._counts[topic] += 1
            self._queued_bytes -= len(data)

    def _flush(self) -> None:
        self._writer.flush()
        free = shutil.disk_usage(self._writer.part).free
        with self._changed:
            self._free_bytes = free
            if free < self._limits.min_free_bytes:
                self._fail(
                    f"the disk is almost full: {free >> 20} MiB free on {self.path.parent}, "
                    f"the recording needs {self._limits.min_free_bytes >> 20} MiB to end well"
                )

    def _give_up(self, rest: list[RecordedTopic | tuple[str, int, bytes]]) -> None:
        with self._changed:
            rest.extend(self._queue)
            self._queue.clear()
            self._queued_bytes = 0
            lost = sum(not isinstance(item, RecordedTopic) for item in rest)
            self._rejected += lost
            self._notes["ended_early"] = f"{lost} messages still waited when the recording had to end"

    def _close(self, broken: bool) -> None:
        if self._discarding:
            self._writer.discard()
            return
        if not broken:
            try:
                self._writer.close(self._notes)
                return
            except OSError as error:
                with self._changed:
                    self._fail(f"closing the bag in {self.path.parent} failed: {error}")
                self._on_failure(f"closing the bag in {self.path.parent} failed: {error}")
        self._writer.salvage(self._notes)
