"""Stores into one: episode by episode, as they are, without thinning the clouds again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.data.episode import Episode, PosedImage, Step
from clar_core.data.store import EpisodeInfo, Store, StoreError, StoreWriter, check_alike


def episode_of(store: Store, info: EpisodeInfo) -> Episode:
    """One stored episode in memory: clouds (n, 3) float32 without their repetitions, in farthest-point order."""
    clouds, counts = store.rows("point_cloud", info), store.rows("point_count", info)
    states, actions = store.rows("state", info), store.rows("action", info)
    images = store.images(info)
    steps = [_step(clouds[i, : counts[i]], states[i], actions[i], images[i]) for i in range(len(info))]
    return Episode(info.task, info.instruction, steps, info.success, info.info, store.action_space)


def _step(cloud: NDArray[Any], state: NDArray[Any], action: NDArray[Any], image: PosedImage | None) -> Step:
    return Step(cloud.astype(np.float32), state, action, image)


def merge(
    sources: Sequence[Path],
    output: Path,
    *,
    successes_only: bool = False,
    progress: Callable[[int, int], Any] = lambda done, of: None,
) -> tuple[int, int]:
    """Append the episodes of stores to another, in order; returns (episodes added, episodes that were there).

    An episode that ``output`` has already, by the store and the place it comes from, is left alone, so that an
    interrupted merge goes on.

    Raises:
        StoreError: a source is no store, stores do not fit together, or ``output`` is one of the sources.
    """
    if not sources:
        raise StoreError("sources: expected at least one store, got none")
    if output.resolve() in {source.resolve() for source in sources}:
        raise StoreError(f"{output}: is one of the stores to merge; choose a new directory")
    stores = [Store(source) for source in sources]
    first = stores[0]
    check_alike(stores)
    for store in stores[1:]:
        if store.image_size != first.image_size:
            raise StoreError(
                f"{store.directory}: image_size is {store.image_size}, but {first.image_size} in {first.directory}; "
                "convert them with the same --image-size"
            )
    writer = StoreWriter(
        output,
        first.spec,
        points_per_cloud=first.points_per_cloud,
        image_size=first.image_size,
        space=first.action_space,
    )
    there = {str(e.info.get("from", "")) for e in Store(output).episodes}
    wanted = [
        (store, i, info)
        for store in stores
        for i, info in enumerate(store.episodes)
        if info.success or not successes_only
    ]
    added = 0
    for done, (store, number, info) in enumerate(wanted, start=1):
        origin = f"{store.directory.name}#{number}"
        if origin not in there:
            episode = episode_of(store, info)
            writer.append(replace(episode, info={**info.info, "from": origin}), thinned=True)
            added += 1
        progress(done, len(wanted))
    return added, len(wanted) - added
