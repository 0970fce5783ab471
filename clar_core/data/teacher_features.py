"""Teacher features of a set of views: computed once, stored beside the views, read into memory by training.

    <views>/teachers/<name>/  a zarr v3 group
        pooled        (V, width) float16
        map           (V, cells, cells, D) float16   projected to at most ``map_dim`` principal directions
        text          (I, width) float32             of every instant's sentence
        directions    (map_width, D) float32         the projection
        done          (1,) int64                     views finished, the commit

The principal directions are those of the uncentred second moment, so that the cosine of two features survives the
projection; the mean is subtracted afterwards, at each position of a fixed camera, over all positions for moving ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from clar_core.data.store import StoreError
from clar_core.data.views import Views
from clar_core.models.teachers import Teacher, TeacherConfig, build_teacher

_SAMPLE_VIEWS = 512
_CHUNK = 16
_NEGLIGIBLE = 1e-5


@dataclass(frozen=True, eq=False)
class TeacherFeatures:
    """Features of all views in memory.

    Attributes:
        pooled: (V, width) float32, of unit length.
        maps: (V, cells, cells, D) float16, not centred.
        text: (I, width) float32, of unit length.
        means: (cameras + 1, cells, cells, D) float32: of each fixed camera by its number, and last of moving ones.
        identity: JSON values that tell this teacher from others.
    """

    pooled: NDArray[np.float32]
    maps: NDArray[np.float16]
    text: NDArray[np.float32]
    means: NDArray[np.float32]
    identity: dict[str, Any]

    @property
    def width(self) -> int:
        """Of pooled and text features."""
        return self.pooled.shape[1]

    @property
    def map_dim(self) -> int:
        """Width of the stored map."""
        return self.maps.shape[-1]


def load_teacher_features(
    views: Views,
    config: TeacherConfig,
    *,
    map_dim: int = 256,
    subtract_mean: bool = True,
    progress: Callable[[int, int], Any] | None = None,
) -> TeacherFeatures:
    """Features of a teacher, from beside the views, or computed and stored there first; an interrupted call goes on.

    Args:
        views: the set.
        config: the teacher.
        map_dim: most principal directions kept of the map; directions without content are left out. 0 keeps the map as
            it is, which takes 6 GB for 20,000 views of CLIP.
        subtract_mean: False leaves the means zero.
        progress: called with (views done, views) after each batch.

    Raises:
        TeacherError: the teacher cannot be built.
        StoreError: the stored features are damaged.
    """
    teacher = build_teacher(config, views.labels)
    identity = {**teacher.identity(), "map_dim": map_dim, "views": views.fingerprint()}
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    directory = views.directory / "teachers" / f"{config.kind}_{name}"
    group = _open(directory, identity)
    if group is None:
        group = _create(directory, views, teacher, identity, map_dim, config.batch_size)
    _compute(group, views, teacher, config.batch_size, progress)
    pooled, maps, text = (np.asarray(_array(group, name)[:]) for name in ("pooled", "map", "text"))
    if len(pooled) != views.views or len(text) != views.instants:
        raise StoreError(
            f"{directory}: holds {len(pooled)} views, expected {views.views}; delete it to compute it again"
        )
    cameras = views.read("camera")
    means = _means(maps, cameras) if subtract_mean else np.zeros((int(cameras.max()) + 2, *maps.shape[1:]), np.float32)
    pooled = pooled.astype(np.float32)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    return TeacherFeatures(pooled, maps, text, means, {k: v for k, v in identity.items() if k != "views"})


def _open(directory: Path, identity: dict[str, Any]) -> zarr.Group | None:
    if not (directory / "zarr.json").exists():
        return None
    group = zarr.open_group(directory, mode="r+")
    return group if dict(group.attrs).get("identity") == identity else None


def _create(
    directory: Path, views: Views, teacher: Teacher, identity: dict[str, Any], map_dim: int, batch: int
) -> zarr.Group:
    directions = _principal_directions(views, teacher, map_dim, batch)
    kept, cells = directions.shape[1], teacher.cells
    group = zarr.open_group(directory, mode="w")
    layout: dict[str, tuple[tuple[int, ...], tuple[int, ...], str]] = {
        "pooled": ((views.views, teacher.width), (256, teacher.width), "float16"),
        "map": ((views.views, cells, cells, kept), (_CHUNK, cells, cells, kept), "float16"),
        "text": ((views.instants, teacher.width), (256, teacher.width), "float32"),
        "directions": (directions.shape, directions.shape, "float32"),
        "done": ((1,), (1,), "int64"),
    }
    for name, (shape, chunks, dtype) in layout.items():
        group.create_array(name, shape=shape, chunks=chunks, dtype=dtype, compressors=ZstdCodec(level=1))
    unique = sorted(set(views.sentences))
    features = dict(zip(unique, teacher.sentences(unique), strict=True))
    _array(group, "text")[:] = np.stack([features[sentence] for sentence in views.sentences])
    _array(group, "directions")[:] = directions
    # Last, so that a half-made group is recognised as none.
    group.attrs.put({"identity": identity})
    return group


def _compute(
    group: zarr.Group, views: Views, teacher: Teacher, batch: int, progress: Callable[[int, int], Any] | None
) -> None:
    directions = np.asarray(_array(group, "directions")[:])
    done, total = int(np.asarray(_array(group, "done")[:])[0]), views.views
    step = max(batch // _CHUNK, 1) * _CHUNK
    for start in range(done, total, step):
        stop = min(start + step, total)
        features = teacher.images(views.read("image", start, stop), views.read("labels", start, stop))
        _array(group, "pooled")[start:stop] = features.pooled.astype(np.float16)
        _array(group, "map")[start:stop] = (features.maps @ directions).astype(np.float16)
        _array(group, "done")[:] = np.array([stop])
        if progress is not None:
            progress(stop, total)


def _principal_directions(views: Views, teacher: Teacher, map_dim: int, batch: int) -> NDArray[np.float32]:
    """Orthonormal columns (map_width, D), by falling share of the second moment; negligible ones left out."""
    if map_dim == 0:
        return np.eye(teacher.map_width, dtype=np.float32)
    rows = np.linspace(0, views.views, min(views.views, _SAMPLE_VIEWS), endpoint=False, dtype=np.int64)
    moment = np.zeros((teacher.map_width, teacher.map_width))
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        images = np.concatenate([views.read("image", row, row + 1) for row in chosen])
        labels = np.concatenate([views.read("labels", row, row + 1) for row in chosen])
        flat = teacher.images(images, labels).maps.reshape(-1, teacher.map_width).astype(np.float64)
        moment += flat.T @ flat
    values, vectors = np.linalg.eigh(moment)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = int((values > values[0] * _NEGLIGIBLE).sum())
    return np.ascontiguousarray(vectors[:, : min(map_dim, kept)], dtype=np.float32)


def _means(maps: NDArray[np.float16], cameras: NDArray[np.int32]) -> NDArray[np.float32]:
    means = np.zeros((int(cameras.max()) + 2, *maps.shape[1:]), dtype=np.float32)
    for camera in range(int(cameras.max()) + 1):
        if (cameras == camera).any():
            means[camera] = maps[cameras == camera].mean(0, dtype=np.float32)
    if (cameras < 0).any():
        means[-1] = maps[cameras < 0].mean((0, 1, 2), dtype=np.float32)
    return means


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array
