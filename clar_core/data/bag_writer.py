"""Writing rosbag2 bags (MCAP, zstd chunks) that survive what happens to recordings: kill -9, a full disk, Ctrl-C.

A bag is written as ``<name>.recording`` and renamed to ``<name>`` when it is whole. Flushed once a second, it has given
every message to the operating system within that time: a process that dies loses no more, of quiet topics either.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.typesys.store import Typestore

from clar_core.data.bag_recovery import recover_bag
from clar_core.data.bags import RECORDING_SUFFIX

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
except ImportError:
    from backports import zstd

_INFINITE = QosTime(9223372036, 854775807)


def offered_qos(
    *,
    reliability: Literal["reliable", "best_effort"] = "reliable",
    durability: Literal["volatile", "transient_local"] = "volatile",
    depth: int = 10,
) -> Qos:
    """The quality of service that a topic's publisher offered: keep-last, no deadline.

    It must be stored with the topic: ``ros2 bag play`` publishes with it, and would otherwise publish /tf_static
    volatile, which no listener accepts.
    """
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability[reliability.upper()],
        durability=QosDurability[durability.upper()],
        deadline=_INFINITE,
        lifespan=_INFINITE,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_INFINITE,
        avoid_ros_namespace_conventions=False,
    )


class BagWriter:
    """One bag being written. Use it from one thread.

    Args:
        path: folder that the finished bag will have; must not exist yet, nor must ``<path>.recording``.
        typestore: definitions of the message types that will be written.
        compression_level: of zstd. 1 takes half as long as 3 for a depth image, which becomes a fifth larger.

    Raises:
        FileExistsError: a bag of this name exists, finished or not.
        OSError: the folder cannot be made.
    """

    def __init__(self, path: Path, typestore: Typestore, *, compression_level: int = 1) -> None:
        self.path = path
        self.part = path.with_name(path.name + RECORDING_SUFFIX)
        for taken in (self.path, self.part):
            if taken.exists():
                raise FileExistsError(f"{taken}: a bag of this name exists already; choose another name or remove it")
        self._typestore = typestore
        self._writer = Writer(self.part, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        storage = self._writer.storage
        assert isinstance(storage, McapWriter)
        # rosbags writes no checksum of its own: with zstd's, a damaged chunk is noticed when it is read.
        parameters = zstd.CompressionParameter
        options = {parameters.compression_level: compression_level, parameters.checksum_flag: 1}
        storage.compressor = functools.partial(zstd.compress, options=options)
        # The file has its final name from the start: metadata.yaml names it.
        final = self.part / f"{path.name}_0.mcap"
        storage.path.rename(final)
        storage.path = final
        self._storage = storage
        self._connections: dict[str, Connection] = {}

    @property
    def message_counts(self) -> dict[str, int]:
        """Messages written so far, by topic."""
        return {topic: self._writer.counts[connection.id] for topic, connection in self._connections.items()}

    @property
    def bytes_written(self) -> int:
        """Size of what has been handed to the file so far."""
        return self._storage.bio.tell()

    def add_topic(self, topic: str, msgtype: str, qos: Sequence[Qos]) -> None:
        """Declare a topic, once, before its first message.

        Args:
            topic: full name.
            msgtype: such as ``sensor_msgs/msg/Image``.
            qos: what its publishers offered, see :func:`offered_qos`.

        Raises:
            KeyError: the type is not in the type store.
        """
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=self._typestore, offered_qos_profiles=list(qos)
        )

    def has_topic(self, topic: str) -> bool:
        """Whether :meth:`add_topic` was called for this topic."""
        return topic in self._connections

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Append one serialized (CDR) message under its time of reception.

        Raises:
            KeyError: the topic was not added.
            OSError: the disk is full or gone. Call :meth:`salvage` then.
        """
        self._writer.write(self._connections[topic], stamp_ns, data)

    def flush(self) -> None:
        """Close the chunk and hand everything to the operating system. Raises OSError as :meth:`write` does."""
        # A chunk without a message has no time range, which readers may not expect.
        if self._storage.chunk.msgs:
            self._storage.close_chunk()
        self._storage.bio.flush()

    def close(self, notes: Mapping[str, str] | None = None) -> Path:
        """Finish the bag, store ``notes`` as its custom data, give it its final name, and return that.

        Raises:
            OSError: the disk is full or gone. Call :meth:`salvage` then.
        """
        for key, value in (notes or {}).items():
            self._writer.set_custom_data(key, value)
        self._writer.close()
        os.rename(self.part, self.path)
        return self.path

    def salvage(self, notes: Mapping[str, str] | None = None) -> Path:
        """After an OSError: give up what could not be written, and finish the bag from what was; returns its path.

        Raises:
            BagError: not even one chunk was written.
            OSError: even the index, which takes the place of the last chunks, cannot be written.
        """
        self.abort()
        return recover_bag(self.part, notes=notes).path

    def abort(self) -> None:
        """Close the file as it is, as if the process had died."""
        # A full disk refuses the last buffered bytes once more; the file is closed all the same.
        with contextlib.suppress(OSError):
            self._writer.abort()

    def discard(self) -> None:
        """Delete the bag."""
        self.abort()
        shutil.rmtree(self.part)
