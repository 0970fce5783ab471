"""A store in the layouts of others: diffusion-policy / DP3 zarr v2, and LeRobot v3 for states, actions and video.

Formats: https://github.com/YanjieZe/3D-Diffusion-Policy (replay buffer: ``data/*`` and ``meta/episode_ends``), and
https://github.com/huggingface/lerobot (codebase version v3.0: parquet, MP4 and JSON).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc

from clar_core.data.store import Store, StoreError

_STEPS_PER_CHUNK = 100

Progress = Callable[[int, int], Any]


def export_dp3(store: Store, output: Path, progress: Progress = lambda done, of: None) -> None:
    """Write the zarr v2 replay buffer that DP3 and diffusion policy read.

    ``data/point_cloud`` (T, P, 3) float32 metres, ``data/state`` (T, 10), ``data/action`` (T, 7 or 10) float32,
    ``meta/episode_ends`` (E,) int64, and ``data/img`` (T, S, S, 3) uint8 RGB where the store has images.
    Written beside its place and renamed when it is whole.

    Raises:
        StoreError: something is at ``output`` already, or the store is empty.
    """
    check_output(store, output)
    part = output.with_name(output.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    root = zarr.open_group(part, mode="w", zarr_format=2)
    data, meta = root.create_group("data"), root.create_group("meta")
    compressor = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)
    steps, points = store.steps, store.points_per_cloud
    layout = {
        "point_cloud": ("point_cloud", (points, 3), "float32"),
        "state": ("state", (10,), "float32"),
        "action": ("action", (store.action_space.size,), "float32"),
    }
    if store.image_size:
        layout["img"] = ("image", (store.image_size, store.image_size, 3), "uint8")
    arrays = {
        source: data.create_array(
            name, shape=(steps, *row), chunks=(_STEPS_PER_CHUNK, *row), dtype=dtype, compressors=compressor
        )
        for name, (source, row, dtype) in layout.items()
    }
    for number, episode in enumerate(store.episodes, start=1):
        for name, array in arrays.items():
            array[episode.start : episode.end] = store.rows(name, episode).astype(array.dtype)
        progress(number, len(store.episodes))
    ends = np.array([episode.end for episode in store.episodes], dtype=np.int64)
    stored = meta.create_array("episode_ends", shape=ends.shape, chunks=ends.shape, dtype="int64", compressors=None)
    stored[:] = ends
    part.rename(output)


def check_output(store: Store, output: Path) -> None:
    """Raise StoreError when there is nothing to export, or something in its way."""
    if not store.episodes:
        raise StoreError(f"{store.directory}: no episode to export")
    if output.exists():
        raise StoreError(f"{output}: exists already; choose another directory or remove it")
    output.parent.mkdir(parents=True, exist_ok=True)
