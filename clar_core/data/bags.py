"""Reading rosbag2 bags without ROS: typed messages in order of time, from MCAP or sqlite3, with clear errors.

Definitions of types that rosbags does not know (``clar_interfaces``, a site's own) are taken from the bag itself, or
from the ``.msg`` files of a folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat, Qos
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
except ImportError:
    from backports import zstd

RECORDING_SUFFIX = ".recording"
"""Ends the folder's name of a bag that is still being written, or was cut off."""


class BagError(ValueError):
    """A bag cannot be read as asked; the message names the file and what to do."""


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag: message type, number of messages, and the quality of service its publishers offered."""

    name: str
    msgtype: str
    count: int
    qos: tuple[Qos, ...]


@dataclass(frozen=True)
class BagMessage:
    """One message: topic, time of reception in nanoseconds, and the message with ROS's field names."""

    topic: str
    stamp_ns: int
    message: Any


def make_typestore(*interface_folders: Path) -> Typestore:
    """Message definitions of ROS 2 Jazzy, and those of interface packages.

    Args:
        interface_folders: roots of packages, each with ``msg/*.msg`` inside; the folder's name is the package's.

    Raises:
        BagError: a folder has no ``msg/*.msg``, or a definition cannot be parsed.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    for folder in interface_folders:
        files = sorted((folder / "msg").glob("*.msg"))
        if not files:
            raise BagError(f"{folder}: expected message definitions in msg/*.msg, found none")
        definitions: dict[str, Any] = {}
        for file in files:
            try:
                definitions.update(get_types_from_msg(file.read_text("utf-8"), f"{folder.name}/msg/{file.stem}"))
            except Exception as error:
                raise BagError(f"{file}: not a message definition: {error}") from error
        _register(store, definitions)
    return store


def register_definition(store: Typestore, msgtype: str, encoding: str, text: str) -> None:
    """Add a definition as bags embed it (``ros2msg`` or ``ros2idl``), with the types it consists of, if it is new.

    Raises whatever rosbags raises for text that is not a definition.
    """
    if msgtype in store.fielddefs:
        return
    if encoding == "ros2msg":
        _register(store, get_types_from_msg(text, msgtype))
    elif encoding == "ros2idl":
        _register(store, get_types_from_idl(text))


class _DefinitionError(ValueError):
    def __init__(self, msgtype: str) -> None:
        super().__init__(msgtype)
        self.msgtype = msgtype


@lru_cache(maxsize=16)
def _typestore(definitions: tuple[tuple[str, str, str], ...]) -> Typestore:
    """Types by (message type, encoding, text); bags with the same share their compiled readers: 60 ms a bag."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for msgtype, encoding, text in definitions:
        try:
            register_definition(store, msgtype, encoding, text)
        except Exception as error:
            raise _DefinitionError(msgtype) from error
    return store


class BagReader:
    """A bag opened for reading; a context manager.

    Args:
        path: a rosbag2 folder, or a single ``.mcap`` or ``.db3`` file.

    Raises:
        BagError: nothing there, not a bag, truncated, or without metadata.yaml.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._reader = _open(self.path)
        self._typestore = self._types()
        self.topics = {topic.name: topic for topic in self._list_topics()}

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. Reading further is an error."""
        if self._reader.is_open:
            self._reader.close()

    @property
    def duration_s(self) -> float:
        """Seconds from the first message to the last; 0 for an empty bag."""
        return max(0, self._reader.duration - 1) * 1e-9

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return self._reader.message_count

    @property
    def notes(self) -> dict[str, str]:
        """The bag's custom data: what the recorder noted about the episode."""
        return dict(self._reader.storage.metadata.custom or {})

    def messages(
        self, topics: Iterable[str] | None = None, *, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Messages in order of reception.

        Args:
            topics: which ones, all when None.
            start_ns: leave out what was received before.
            stop_ns: leave out what was received at that time or later.

        Raises:
            BagError: a topic that the bag does not have, a type without a definition, or data that does not fit it.
        """
        for connection, stamp_ns, data in self._raw(topics, start_ns, stop_ns):
            yield BagMessage(connection.topic, stamp_ns, self._decode(connection, stamp_ns, data))

    def arrivals(self, decoded: Iterable[str]) -> Iterator[BagMessage]:
        """All messages in order of reception; those of topics not in ``decoded`` with None for their content.

        Raises BagError as :meth:`messages` does.
        """
        wanted = set(decoded)
        for connection, stamp_ns, data in self._raw(None, None, None):
            message = self._decode(connection, stamp_ns, data) if connection.topic in wanted else None
            yield BagMessage(connection.topic, stamp_ns, message)

    def _decode(self, connection: Connection, stamp_ns: int, data: bytes) -> Any:
        try:
            return self._typestore.deserialize_cdr(data, connection.msgtype)
        except KeyError as error:
            raise BagError(
                f"{self.path}: topic {connection.topic}: no definition of {connection.msgtype} in the bag; "
                "record it again with a recorder that embeds definitions, or leave the topic out"
            ) from error
        except Exception as error:
            raise BagError(
                f"{self.path}: topic {connection.topic}, message at {stamp_ns} ns: does not fit "
                f"{connection.msgtype}: {error}"
            ) from error

    def raw_messages(self, topics: Iterable[str] | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time of reception in ns, serialized message) in order of reception. Raises BagError as above."""
        for connection, stamp_ns, data in self._raw(topics, None, None):
            yield connection.topic, stamp_ns, data

    def _raw(
        self, topics: Iterable[str] | None, start_ns: int | None, stop_ns: int | None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        wanted = set(self.topics) if topics is None else set(topics)
        if missing := sorted(wanted - set(self.topics)):
            raise BagError(
                f"{self.path}: no topic {missing[0]}; the bag has {', '.join(sorted(self.topics)) or 'none'}"
            )
        connections = [connection for connection in self._reader.connections if connection.topic in wanted]
        if not connections:
            return
        try:
            yield from self._reader.messages(connections, start=start_ns, stop=stop_ns)
        except (ReaderError, zstd.ZstdError) as error:
            raise BagError(
                f"{self.path}: damaged: {error}; `clar data recover {self.path}` keeps what is whole"
            ) from error

    def _types(self) -> Typestore:
        """ROS's own types, and those that the bag defines itself."""
        encodings = {MessageDefinitionFormat.MSG: "ros2msg", MessageDefinitionFormat.IDL: "ros2idl"}
        try:
            return _typestore(
                tuple(
                    (connection.msgtype, encodings.get(connection.msgdef.format, ""), connection.msgdef.data)
                    for connection in self._reader.connections
                )
            )
        except _DefinitionError as error:
            topic = next(c.topic for c in self._reader.connections if c.msgtype == error.msgtype)
            raise BagError(
                f"{self.path}: topic {topic}: definition of {error.msgtype} cannot be parsed: {error.__cause__}"
            ) from error

    def _list_topics(self) -> Iterator[BagTopic]:
        for connection in self._reader.connections:
            extra = connection.ext
            qos = tuple(extra.offered_qos_profiles) if isinstance(extra, ConnectionExtRosbag2) else ()
            yield BagTopic(connection.topic, connection.msgtype, connection.msgcount, qos)


def _open(path: Path) -> Reader:
    if not path.exists():
        raise BagError(f"{path}: no such bag")
    if path.is_dir() and not (path / "metadata.yaml").exists():
        if any(path.glob("*.mcap")):
            raise BagError(
                f"{path}: no metadata.yaml, so the recording was cut off; `clar data recover {path}` finishes it"
            )
        raise BagError(f"{path}: not a rosbag2 folder: expected metadata.yaml and *.mcap or *.db3")
    try:
        reader = Reader(path)
        reader.open()
    except ReaderError as error:
        raise BagError(
            f"{path}: not a readable bag: {error}; `clar data recover {path}` keeps what is whole"
        ) from error
    except Exception as error:
        raise BagError(f"{path}: not a readable bag: {type(error).__name__}: {error}") from error
    return reader


def _register(store: Typestore, definitions: dict[str, Any]) -> None:
    """Add definitions; those the store has already stay as they are (rosbags refuses to change them)."""
    new = {name: definition for name, definition in definitions.items() if name not in store.fielddefs}
    if new:
        store.register(new)
