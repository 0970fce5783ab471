"""Finishing bags that were cut off: by kill -9, by a full disk, by a power cut.

An MCAP file is a sequence of records: a header, then chunks of messages, then an index. A recording that is cut off
lacks the index and may end inside a record. Recovery keeps every whole chunk, cuts the rest off, and writes the index
and ``metadata.yaml`` in place: it needs next to no disk space, and doing it twice changes nothing.

Source of the layout: the MCAP specification, https://mcap.dev/spec.
"""

from __future__ import annotations

import errno
import os
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from mcap import records
from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.opcode import Opcode
from mcap.stream_reader import get_chunk_data_stream

from clar_core.data.bags import RECORDING_SUFFIX, BagError, make_typestore, register_definition

_MAGIC = b"\x89MCAP0\r\n"
_RECORD_HEADER = struct.Struct("<BQ")
# A full disk, a user's quota, a limit on the size of one file.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Recovered:
    """What recovery kept: the finished bag, messages by topic, seconds covered, and bytes that were cut off."""

    path: Path
    messages: dict[str, int]
    duration_s: float
    lost_bytes: int


@dataclass
class _Chunk:
    """A whole chunk of the file, as its index entry describes it; messages are (time, offset) by channel."""

    start: int
    end: int
    compression: str
    compressed_size: int
    uncompressed_size: int
    messages: dict[int, list[tuple[int, int]]]
    index_offsets: dict[int, int] = field(default_factory=dict)
    index_length: int = 0

    @property
    def times(self) -> list[int]:
        return [time for entries in self.messages.values() for time, _ in entries]


@dataclass
class _Contents:
    """What a scan of the file found, and how many bytes at its end belong to nothing whole."""

    schemas: dict[int, records.Schema] = field(default_factory=dict)
    channels: dict[int, records.Channel] = field(default_factory=dict)
    chunks: list[_Chunk] = field(default_factory=list)
    torn_bytes: int = 0

    def counts(self) -> Counter[int]:
        total: Counter[int] = Counter()
        for chunk in self.chunks:
            for channel, entries in chunk.messages.items():
                total[channel] += len(entries)
        return total

    def span_ns(self) -> tuple[int, int]:
        times = [time for chunk in self.chunks if chunk.times for time in (min(chunk.times), max(chunk.times))]
        return (min(times), max(times)) if times else (0, 0)


def recover_bag(folder: Path | str, *, notes: Mapping[str, str] | None = None) -> Recovered:
    """Finish a cut-off bag in place. A folder named ``….recording`` gets its final name.

    Args:
        folder: rosbag2 folder with one ``.mcap`` file.
        notes: custom data to store beside ``recovered``, which says how much was cut off.

    Raises:
        BagError: no such folder, not exactly one MCAP file, not an MCAP file, or no whole chunk in it.
        OSError: no space even for the index in place of the last chunks.
    """
    folder = Path(folder)
    file = _single_mcap(folder)
    final = folder.with_name(folder.name.removesuffix(RECORDING_SUFFIX))
    if final != folder and final.exists():
        raise BagError(f"{folder}: cannot become {final}, which exists; move one of them away")
    with file.open("rb") as stream:
        contents = _scan(stream, file)
    while True:
        if not any(chunk.messages for chunk in contents.chunks):
            raise BagError(f"{file}: no whole chunk of messages, so nothing can be recovered; delete {folder}")
        try:
            _write_index(file, contents)
            _write_metadata(folder, file, contents, dict(notes or {}))
            break
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            # The index takes the place of the newest messages: a bag without an index cannot be read at all.
            dropped = contents.chunks.pop()
            contents.torn_bytes += dropped.end - dropped.start
    if final != folder:
        os.rename(folder, final)
    counts = contents.counts()
    first, last = contents.span_ns()
    messages = {channel.topic: counts[number] for number, channel in contents.channels.items()}
    return Recovered(final, messages, (last - first) * 1e-9, contents.torn_bytes)


def _single_mcap(folder: Path) -> Path:
    if not folder.is_dir():
        raise BagError(f"{folder}: expected a rosbag2 folder")
    files = sorted(folder.glob("*.mcap"))
    if len(files) != 1:
        raise BagError(f"{folder}: expected one .mcap file to recover, found {len(files)}")
    return files[0]


def _scan(stream: BinaryIO, file: Path) -> _Contents:
    """Read whole records until the file, or its data section, ends."""
    size = os.fstat(stream.fileno()).st_size
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise BagError(f"{file}: not an MCAP file")
    contents = _Contents()
    while True:
        start = stream.tell()
        header = stream.read(_RECORD_HEADER.size)
        opcode, length = _RECORD_HEADER.unpack(header) if len(header) == _RECORD_HEADER.size else (0, 0)
        end = start + _RECORD_HEADER.size + length
        if opcode in (Opcode.DATA_END, Opcode.FOOTER):
            return contents
        if opcode == 0 or end > size or not _read_record(stream.read(length), opcode, start, end, contents):
            contents.torn_bytes = size - start
            return contents


def _read_record(body: bytes, opcode: int, start: int, end: int, contents: _Contents) -> bool:
    """Add a record to the contents; False when its content is damaged."""
    if opcode == Opcode.CHUNK:
        try:
            chunk = records.Chunk.read(ReadDataStream(BytesIO(body)))
            messages = _read_chunk(chunk, contents)
        except Exception:
            # A block that the file system lost. Decompression and parsing fail in many ways, and all mean this.
            return False
        contents.chunks.append(
            _Chunk(start, end, chunk.compression, len(chunk.data), chunk.uncompressed_size, messages)
        )
    elif opcode == Opcode.MESSAGE_INDEX and contents.chunks:
        (channel,) = struct.unpack_from("<H", body)
        contents.chunks[-1].index_offsets[channel] = start
        contents.chunks[-1].index_length += end - start
    return True


def _read_chunk(chunk: records.Chunk, contents: _Contents) -> dict[int, list[tuple[int, int]]]:
    """Time and offset of every message of a chunk, by channel; its schemas and channels go to the contents."""
    stream, length = get_chunk_data_stream(chunk, validate_crc=True)
    messages: dict[int, list[tuple[int, int]]] = {}
    while stream.count < length:
        offset = stream.count
        opcode, size = stream.read1(), stream.read8()
        if opcode == Opcode.SCHEMA:
            schema = records.Schema.read(stream)
            contents.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = records.Channel.read(stream)
            contents.channels[channel.id] = channel
        elif opcode == Opcode.MESSAGE:
            message = records.Message.read(stream, size)
            messages.setdefault(message.channel_id, []).append((message.log_time, offset))
        else:
            stream.read(size)
    return messages


def _write_index(file: Path, contents: _Contents) -> None:
    """Cut the file after its last whole chunk and append what a reader needs."""
    last = contents.chunks[-1]
    last.index_offsets, last.index_length = {}, 0
    builder = RecordBuilder()
    for channel_id, entries in last.messages.items():
        last.index_offsets[channel_id] = last.end + builder.count
        records.MessageIndex(channel_id, entries).write(builder)
    last.index_length = builder.count
    records.DataEnd(0).write(builder)
    base = last.end
    summary_start = base + builder.count
    groups: list[records.SummaryOffset] = []
    for opcode, group in (
        (Opcode.SCHEMA, list(contents.schemas.values())),
        (Opcode.CHANNEL, list(contents.channels.values())),
        (Opcode.STATISTICS, [_statistics(contents)]),
        (Opcode.CHUNK_INDEX, [_chunk_index(chunk) for chunk in contents.chunks]),
    ):
        group_start = base + builder.count
        for record in group:
            record.write(builder)
        groups.append(records.SummaryOffset(opcode, group_start, base + builder.count - group_start))
    offsets_start = base + builder.count
    for offset in groups:
        offset.write(builder)
    records.Footer(summary_start, offsets_start, 0).write(builder)
    tail = memoryview(builder.end() + _MAGIC)  # type: ignore[no-untyped-call]
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, base)
        while tail:
            written = os.pwrite(descriptor, tail, base)
            base, tail = base + written, tail[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _statistics(contents: _Contents) -> records.Statistics:
    counts = contents.counts()
    first, last = contents.span_ns()
    return records.Statistics(
        attachment_count=0,
        channel_count=len(contents.channels),
        channel_message_counts={number: counts[number] for number in contents.channels},
        chunk_count=len(contents.chunks),
        message_count=counts.total(),
        message_end_time=last,
        message_start_time=first,
        metadata_count=0,
        schema_count=len(contents.schemas),
    )


def _chunk_index(chunk: _Chunk) -> records.ChunkIndex:
    return records.ChunkIndex(
        chunk_length=chunk.end - chunk.start,
        chunk_start_offset=chunk.start,
        compression=chunk.compression,
        compressed_size=chunk.compressed_size,
        message_end_time=max(chunk.times, default=0),
        message_index_length=chunk.index_length,
        message_index_offsets=chunk.index_offsets,
        message_start_time=min(chunk.times, default=0),
        uncompressed_size=chunk.uncompressed_size,
    )


def _write_metadata(folder: Path, file: Path, contents: _Contents, notes: dict[str, str]) -> None:
    """metadata.yaml, version 9, of what the file holds now."""
    counts = contents.counts()
    first, last = contents.span_ns()
    span = {"starting_time": {"nanoseconds_since_epoch": first}, "duration": {"nanoseconds": last - first}}
    topics = [
        {
            "topic_metadata": {
                "name": channel.topic,
                "type": contents.schemas[channel.schema_id].name,
                "serialization_format": channel.message_encoding,
                "offered_qos_profiles": yaml.safe_load(channel.metadata.get("offered_qos_profiles", "")) or [],
                "type_description_hash": _type_hash(contents.schemas[channel.schema_id]),
            },
            "message_count": counts[number],
        }
        for number, channel in contents.channels.items()
    ]
    information: dict[str, Any] = {
        "version": 9,
        "storage_identifier": "mcap",
        "relative_file_paths": [file.name],
        **span,
        "message_count": counts.total(),
        "topics_with_message_count": topics,
        "compression_format": "",
        "compression_mode": "",
        "files": [{"path": file.name, **span, "message_count": counts.total()}],
        "custom_data": {**notes, "recovered": f"the recording was cut off; {contents.torn_bytes} bytes were lost"},
        "ros_distro": "rosbags",
    }
    part = folder / "metadata.yaml.part"
    part.write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}, sort_keys=False), "utf-8")
    part.replace(folder / "metadata.yaml")


def _type_hash(schema: records.Schema) -> str:
    """RIHS01 hash of a message type, from the definition in the bag; empty where that cannot be parsed."""
    store = make_typestore()
    try:
        register_definition(store, schema.name, schema.encoding, schema.data.decode())
        return store.hash_rihs01(schema.name)
    except Exception:
        return ""
