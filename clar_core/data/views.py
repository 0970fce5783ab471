"""Posed RGB-D views on disk, the data of pre-training: one zarr v3 group that grows by whole episodes.

An *instant* is what all cameras saw at one time; it has a sentence. Its *views* are, each, the cloud of a depth camera
in the base frame and the image of the colour camera beside it, with that very image's intrinsics, pose and depth.

    cloud                (V, P, 3) float16   metres in the base frame, rows in farthest-point order; short ones repeat
    cloud_count          (V,) int32          rows of the cloud that are not repetitions
    image                (V, S, S, 3) uint8  RGB, the whole image resized (anisotropic) to S pixels
    image_depth          (V, S, S) uint16    mm along the image's optical axis, 0 where there is none
    labels               (V, S, S) uint8     segmentation, an index into the attribute ``labels``; 255 unknown
    intrinsics           (V, 9) float64      fx fy cx cy k1 k2 p1 p2 k3 of the resized image
    T_base_image         (V, 4, 4) float64   maps points of the image's optical frame to the base frame
    camera               (V,) int32          number of a camera that never moves, -1 for any other
    instant              (V,) int32          which instant a view belongs to
    state                (I, 10) float32     proprioception
    text                 (I, 512) uint8      sentence, UTF-8, zero padded
    info                 (I, 2048) uint8     JSON: episode, instruction_id and what else is known, zero padded
    episode_views        (E,) int64          index after the last view of each episode

``episode_views`` is written last, so it is the commit, as in ``data.store``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from clar_core.data.store import FORMAT as DEMONSTRATIONS_FORMAT
from clar_core.data.store import StoreError
from clar_core.data.stored_images import intrinsics_from, intrinsics_row
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.points import farthest_point_sampling
from clar_core.observation.spec import ObservationSpec

FORMAT = "clar-views/1"
UNKNOWN_LABEL = 255
_TEXT_BYTES, _INFO_BYTES, _CHUNK = 512, 2048, 8


@dataclass(frozen=True, eq=False)
class View:
    """What one RGB-D camera saw.

    Attributes:
        cloud: (n, 3) float32, metres in the base frame, cropped, as ``build_cloud`` gives it.
        image: (S, S, 3) uint8 RGB.
        image_depth: (S, S) uint16, mm along the image's optical axis, 0 where there is none.
        intrinsics: of ``image``, lens included.
        T_base_image: (4, 4), maps points of the image's optical frame to the base frame.
        labels: (S, S) uint8 segmentation, or ``None``.
        camera: number of a camera that stands still in the whole set; -1 for any other.
    """

    cloud: NDArray[np.float32]
    image: NDArray[np.uint8]
    image_depth: NDArray[np.uint16]
    intrinsics: Intrinsics
    T_base_image: NDArray[np.float64]
    labels: NDArray[np.uint8] | None = None
    camera: int = -1


@dataclass(frozen=True, eq=False)
class Instant:
    """Views of one time, with the sentence that the robot was given.

    Attributes:
        views: at least one.
        state: (10,) float32 proprioception.
        sentence: the instruction.
        instruction_id: what the sentence means; paraphrases share it.
        info: what else is known, JSON values.
    """

    views: Sequence[View]
    state: NDArray[np.float32]
    sentence: str
    instruction_id: str
    info: dict[str, Any] = field(default_factory=dict)


class ViewWriter:
    """Appends episodes to a set of views, creating it if it is not there.

    Args:
        directory: the set.
        spec: how the clouds were observed; an existing set must have been written with the same one.
        image_size: S, pixels.
        labels: names of the segmentation's labels; empty where there is no segmentation.
        points_per_cloud: clouds are thinned to this many points.

    Raises:
        StoreError: the directory is no set of views, or one with other settings.
    """

    def __init__(
        self,
        directory: Path | str,
        spec: ObservationSpec,
        *,
        image_size: int = 224,
        labels: Sequence[str] = (),
        points_per_cloud: int = 2048,
    ) -> None:
        self.directory = Path(directory)
        attributes: dict[str, Any] = {
            "format": FORMAT,
            "observation": spec.to_dict(),
            "image_size": image_size,
            "labels": list(labels),
            "points_per_cloud": points_per_cloud,
        }
        self._size, self._points = image_size, points_per_cloud
        if (self.directory / "zarr.json").exists():
            there = Views(self.directory)
            for name, value in attributes.items():
                if there.attributes[name] != value:
                    raise StoreError(
                        f"{self.directory}: {name} is {there.attributes[name]!r} in this set, asked for {value!r}; "
                        "choose another directory"
                    )
            self._group = zarr.open_group(self.directory, mode="r+")
            self._views, self._instants, self._episodes = there.views, there.instants, there.episodes
            return
        if self.directory.exists() and any(self.directory.iterdir()):
            raise StoreError(f"{self.directory}: not empty and not a set of views; choose another directory")
        self._views = self._instants = self._episodes = 0
        self._group = zarr.open_group(self.directory, mode="w-")
        for name, (row, dtype) in _layout(image_size, points_per_cloud).items():
            rows = _CHUNK if len(row) > 1 and name != "T_base_image" else 256
            self._group.create_array(
                name, shape=(0, *row), chunks=(rows, *row), dtype=dtype, compressors=ZstdCodec(level=3)
            )
        self._group.attrs.put(attributes)

    @property
    def episodes(self) -> int:
        """Episodes committed so far."""
        return self._episodes

    def append(self, instants: Sequence[Instant]) -> None:
        """Write one episode and commit it. After a crash the set holds it whole or not at all.

        Raises:
            StoreError: an array of the wrong shape or type, named.
        """
        views = [view for instant in instants for view in instant.views]
        for view in views:
            self._check(view)
        sampled = [_thin(view.cloud, self._points) for view in views]
        blank = np.full((self._size, self._size), UNKNOWN_LABEL, dtype=np.uint8)
        start = self._views
        self._put("cloud", start, np.stack([np.resize(c, (self._points, 3)) for c in sampled]).astype(np.float16))
        self._put("cloud_count", start, np.array([len(c) for c in sampled], dtype=np.int32))
        self._put("image", start, np.stack([v.image for v in views]))
        self._put("image_depth", start, np.stack([v.image_depth for v in views]))
        self._put("labels", start, np.stack([blank if v.labels is None else v.labels for v in views]))
        self._put("intrinsics", start, np.stack([intrinsics_row(v.intrinsics) for v in views]))
        self._put("T_base_image", start, np.stack([v.T_base_image for v in views]))
        self._put("camera", start, np.array([v.camera for v in views], dtype=np.int32))
        owner = [self._instants + i for i, instant in enumerate(instants) for _ in instant.views]
        self._put("instant", start, np.array(owner, dtype=np.int32))
        first = self._instants
        self._put("state", first, np.stack([np.asarray(i.state, dtype=np.float32) for i in instants]))
        self._put("text", first, np.stack([_padded(i.sentence, _TEXT_BYTES) for i in instants]))
        infos = [
            {
                "episode": self._episodes,
                "instruction_id": i.instruction_id,
                "lens": i.views[0].intrinsics.model,
                **i.info,
            }
            for i in instants
        ]
        self._put("info", first, np.stack([_padded(json.dumps(info), _INFO_BYTES) for info in infos]))
        self._put("episode_views", self._episodes, np.array([start + len(views)], dtype=np.int64))
        self._views, self._instants, self._episodes = start + len(views), first + len(instants), self._episodes + 1

    def _check(self, view: View) -> None:
        shapes = {"image": (self._size, self._size, 3), "image_depth": (self._size,) * 2, "labels": (self._size,) * 2}
        types = {"image": np.uint8, "image_depth": np.uint16, "labels": np.uint8}
        for name, shape in shapes.items():
            value = getattr(view, name)
            if value is not None and (value.shape != shape or value.dtype != types[name]):
                raise StoreError(
                    f"view.{name}: expected {np.dtype(types[name])} of shape {shape}, got {value.dtype} {value.shape}"
                )
        if (view.intrinsics.width, view.intrinsics.height) != (self._size, self._size):
            raise StoreError(
                f"view.intrinsics: expected those of the resized image, {self._size} x {self._size}, got "
                f"{view.intrinsics.width} x {view.intrinsics.height}; use Intrinsics.scaled"
            )
        if len(view.cloud) == 0:
            raise StoreError("view.cloud: expected at least one point, got none")

    def _put(self, name: str, start: int, values: NDArray[Any]) -> None:
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        end = start + len(values)
        if array.shape[0] != end:
            array.resize((end, *array.shape[1:]))
        array[start:end] = values


class Views:
    """A set of views opened for reading.

    Attributes:
        spec: how its clouds were observed.
        attributes: ``format``, ``observation``, ``image_size``, ``labels``, ``points_per_cloud``.
        episodes, instants, views: how many are committed.

    Raises:
        StoreError: the directory is no set of views, or one of its fields is missing or malformed.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        if not (self.directory / "zarr.json").exists():
            raise StoreError(
                f"{self.directory}: no set of views here (zarr.json is missing); `clar data views` makes one"
            )
        try:
            self._group = zarr.open_group(self.directory, mode="r")
        except Exception as error:
            raise StoreError(f"{self.directory}: zarr.json cannot be read: {error}; restore it") from error
        self.attributes: dict[str, Any] = dict(self._group.attrs)
        if (found := self.attributes.get("format")) != FORMAT:
            hint = "the set is unfinished or of another version: make it again in an empty directory"
            if found == DEMONSTRATIONS_FORMAT:
                hint = (
                    "this store of demonstrations holds clouds and no images, which pre-training aligns them with; "
                    "convert its bags with --image-size 224, make a set of posed images with `clar data views`, or "
                    "write one with data.views.ViewWriter"
                )
            raise StoreError(f"{self.directory}: format: expected {FORMAT!r}, found {found!r}; {hint}")
        try:
            self.spec = ObservationSpec.from_dict(self.attributes["observation"])
        except ValueError as error:
            raise StoreError(f"{self.directory}: {error}") from error
        for name, (_, dtype) in _layout(self.attributes["image_size"], self.attributes["points_per_cloud"]).items():
            if name not in self._group:
                raise StoreError(f"{self.directory}: array {name!r} is missing; restore it or make the set again")
            if (kind := self._array(name).dtype) != np.dtype(dtype):
                raise StoreError(f"{self.directory}: array {name!r}: expected {dtype}, found {kind}")
        ends = np.asarray(self._array("episode_views")[:])
        self.episode_views = ends[: len(np.trim_zeros(ends, "b"))]
        self.episodes = len(self.episode_views)
        self.views = int(self.episode_views[-1]) if self.episodes else 0
        self.instant = self.read("instant")
        self.instants = int(self.instant[-1]) + 1 if self.views else 0
        texts, infos = (np.asarray(self._array(name)[: self.instants]) for name in ("text", "info"))
        self.sentences = [_unpadded(row) for row in texts]
        self.infos: list[dict[str, Any]] = [json.loads(_unpadded(row)) for row in infos]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the segmentation's labels; empty where there is no segmentation."""
        return tuple(self.attributes["labels"])

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows of one of the arrays of views (V, ...); of all committed views when left out.

        Raises:
            StoreError: the array is shorter than what was committed.
        """
        array = self._array(name)
        if array.shape[0] < self.views:
            raise StoreError(
                f"{self.directory}: array {name!r}: expected {self.views} views, found {array.shape[0]}; "
                "the set was damaged after writing: restore it or make it again"
            )
        return np.asarray(array[start : self.views if stop is None else stop])

    def states(self) -> NDArray[np.float32]:
        """Proprioception (I, 10) float32."""
        return np.asarray(self._array("state")[: self.instants])

    def intrinsics(self) -> list[Intrinsics]:
        """Of every view's image, (V,)."""
        size = int(self.attributes["image_size"])
        rows, owners = self.read("intrinsics"), self.instant.tolist()
        lenses = [info["lens"] for info in self.infos]
        return [intrinsics_from(row, size, lenses[owner]) for row, owner in zip(rows, owners, strict=True)]

    def fingerprint(self) -> str:
        """SHA-256 over what identifies the set: spec, sentences, what is known of each instant, poses and states."""
        digest = hashlib.sha256(json.dumps(self.attributes, sort_keys=True).encode())
        digest.update(json.dumps([self.sentences, self.infos], sort_keys=True).encode())
        for name in ("T_base_image", "intrinsics", "cloud_count"):
            digest.update(self.read(name).tobytes())
        digest.update(self.states().tobytes())
        return digest.hexdigest()

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        return array


def _layout(size: int, points: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape of a row and type of every array."""
    return {
        "cloud": ((points, 3), "float16"),
        "cloud_count": ((), "int32"),
        "image": ((size, size, 3), "uint8"),
        "image_depth": ((size, size), "uint16"),
        "labels": ((size, size), "uint8"),
        "intrinsics": ((9,), "float64"),
        "T_base_image": ((4, 4), "float64"),
        "camera": ((), "int32"),
        "instant": ((), "int32"),
        "state": ((10,), "float32"),
        "text": ((_TEXT_BYTES,), "uint8"),
        "info": ((_INFO_BYTES,), "uint8"),
        "episode_views": ((), "int64"),
    }


def _thin(cloud: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return cloud[farthest_point_sampling(cloud, min(count, len(cloud)))]


def _padded(text: str, size: int) -> NDArray[np.uint8]:
    encoded = text.encode()
    if len(encoded) > size:
        raise StoreError(f"expected at most {size} bytes of UTF-8, got {len(encoded)}: {text[:80]}…")
    row = np.zeros(size, dtype=np.uint8)
    row[: len(encoded)] = np.frombuffer(encoded, dtype=np.uint8)
    return row


def _unpadded(row: NDArray[np.uint8]) -> str:
    return bytes(row[: len(np.trim_zeros(row, "b"))]).decode()
