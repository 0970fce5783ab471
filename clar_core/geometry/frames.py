"""A tree of coordinate frames with static and timed transforms, looked up as tf2 does.

Semantics are those of tf2's buffer, so that a bag read offline and a live node agree: one parent per frame, a bounded
history per timed edge, linear and geodesic interpolation inside the history, and never any extrapolation. Stamps are
integer nanoseconds. Every method may be called from any thread.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np

from clar_core.geometry.poses import Array, check_pose, interpolate, inverse

DEFAULT_HISTORY_NS = 10_000_000_000


class FrameError(LookupError):
    """No transform between two frames at the asked time; the message says why."""


class UnknownFrameError(FrameError):
    """One of the two frames was never set."""


class UnconnectedFramesError(FrameError):
    """Both frames exist, but no chain of transforms connects them."""


class ExtrapolationError(FrameError):
    """The asked stamp lies outside the history of a timed transform on the path."""


@dataclass(frozen=True)
class _StaticEdge:
    parent: str
    pose: Array


@dataclass
class _TimedEdge:
    parent: str
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[Array] = field(default_factory=list)

    def insert(self, stamp_ns: int, pose: Array, history_ns: int) -> bool:
        """Keep the pose, sorted by stamp; False when it is older than the history. A repeated stamp is overwritten."""
        stamps = self.stamps_ns
        if stamps and stamp_ns < stamps[-1] - history_ns:
            return False
        index = bisect_left(stamps, stamp_ns)
        if index < len(stamps) and stamps[index] == stamp_ns:
            self.poses[index] = pose
            return True
        stamps.insert(index, stamp_ns)
        self.poses.insert(index, pose)
        expired = bisect_left(stamps, stamps[-1] - history_ns)
        if expired:
            del stamps[:expired], self.poses[:expired]
        return True

    def at(self, stamp_ns: int) -> Array | None:
        """The pose at a stamp, interpolated between its neighbours; None outside the history."""
        stamps = self.stamps_ns
        if not stamps[0] <= stamp_ns <= stamps[-1]:
            return None
        right = bisect_right(stamps, stamp_ns)
        if stamps[right - 1] == stamp_ns:
            return self.poses[right - 1]
        fraction = (stamp_ns - stamps[right - 1]) / (stamps[right] - stamps[right - 1])
        return interpolate(self.poses[right - 1], self.poses[right], fraction)


@dataclass(frozen=True)
class _Path:
    """The edges from each of two frames up to their nearest common ancestor, lowest first."""

    from_target: tuple[str, ...]
    from_source: tuple[str, ...]


class FrameTree:
    """Static and timed transforms between named frames.

    ``T_parent_child`` maps points of the child frame to the parent frame, in metres. A frame whose transform is set
    with another parent moves there and forgets its history.

    Args:
        history_ns: how long timed transforms are kept, counted back from each edge's newest stamp.
    """

    def __init__(self, history_ns: int = DEFAULT_HISTORY_NS) -> None:
        if history_ns <= 0:
            raise ValueError(f"history_ns: expected a positive number of nanoseconds, got {history_ns}")
        self._history_ns = history_ns
        self._lock = threading.RLock()
        self._edges: dict[str, _StaticEdge | _TimedEdge] = {}
        self._frames: set[str] = set()
        # Paths, and whole transforms where every edge is static, are pure functions of the topology. Lookups repeat
        # the same few pairs many times a second, so both are kept until the topology or a static edge changes.
        self._paths: dict[tuple[str, str], _Path] = {}
        self._static_results: dict[tuple[str, str], Array] = {}

    def set_static(self, parent: str, child: str, T_parent_child: Array) -> None:
        """Set a transform that holds at every time, replacing whatever connected the child before.

        Raises:
            ValueError: a frame name is empty, child and parent are the same, the edge would close a loop, or the
                pose is not a finite rigid transform.
        """
        pose = self._checked(parent, child, T_parent_child)
        with self._lock:
            self._connect(parent, child, _StaticEdge(parent, pose))

    def set_timed(self, parent: str, child: str, T_parent_child: Array, stamp_ns: int) -> bool:
        """Add a transform at a stamp in nanoseconds; False when it is older than the history and was dropped.

        Raises:
            ValueError: as for ``set_static``.
        """
        pose = self._checked(parent, child, T_parent_child)
        with self._lock:
            edge = self._edges.get(child)
            if not isinstance(edge, _TimedEdge) or edge.parent != parent:
                edge = _TimedEdge(parent)
                self._connect(parent, child, edge)
            return edge.insert(int(stamp_ns), pose, self._history_ns)

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> Array:
        """``T_target_source`` (4, 4) float64 at a stamp, which maps points of the source frame to the target frame.

        Without a stamp: at the newest time for which every timed transform on the path is known.

        Raises:
            UnknownFrameError: a frame was never set.
            UnconnectedFramesError: no chain of transforms connects the two.
            ExtrapolationError: the stamp is outside the history of a transform on the path.
        """
        return self.lookup_stamped(target, source, stamp_ns)[0]

    def lookup_stamped(self, target: str, source: str, stamp_ns: int | None = None) -> tuple[Array, int]:
        """As ``lookup``, with the stamp the transform holds at: 0 for the newest one of an all-static path."""
        key = (target, source)
        with self._lock:
            static = self._static_results.get(key)
            if static is not None:
                return static.copy(), 0 if stamp_ns is None else stamp_ns
            path = self._path(target, source)
            timed = [frame for frame in path.from_target + path.from_source if self._is_timed(frame)]
            if not timed:
                result = self._compose(path, key, 0)
                self._static_results[key] = result
                return result.copy(), 0 if stamp_ns is None else stamp_ns
            if stamp_ns is None:
                stamp_ns = min(self._newest_stamp(frame) for frame in timed)
            return self._compose(path, key, stamp_ns), stamp_ns

    def frames(self) -> tuple[str, ...]:
        """The names of all frames, sorted."""
        with self._lock:
            return tuple(sorted(self._frames))

    def parent(self, frame: str) -> str | None:
        """The parent of a frame, None for a root. Raises UnknownFrameError for a frame that was never set."""
        with self._lock:
            self._require(frame)
            edge = self._edges.get(frame)
            return None if edge is None else edge.parent

    def clear(self) -> None:
        """Forget every frame and transform."""
        with self._lock:
            self._edges.clear()
            self._frames.clear()
            self._forget_results()

    @staticmethod
    def _checked(parent: str, child: str, T_parent_child: Array) -> Array:
        if not parent or not child:
            raise ValueError(f"expected two frame names, got parent {parent!r} and child {child!r}")
        if parent == child:
            raise ValueError(f"frame {child!r} cannot be its own parent")
        pose = np.array(check_pose(T_parent_child, f"transform {parent} -> {child}"))
        pose.flags.writeable = False
        return pose

    def _connect(self, parent: str, child: str, edge: _StaticEdge | _TimedEdge) -> None:
        ancestor: str | None = parent
        while ancestor is not None:
            if ancestor == child:
                raise ValueError(f"the transform {parent} -> {child} would close a loop: {parent} is below {child}")
            above = self._edges.get(ancestor)
            ancestor = None if above is None else above.parent
        self._edges[child] = edge
        self._frames.update((parent, child))
        self._forget_results()

    def _forget_results(self) -> None:
        self._paths.clear()
        self._static_results.clear()

    def _require(self, frame: str) -> None:
        if frame not in self._frames:
            known = ", ".join(sorted(self._frames)) or "none yet"
            raise UnknownFrameError(f"frame {frame!r} does not exist; known frames: {known}")

    def _ancestry(self, frame: str) -> list[str]:
        chain = [frame]
        while (edge := self._edges.get(chain[-1])) is not None:
            chain.append(edge.parent)
        return chain

    def _path(self, target: str, source: str) -> _Path:
        path = self._paths.get((target, source))
        if path is None:
            self._require(target)
            self._require(source)
            above_target, above_source = self._ancestry(target), self._ancestry(source)
            common = next((frame for frame in above_source if frame in set(above_target)), None)
            if common is None:
                raise UnconnectedFramesError(
                    f"no chain of transforms connects {source!r} (below {above_source[-1]!r}) "
                    f"with {target!r} (below {above_target[-1]!r})"
                )
            path = _Path(
                tuple(above_target[: above_target.index(common)]), tuple(above_source[: above_source.index(common)])
            )
            self._paths[target, source] = path
        return path

    def _is_timed(self, frame: str) -> bool:
        return isinstance(self._edges[frame], _TimedEdge)

    def _newest_stamp(self, frame: str) -> int:
        edge = self._edges[frame]
        assert isinstance(edge, _TimedEdge)
        return edge.stamps_ns[-1]

    def _compose(self, path: _Path, key: tuple[str, str], stamp_ns: int) -> Array:
        T_common_target = self._climb(path.from_target, key, stamp_ns)
        T_common_source = self._climb(path.from_source, key, stamp_ns)
        if not path.from_target:
            return T_common_source
        return np.asarray(inverse(T_common_target) @ T_common_source)

    def _climb(self, frames: tuple[str, ...], key: tuple[str, str], stamp_ns: int) -> Array:
        T_top_bottom = np.eye(4)
        for frame in frames:
            T_top_bottom = self._pose_of(frame, key, stamp_ns) @ T_top_bottom
        return T_top_bottom

    def _pose_of(self, frame: str, key: tuple[str, str], stamp_ns: int) -> Array:
        edge = self._edges[frame]
        if isinstance(edge, _StaticEdge):
            return edge.pose
        pose = edge.at(stamp_ns)
        if pose is not None:
            return pose
        oldest, newest = edge.stamps_ns[0], edge.stamps_ns[-1]
        if stamp_ns > newest:
            gap = f"{(stamp_ns - newest) / 1e6:.1f} ms into the future: its newest stamp is {newest / 1e9:.6f} s"
        else:
            gap = f"{(oldest - stamp_ns) / 1e6:.1f} ms into the past: its oldest stamp is {oldest / 1e9:.6f} s"
        raise ExtrapolationError(
            f"{key[0]} <- {key[1]} at {stamp_ns / 1e9:.6f} s would extrapolate {edge.parent} -> {frame} {gap}"
        )
