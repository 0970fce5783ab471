"""A store as a LeRobot v3 data set: states and actions in parquet, colour video beside them, described in JSON.

One row a step at 10 Hz: ``observation.state`` (10,), ``action`` (7,), and the columns that LeRobot keeps time and
episodes in. Colour is the image nearest to each step's depth, from the bags that the episodes were converted from or as
the store has it.
Source: https://github.com/huggingface/lerobot, codebase version v3.0.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from clar_core.control.spaces import TCP_DELTA
from clar_core.data.bag_episode import read_episode, windows
from clar_core.data.bag_images import ColorImages
from clar_core.data.bag_log import read_log
from clar_core.data.bags import BagError, BagReader
from clar_core.data.convert import bag_key, find_bags
from clar_core.data.export import check_output
from clar_core.data.mapping import OWN_NAMES, BagMapping
from clar_core.data.store import EpisodeInfo, Store, StoreError

FPS = 10
VIDEO_KEY = "observation.images.front"
_FILE = "chunk-000/file-000"
_STATE_NAMES = ["x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32", "gripper"]
_ACTION_NAMES = ["dx", "dy", "dz", "rx", "ry", "rz", "gripper"]

Image = NDArray[np.uint8]
Progress = Callable[[int, int], Any]


def export_lerobot(
    store: Store,
    output: Path,
    *,
    bags: Path | None = None,
    mapping: BagMapping = OWN_NAMES,
    robot_type: str = "franka_fr3",
    progress: Progress = lambda done, of: None,
) -> None:
    """Write the data set. Written beside its place and renamed when it is whole.

    Args:
        store: to export.
        output: directory to make.
        bags: folder of the bags that the store came from, for the video in full size; without it the video is of the
            images in the store, if it has any.
        mapping: names in the bags.
        robot_type: stored in ``info.json``.
        progress: called with (episodes done, episodes).

    Raises:
        StoreError: something is at ``output`` already, or the store is empty.
        BagError: a bag is missing, has no colour images, or gives other steps than the store holds.
    """
    check_output(store, output)
    if store.action_space != TCP_DELTA:
        raise StoreError(
            f"{store.directory}: a LeRobot data set has one row a step of {FPS} Hz, this store has actions of "
            f"{store.action_space.name}; --layout dp3 takes them"
        )
    part = output.with_name(output.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    sentences = list(dict.fromkeys(episode.instruction or episode.task for episode in store.episodes))
    has_video = bags is not None or store.image_size > 0
    video = _Video(part / f"videos/{VIDEO_KEY}/{_FILE}.mp4") if has_video else None
    found = {} if bags is None else {bag_key(bag): bag for bag in find_bags([bags])}
    rows: list[dict[str, Any]] = []
    for number, episode in enumerate(store.episodes):
        if video is not None:
            images = _stored(episode, store) if bags is None else _colors(found, episode, store, mapping)
            for image in images:
                video.add(image)
        rows.append(_episode_row(number, episode, video is not None))
        progress(number + 1, len(store.episodes))
    size = video.close() if video is not None else None
    _write_data(part, store, sentences)
    _write(part / f"meta/episodes/{_FILE}.parquet", pa.Table.from_pylist(rows))
    _write(part / "meta/tasks.parquet", _tasks(sentences))
    _write_json(part / "meta/stats.json", _stats(store))
    _write_json(part / "meta/info.json", _info(store, sentences, robot_type, size))
    part.rename(output)


def _write_data(part: Path, store: Store, sentences: list[str]) -> None:
    numbers = [sentences.index(e.instruction or e.task) for e in store.episodes]
    lengths = [len(episode) for episode in store.episodes]
    frames = np.concatenate([np.arange(n) for n in lengths])
    table = pa.table(
        {
            "observation.state": _vectors(store.read("state")),
            "action": _vectors(store.read("action")),
            "timestamp": pa.array((frames / FPS).astype(np.float32)),
            "frame_index": pa.array(frames.astype(np.int64)),
            "episode_index": pa.array(np.repeat(np.arange(len(lengths)), lengths)),
            "index": pa.array(np.arange(store.steps)),
            "task_index": pa.array(np.repeat(np.array(numbers, np.int64), lengths)),
        }
    )
    _write(part / f"data/{_FILE}.parquet", table)


def _vectors(values: NDArray[np.float32]) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).reshape(-1)), values.shape[1])


def _episode_row(number: int, episode: EpisodeInfo, has_video: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "episode_index": number,
        "tasks": [episode.instruction or episode.task],
        "length": len(episode),
        "data/chunk_index": 0,
        "data/file_index": 0,
        "dataset_from_index": episode.start,
        "dataset_to_index": episode.end,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
        "success": episode.success,
    }
    if has_video:
        row |= {
            f"videos/{VIDEO_KEY}/chunk_index": 0,
            f"videos/{VIDEO_KEY}/file_index": 0,
            f"videos/{VIDEO_KEY}/from_timestamp": episode.start / FPS,
            f"videos/{VIDEO_KEY}/to_timestamp": episode.end / FPS,
        }
    return row


def _tasks(sentences: list[str]) -> Any:
    """Sentences as the index of a pandas frame, which is how LeRobot looks them up."""
    column = {"field_name": "task_index", "name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    index = {"field_name": "task", "name": "task", "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [column | {"metadata": None}, index | {"metadata": None}],
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array(range(len(sentences)), pa.int64()), "task": pa.array(sentences)})
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def _stats(store: Store) -> dict[str, Any]:
    stats = {}
    for name, array in (("observation.state", "state"), ("action", "action")):
        values = store.read(array).astype(np.float64)
        stats[name] = {
            "min": values.min(axis=0).tolist(),
            "max": values.max(axis=0).tolist(),
            "mean": values.mean(axis=0).tolist(),
            "std": values.std(axis=0).tolist(),
            "count": [len(values)],
        }
    return stats


def _info(store: Store, sentences: list[str], robot_type: str, size: tuple[int, int] | None) -> dict[str, Any]:
    def number(kind: str) -> dict[str, Any]:
        return {"dtype": kind, "shape": [1], "names": None}

    features: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "shape": [10], "names": _STATE_NAMES},
        "action": {"dtype": "float32", "shape": [7], "names": _ACTION_NAMES},
        "timestamp": number("float32"),
        **{name: number("int64") for name in ("frame_index", "episode_index", "index", "task_index")},
    }
    if size is not None:
        features[VIDEO_KEY] = {
            "dtype": "video",
            "shape": [*size, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.fps": FPS, "video.height": size[0], "video.width": size[1], "video.channels": 3,
                "video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "has_audio": False,
            },
        }  # fmt: skip
    return {
        "codebase_version": "v3.0",
        "robot_type": robot_type,
        "total_episodes": len(store.episodes),
        "total_frames": store.steps,
        "total_tasks": len(sentences),
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 500,
        "fps": FPS,
        "splits": {"train": f"0:{len(store.episodes)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" if size else None,
        "features": features,
    }


def _colors(found: dict[str, Path], episode: EpisodeInfo, store: Store, mapping: BagMapping) -> Iterator[Image]:
    """The colour image (h, w, 3) nearest to each step of an episode."""
    name = str(episode.info.get("bag", ""))
    bag = found.get(name.split("#")[0])
    if bag is None:
        raise BagError(f"episode of bag {name!r}: that bag is not in the folder given for the video")
    with BagReader(bag) as reader:
        log = read_log(reader, mapping)
        window = windows(reader, log, mapping)[int(name.partition("#")[2] or 0)]
        stamps = read_episode(reader, log, window, store.spec, mapping).stamps_ns
        if len(stamps) != len(episode):
            raise BagError(f"{bag}: gives {len(stamps)} steps, the store holds {len(episode)}: convert it again")
        colors = ColorImages(reader, mapping)
        nearest = [colors.nearest(stamp) for stamp in stamps]
        if None in nearest:
            raise BagError(f"{bag}: no colour image within 150 ms of the step at {stamps[nearest.index(None)]} ns")
        messages = dict(colors.messages(set(nearest)))  # type: ignore[arg-type]
        for stamp in nearest:
            yield colors.pixels(messages[stamp])  # type: ignore[index]


def _stored(episode: EpisodeInfo, store: Store) -> Iterator[Image]:
    """The stored images (S, S, 3) of an episode."""
    yield from store.rows("image", episode)


class _Video:
    """One H.264 file at 10 Hz; every frame can be sought."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        import av

        self._container = av.open(str(path), "w")
        self._stream: Any = None
        self._frame = av.VideoFrame.from_ndarray
        self._size = (0, 0)

    def add(self, rgb: Image) -> None:
        if self._stream is None:
            self._size = (rgb.shape[0], rgb.shape[1])
            self._stream = self._container.add_stream("libx264", rate=FPS, options={"crf": "23", "g": "2"})
            self._stream.height, self._stream.width = self._size
            self._stream.pix_fmt = "yuv420p"
        if rgb.shape[:2] != self._size:
            raise StoreError(f"video: expected images of {self._size}, got {rgb.shape[:2]}: bags of two cameras")
        for packet in self._stream.encode(self._frame(np.ascontiguousarray(rgb), format="rgb24")):
            self._container.mux(packet)

    def close(self) -> tuple[int, int]:
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()
        return self._size


def _write(path: Path, table: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=4) + "\n", "utf-8")
