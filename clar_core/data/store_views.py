"""A store of demonstrations with images, read as the set of views that pre-training takes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.data.store import FORMAT as STORE_FORMAT
from clar_core.data.store import Store, StoreError
from clar_core.data.stored_images import LENS, intrinsics_from
from clar_core.data.views import UNKNOWN_LABEL, Views
from clar_core.geometry.camera import Intrinsics

_NAMES = {"cloud": "point_cloud", "cloud_count": "point_count"}
_SAME_PLACE_M = 1e-3


class StoreViews(Views):
    """Every step is an instant with one view; its sentence is the episode's instruction, which is what it means, too.

    Nothing is copied; teacher features go into ``teachers/`` of the store. There is no segmentation.

    Attributes: those of :class:`~clar_core.data.views.Views`.

    Raises:
        StoreError: the directory is no store, or a store without images.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self._store = store = Store(directory)
        if store.image_size == 0:
            raise StoreError(
                f"{self.directory}: this store of demonstrations holds clouds and no images, which pre-training aligns "
                "them with; convert its bags with --image-size 224, make a set of posed images with `clar data views`, "
                "or write one with data.views.ViewWriter"
            )
        self.spec = store.spec
        self.attributes = {
            "observation": store.spec.to_dict(),
            "image_size": store.image_size,
            "labels": [],
            "points_per_cloud": store.points_per_cloud,
        }
        self.episode_views = np.array([episode.end for episode in store.episodes], dtype=np.int64)
        self.episodes, self.views, self.instants = len(store.episodes), store.steps, store.steps
        self.instant = np.arange(store.steps)
        self.sentences = [e.instruction or e.task for e in store.episodes for _ in range(len(e))]
        self.infos = [
            {"episode": number, "instruction_id": e.instruction or e.task, "lens": e.info[LENS], "task": e.task}
            for number, e in enumerate(store.episodes)
            for _ in range(len(e))
        ]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows of one of the arrays of views (V, ...), as :meth:`Views.read` does."""
        stop = self.views if stop is None else stop
        if name == "labels":
            size = self._store.image_size
            return np.full((stop - start, size, size), UNKNOWN_LABEL, dtype=np.uint8)
        if name == "instant":
            return self.instant[start:stop]
        if name == "camera":
            return self._cameras()[start:stop]
        return self._store.read(_NAMES.get(name, name), start, stop)

    def states(self) -> NDArray[np.float32]:
        """Proprioception (I, 10) float32."""
        return self._store.read("state")

    def intrinsics(self) -> list[Intrinsics]:
        """Of every view's image, (V,)."""
        rows = self._store.read("intrinsics")
        return [
            intrinsics_from(row, self._store.image_size, info["lens"])
            for row, info in zip(rows, self.infos, strict=True)
        ]

    def fingerprint(self) -> str:
        """SHA-256 over what identifies the data: the store's own, with intrinsics and poses of the images."""
        digest = hashlib.sha256(json.dumps([self._store.fingerprint(), self.attributes], sort_keys=True).encode())
        for name in ("T_base_image", "intrinsics", "point_count"):
            digest.update(self._store.read(name).tobytes())
        return digest.hexdigest()

    def _cameras(self) -> NDArray[np.int32]:
        """(V,) int32: 0 for a camera that stands still in the whole store, -1 for one that does not."""
        places = self._store.read("T_base_image")
        still = len(places) > 0 and float(np.abs(places - places[0]).max()) < _SAME_PLACE_M
        return np.full(len(places), 0 if still else -1, dtype=np.int32)


def open_views(directory: Path | str) -> Views:
    """A set of views, or a store with images as one.

    Raises:
        StoreError: neither of them; the message says how to make one.
    """
    try:
        content = json.loads((Path(directory) / "zarr.json").read_text("utf-8"))
        is_store = content["attributes"]["format"] == STORE_FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        is_store = False
    return StoreViews(directory) if is_store else Views(directory)
