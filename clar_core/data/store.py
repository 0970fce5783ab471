"""Demonstrations on disk: one zarr v3 group that grows by whole episodes.

    point_cloud          (T, P, 3) float16  metres in the base frame, rows in farthest-point order; short clouds repeat
    point_count          (T,) int32         rows of the cloud that are not repetitions
    state                (T, 10) float32    proprioception
    action               (T, 7) float32     the label; (T, 10) where the store's attribute names another action space
    text                 (E, 512) uint8     instruction, UTF-8, zero padded
    meta/episode_ends    (E,) int64         index after the last step of each episode
    meta/episode_info    (E, 1024) uint8    JSON: task, success and what else is known, zero padded

and, where colour images are kept, ``image`` and what belongs to it, see ``data.stored_images``.

``point_cloud``, ``state``, ``action`` and ``meta/episode_ends`` are what readers of diffusion-policy datasets expect.
The array ``meta/episode_ends`` is written last, so it is the commit: steps beyond its last value belong to an episode
whose writer was interrupted, and the next writer overwrites them. float16 metres resolve 0.5 mm at 1 m, below the
noise of a depth camera.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from clar_core.control.spaces import TCP_DELTA, ActionSpace, action_space
from clar_core.data.episode import STATE_DIM, Episode, EpisodeError, PosedImage
from clar_core.data.stored_images import LENS, image_layout, image_rows, posed_images
from clar_core.geometry.points import farthest_point_sampling
from clar_core.observation.spec import ObservationSpec

FORMAT = "clar-store/1"
_TEXT_BYTES = 512
_INFO_BYTES = 1024
_STEPS_PER_CHUNK = 100
_CLOUD_STEPS_PER_CHUNK = 20
_IMAGE_STEPS_PER_CHUNK = 8
_ARRAYS = {
    "point_cloud": "float16",
    "point_count": "int32",
    "state": "float32",
    "action": "float32",
    "text": "uint8",
    "meta/episode_ends": "int64",
    "meta/episode_info": "uint8",
}


class StoreError(ValueError):
    """A store cannot be read or written. The message names the directory and the field, and what to do."""


@dataclass(frozen=True)
class EpisodeInfo:
    """What a store knows of one episode besides its steps; ``start`` and ``end`` index the arrays."""

    start: int
    end: int
    task: str
    instruction: str
    success: bool
    info: dict[str, Any]

    def __len__(self) -> int:
        return self.end - self.start


class StoreWriter:
    """Appends episodes to a store, creating it if it is not there.

    Args:
        directory: the store.
        spec: how the clouds were observed; an existing store must have been written with the same one.
        points_per_cloud: clouds are thinned to this many points, by farthest-point sampling.
        image_size: side of the square images of the steps; 0 keeps none, whatever the steps have.
        space: what the actions mean.

    Raises:
        StoreError: the directory is no store, or was written with another spec, cloud or image size, or action space.
    """

    def __init__(
        self,
        directory: Path | str,
        spec: ObservationSpec,
        *,
        points_per_cloud: int = 2048,
        image_size: int = 0,
        space: ActionSpace = TCP_DELTA,
    ) -> None:
        self.directory = Path(directory)
        if image_size < 0:
            raise StoreError(f"image_size: expected 0 (no images) or a number of pixels, got {image_size}")
        self._image_size = image_size
        self._space = space
        if points_per_cloud < spec.network_points:
            raise StoreError(
                f"points_per_cloud: expected at least network_points {spec.network_points}, got {points_per_cloud}"
            )
        if (self.directory / "zarr.json").exists():
            store = Store(self.directory)
            if lines := spec.differences(store.spec):
                raise StoreError(
                    f"{self.directory}: written with another observation spec ({'; '.join(lines)}); "
                    "choose another directory or the store's own spec"
                )
            self._points = store.points_per_cloud
            for name, there, asked in (
                ("points_per_cloud", self._points, points_per_cloud),
                ("image_size", store.image_size, image_size),
                ("action space", store.action_space.name, space.name),
            ):
                if there != asked:
                    raise StoreError(f"{self.directory}: {name} is {there} in this store, asked for {asked}")
            self._group = zarr.open_group(self.directory, mode="r+")
            self._steps, self._episodes = store.steps, len(store.episodes)
            return
        if self.directory.exists() and any(self.directory.iterdir()):
            raise StoreError(f"{self.directory}: not empty and not a store; choose another directory")
        self._points = points_per_cloud
        self._steps = self._episodes = 0
        self._group = self._create(spec)

    @property
    def steps(self) -> int:
        """Steps committed so far."""
        return self._steps

    @property
    def episodes(self) -> int:
        """Episodes committed so far."""
        return self._episodes

    def append(self, episode: Episode, *, thinned: bool = False) -> None:
        """Write one episode and commit it. After a crash the store holds it whole or not at all.

        Args:
            episode: to write.
            thinned: its clouds went through :func:`thin_episode` for this store already, in another process.

        Raises:
            StoreError: a text too long for its array, a step without the image that this store keeps, or actions of
                another space.
        """
        length = len(episode)
        if episode.action_space != self._space:
            raise StoreError(
                f"{self.directory}: holds actions of {self._space.name}, the episode's are of "
                f"{episode.action_space.name}; write it into another store"
            )
        try:
            images, lens = image_rows(episode.steps, self._image_size)
        except EpisodeError as error:
            raise StoreError(f"episode {error}") from error
        info = {"task": episode.task, "success": bool(episode.success), **episode.info, **lens}
        text, details = (
            _padded(episode.instruction, _TEXT_BYTES, "instruction"),
            _padded(json.dumps(info), _INFO_BYTES, "info"),
        )
        sampled = [step.cloud if thinned else _thin(step.cloud, self._points) for step in episode.steps]
        clouds = np.stack([np.resize(cloud, (self._points, 3)) for cloud in sampled])
        start, end = self._steps, self._steps + length
        self._put("point_cloud", start, clouds.astype(np.float16))
        self._put("point_count", start, np.array([len(cloud) for cloud in sampled], dtype=np.int32))
        self._put("state", start, np.stack([step.state for step in episode.steps]))
        self._put("action", start, np.stack([step.action for step in episode.steps]))
        for name, rows in images.items():
            self._put(name, start, rows)
        row = self._episodes
        self._put("text", row, text[None])
        self._put("meta/episode_info", row, details[None])
        self._put("meta/episode_ends", row, np.array([end], dtype=np.int64))
        self._steps, self._episodes = end, row + 1

    def _put(self, name: str, start: int, values: NDArray[Any]) -> None:
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        end = start + len(values)
        if array.shape[0] != end:
            array.resize((end, *array.shape[1:]))
        array[start:end] = values

    def _create(self, spec: ObservationSpec) -> zarr.Group:
        shapes: dict[str, tuple[int, ...]] = {
            "point_cloud": (self._points, 3),
            "point_count": (),
            "state": (STATE_DIM,),
            "action": (self._space.size,),
            "text": (_TEXT_BYTES,),
            "meta/episode_ends": (),
            "meta/episode_info": (_INFO_BYTES,),
        }
        group = zarr.open_group(self.directory, mode="w-")
        for name, row in shapes.items():
            rows = _CLOUD_STEPS_PER_CHUNK if name == "point_cloud" else _STEPS_PER_CHUNK
            group.create_array(
                name, shape=(0, *row), chunks=(rows, *row), dtype=_ARRAYS[name], compressors=ZstdCodec(level=3)
            )
        for name, (row, dtype) in image_layout(self._image_size).items():
            rows = _IMAGE_STEPS_PER_CHUNK if name in ("image", "image_depth", "depth_valid") else _STEPS_PER_CHUNK
            group.create_array(name, shape=(0, *row), chunks=(rows, *row), dtype=dtype, compressors=ZstdCodec(level=3))
        # Last, so that a half-made store is recognised as none.
        group.attrs.put(
            {
                "format": FORMAT,
                "observation": spec.to_dict(),
                "points_per_cloud": self._points,
                "image_size": self._image_size,
                "action_space": self._space.name,
            }
        )
        return group


class Store:
    """A store opened for reading.

    Attributes:
        spec: how its clouds were observed.
        points_per_cloud: rows of ``point_cloud``.
        image_size: side of the square images in pixels; 0 where there are none.
        action_space: what its actions mean.
        episodes: one ``EpisodeInfo`` per committed episode.

    Raises:
        StoreError: the directory is no store, or one of its fields is missing or malformed.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        if not (self.directory / "zarr.json").exists():
            raise StoreError(f"{self.directory}: no store here (zarr.json is missing); `clar data collect` makes one")
        try:
            self._group = zarr.open_group(self.directory, mode="r")
        except Exception as error:
            raise StoreError(f"{self.directory}: zarr.json cannot be read: {error}; restore it") from error
        attributes = dict(self._group.attrs)
        if attributes.get("format") != FORMAT:
            raise StoreError(
                f"{self.directory}: format: expected {FORMAT!r}, found {attributes.get('format')!r}; "
                "the store is unfinished or of another version: collect again into an empty directory"
            )
        self.points_per_cloud = int(str(attributes["points_per_cloud"]))
        observation = attributes["observation"]
        try:
            self.spec = ObservationSpec.from_dict(observation)  # type: ignore[arg-type]
            self.action_space = action_space(attributes.get("action_space", TCP_DELTA.name))
        except ValueError as error:
            raise StoreError(f"{self.directory}: {error}") from error
        self.image_size = int(str(attributes.get("image_size", 0)))
        images = {name: dtype for name, (_, dtype) in image_layout(self.image_size).items()}
        for name, dtype in (_ARRAYS | images).items():
            if name not in self._group:
                raise StoreError(f"{self.directory}: array {name!r} is missing; restore it or collect again")
            if (found := self._array(name).dtype) != np.dtype(dtype):
                raise StoreError(f"{self.directory}: array {name!r}: expected {dtype}, found {found}")
        if (row := self._array("action").shape[1:]) != (self.action_space.size,):
            raise StoreError(
                f"{self.directory}: array 'action': expected rows of {self.action_space.size} numbers "
                f"({self.action_space.name}), found {row}"
            )
        self.episodes = self._read_episodes()

    @property
    def steps(self) -> int:
        """Committed steps."""
        return self.episodes[-1].end if self.episodes else 0

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """One of the arrays over committed steps, all when no range is given: point_cloud, state, image, …."""
        array = self._array(name)
        if array.shape[0] < self.steps:
            raise StoreError(
                f"{self.directory}: array {name!r}: expected {self.steps} steps, found {array.shape[0]}; "
                "the store was damaged after writing: restore it or collect again"
            )
        return np.asarray(array[start : self.steps if stop is None else min(stop, self.steps)])

    def rows(self, name: str, episode: EpisodeInfo) -> NDArray[Any]:
        """One of the arrays over the steps of one episode."""
        return np.asarray(self._array(name)[episode.start : episode.end])

    def images(self, episode: EpisodeInfo) -> list[PosedImage | None]:
        """The images of an episode's steps; None for each where the store keeps none."""
        if self.image_size == 0:
            return [None] * len(episode)
        rows = {name: self.rows(name, episode) for name in image_layout(self.image_size) if name != "depth_valid"}
        return [*posed_images(rows, episode.info[LENS])]

    def fingerprint(self) -> str:
        """SHA-256 over what identifies the data: spec, episode table, states and actions."""
        digest = hashlib.sha256(json.dumps(self.spec.to_dict(), sort_keys=True).encode())
        table = [(e.start, e.end, e.task, e.instruction, e.success, e.info) for e in self.episodes]
        digest.update(json.dumps(table, sort_keys=True).encode())
        digest.update(self.read("state").tobytes())
        digest.update(self.read("action").tobytes())
        return digest.hexdigest()

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        return array

    def _read_episodes(self) -> list[EpisodeInfo]:
        ends = np.asarray(self._array("meta/episode_ends")[:])
        # A writer killed between growing this array and filling it leaves a zero at its end.
        ends = ends[: len(np.trim_zeros(ends, "b"))]
        if len(ends) and not (np.diff(ends, prepend=0) > 0).all():
            raise StoreError(f"{self.directory}: meta/episode_ends: expected growing numbers, found {ends[:20]}")
        texts = np.asarray(self._array("text")[: len(ends)])
        infos = np.asarray(self._array("meta/episode_info")[: len(ends)])
        episodes = []
        start = 0
        for i, end in enumerate(ends.tolist()):
            try:
                instruction = _unpadded(texts[i])
                info = json.loads(_unpadded(infos[i]))
                task, success = str(info.pop("task")), bool(info.pop("success"))
            except KeyError as missing:
                raise StoreError(
                    f"{self.directory}: meta/episode_info {i} has no label {missing}, found {sorted(info)}: which"
                    " episodes succeeded, and at what, must be known; convert the bags again or use StoreWriter"
                ) from missing
            except (ValueError, IndexError) as error:
                raise StoreError(f"{self.directory}: meta/episode_info {i} cannot be read: {error}") from error
            episodes.append(EpisodeInfo(start, end, task, instruction, success, info))
            start = end
        return episodes


def thin_episode(episode: Episode, points_per_cloud: int) -> Episode:
    """The episode with its clouds in farthest-point order, as a store keeps them: the costly part of appending it."""
    steps = [replace(step, cloud=_thin(step.cloud, points_per_cloud)) for step in episode.steps]
    return replace(episode, steps=steps)


def _thin(cloud: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The cloud in farthest-point order, at most ``count`` points."""
    return cloud[farthest_point_sampling(cloud, min(count, len(cloud)))]


def _padded(text: str, size: int, field: str) -> NDArray[np.uint8]:
    encoded = text.encode()
    if len(encoded) > size:
        raise StoreError(f"episode {field}: expected at most {size} bytes of UTF-8, got {len(encoded)}")
    row = np.zeros(size, dtype=np.uint8)
    row[: len(encoded)] = np.frombuffer(encoded, dtype=np.uint8)
    return row


def _unpadded(row: NDArray[np.uint8]) -> str:
    return bytes(row[: len(np.trim_zeros(row, "b"))]).decode()


def check_alike(stores: Sequence[Store]) -> None:
    """Raise StoreError naming the first store that was observed otherwise than the first one."""
    first = stores[0]
    for store in stores[1:]:
        if lines := first.spec.differences(store.spec):
            raise StoreError(f"{store.directory}: observed otherwise than {first.directory}: {'; '.join(lines)}")
        if store.action_space != first.action_space:
            raise StoreError(
                f"{store.directory}: holds actions of {store.action_space.name}, but {first.directory} those of "
                f"{first.action_space.name}"
            )
        if store.points_per_cloud != first.points_per_cloud:
            raise StoreError(
                f"{store.directory}: points_per_cloud is {store.points_per_cloud}, "
                f"but {first.points_per_cloud} in {first.directory}"
            )
