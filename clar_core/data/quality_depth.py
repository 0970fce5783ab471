"""What the depth images of an episode are worth: rate, repetition, holes, points in the crop box."""

from __future__ import annotations

import zlib
from collections.abc import Set
from dataclasses import asdict, dataclass

import numpy as np

from clar_core.data.bag_clouds import read_clouds
from clar_core.data.bag_episode import Window
from clar_core.data.bag_log import BagLog
from clar_core.data.bags import BagReader
from clar_core.data.mapping import BagMapping
from clar_core.data.messages import MessageError, depth_image, stamp_ns
from clar_core.observation.spec import ObservationSpec

_CLOUDS = 12
"""Clouds that are built to count points: enough to see a camera that was covered or moved."""
_THINNED = 8


@dataclass(frozen=True)
class DepthFigures:
    """Figures of the depth images of one episode; times by header stamp."""

    images: int
    rate_hz: float
    jitter_p99_ms: float
    longest_gap_ms: float
    frozen_fraction: float
    valid_fraction: float
    points_min: int
    points_max: int
    unusable: int
    unusable_reason: str

    def to_dict(self) -> dict[str, float]:
        """The numbers, by name."""
        return {f"depth_{name}": float(value) for name, value in asdict(self).items() if name != "unusable_reason"}


def look_at_depth(
    bag: BagReader, spec: ObservationSpec, mapping: BagMapping, log: BagLog, window: Window, observed: Set[int]
) -> DepthFigures:
    """Look at every depth image of an episode once, and build some of the clouds that its labels name.

    Raises:
        BagError: the bag is damaged.
    """
    stamps: list[int] = []
    valid: list[float] = []
    repeated = unusable = 0
    reason = ""
    last = None
    for message in bag.messages([mapping.depth_image]):
        stamp = stamp_ns(message.message.header.stamp)
        if not window.start_ns <= stamp <= window.stop_ns:
            continue
        stamps.append(stamp)
        try:
            depth = depth_image(message.message)
        except MessageError as error:
            unusable, reason = unusable + 1, str(error)
            continue
        digest = zlib.adler32(depth[::2].tobytes())
        repeated += digest == last
        last = digest
        valid.append(float(np.count_nonzero(depth[::_THINNED, ::_THINNED])) / depth[::_THINNED, ::_THINNED].size)
    gaps_ms = np.diff(np.sort(np.array(stamps, np.int64))) * 1e-6
    points = _points(bag, spec, mapping, log, observed)
    return DepthFigures(
        images=len(stamps),
        rate_hz=float(1e3 / gaps_ms.mean()) if len(gaps_ms) and gaps_ms.mean() > 0 else 0.0,
        jitter_p99_ms=float(np.percentile(np.abs(gaps_ms - np.median(gaps_ms)), 99)) if len(gaps_ms) else 0.0,
        longest_gap_ms=float(gaps_ms.max()) if len(gaps_ms) else 0.0,
        frozen_fraction=repeated / len(stamps) if stamps else 0.0,
        valid_fraction=float(np.mean(valid)) if valid else 0.0,
        points_min=min(points, default=0),
        points_max=max(points, default=0),
        unusable=unusable,
        unusable_reason=reason,
    )


def _points(bag: BagReader, spec: ObservationSpec, mapping: BagMapping, log: BagLog, observed: Set[int]) -> list[int]:
    wanted = sorted(observed)
    chosen = set(wanted[:: max(len(wanted) // _CLOUDS, 1)])
    clouds = read_clouds(
        bag,
        spec,
        mapping.depth_topics,
        depth_scale_m=mapping.depth_scale_m,
        stamps_ns=chosen,
        T_base_camera=mapping.T_base_camera,
        frames=log.frames,
    )
    return [len(cloud.points) for cloud in clouds]
