"""The colour images of a bag beside the steps of its episodes, with their own depth and place in the base frame.

Depth in the colour image is the depth camera's own, seen from the colour camera: every pixel is projected, the nearest
wins. Where the image is much coarser than the depth camera's, so many depth pixels are not needed: the nearest of each
block stands for it; blocks stay finer than the image's pixels, so that holes come at edges only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_core.data.bag_clouds import BagCloud
from clar_core.data.bags import BagError, BagReader
from clar_core.data.episode import PosedImage
from clar_core.data.mapping import BagMapping
from clar_core.data.messages import MessageError, color_image, intrinsics_of, stamp_ns
from clar_core.geometry.camera import Intrinsics, deproject, depth_image_of
from clar_core.geometry.frames import FrameError, FrameTree
from clar_core.geometry.poses import Array, inverse, transform_points
from clar_core.observation.spec import ObservationSpec

FARTHEST_COLOR_NS = 150_000_000
"""A colour image farther than this from a step's depth image shows another scene."""


class NoColorError(ValueError):
    """A step has no colour image; the message says why."""


@dataclass(frozen=True, eq=False)
class ColorView:
    """Where a colour image was taken from: capture stamp, intrinsics of its full size, ``T_base_image`` (4, 4)."""

    stamp_ns: int
    intrinsics: Intrinsics
    T_base_image: Array


class ColorImages:
    """The colour images of an open bag by capture stamp; what they hold is read when it is asked for.

    Args:
        bag: an open bag.
        mapping: names in it.

    Raises:
        BagError: the bag has no colour images.
    """

    def __init__(self, bag: BagReader, mapping: BagMapping) -> None:
        if mapping.color not in bag.topics:
            raise BagError(f"{bag.path}: no colour images on {mapping.color}; name the topic in a mapping file")
        self._bag, self._mapping = bag, mapping
        self._intrinsics: Intrinsics | None = None
        self._frame = ""
        stamps = []
        for message in bag.messages([t for t in (mapping.color, mapping.color_info) if t in bag.topics]):
            if message.topic == mapping.color:
                stamps.append(stamp_ns(message.message.header.stamp))
                self._frame = message.message.header.frame_id
            elif self._intrinsics is None:
                self._intrinsics = self._intrinsics_of(message.message)
        self._stamps = np.sort(np.array(stamps, np.int64))

    def nearest(self, stamp: int) -> int | None:
        """Stamp of the colour image nearest to a time; None when there is none within 150 ms."""
        if not len(self._stamps):
            return None
        found = int(self._stamps[np.argmin(np.abs(self._stamps - stamp))])
        return found if abs(found - stamp) <= FARTHEST_COLOR_NS else None

    def view(self, stamp: int, spec: ObservationSpec, frames: FrameTree) -> ColorView:
        """Intrinsics and place of the colour image of a stamp.

        Raises:
            BagError: the bag has no camera_info of the colour camera.
            FrameError: its transforms do not tell where the camera was.
        """
        if self._intrinsics is None:
            raise BagError(
                f"{self._bag.path}: no topic {self._mapping.color_info}, so colour has no intrinsics; "
                "name it in a mapping file (color_info), or convert without images"
            )
        if self._mapping.T_base_color is not None:
            return ColorView(stamp, self._intrinsics, np.array(self._mapping.T_base_color))
        return ColorView(stamp, self._intrinsics, frames.lookup(spec.base_frame, self._frame, stamp))

    def messages(self, stamps: Collection[int]) -> Iterator[tuple[int, Any]]:
        """The colour messages of these stamps, in order of reception."""
        for message in self._bag.messages([self._mapping.color]):
            if (stamp := stamp_ns(message.message.header.stamp)) in stamps:
                yield stamp, message.message

    def pixels(self, message: Any) -> NDArray[np.uint8]:
        """Colour (h, w, 3) uint8 RGB of one of its messages. Raises BagError for one that cannot be decoded."""
        try:
            return color_image(message)
        except MessageError as error:
            raise BagError(f"{self._bag.path}: {self._mapping.color}: {error}") from error

    def _intrinsics_of(self, message: Any) -> Intrinsics:
        try:
            return intrinsics_of(message, inverse=self._mapping.inverse_lens)
        except MessageError as error:
            raise BagError(f"{self._bag.path}: {self._mapping.color_info}: {error}") from error


@dataclass(frozen=True, eq=False)
class Seen:
    """All of a step's posed image but its colours, which are read in the end: fields as in ``PosedImage``."""

    stamp_ns: int
    depth: NDArray[np.uint16]
    intrinsics: Intrinsics
    T_base_image: Array


class StepImages:
    """The posed images of an episode's steps: first the geometry of each, then all colours in one pass over the bag.

    Args:
        bag: an open bag.
        spec: base frame and depth limits.
        mapping: names in the bag.
        frames: its transforms.
        size: S, pixels.

    Raises:
        BagError: the bag has no colour images.
    """

    def __init__(
        self, bag: BagReader, spec: ObservationSpec, mapping: BagMapping, frames: FrameTree, size: int
    ) -> None:
        self._colors = ColorImages(bag, mapping)
        self._spec, self._mapping, self._frames, self._size = spec, mapping, frames, size

    def see(self, cloud: BagCloud) -> Seen:
        """Depth and place of the colour image nearest to a cloud.

        Raises:
            NoColorError: there is none, or the transforms do not tell where it was taken.
            BagError: the bag has no camera_info of the colour camera.
        """
        stamp = self._colors.nearest(cloud.stamp_ns)
        if stamp is None:
            raise NoColorError(f"{self._mapping.color}: no image within {FARTHEST_COLOR_NS / 1e6:g} ms")
        try:
            view = self._colors.view(stamp, self._spec, self._frames)
        except FrameError as error:
            raise NoColorError(f"no transform {self._spec.base_frame} <- colour camera") from error
        intrinsics = view.intrinsics.scaled(self._size, self._size)
        depth, depth_intrinsics = _coarser(cloud.depth, cloud.intrinsics, self._size)
        points = deproject(
            depth,
            depth_intrinsics,
            depth_scale_m=self._mapping.depth_scale_m,
            depth_min_m=self._spec.depth_min_m,
            depth_max_m=self._spec.depth_max_m,
        )
        T_image_camera = inverse(view.T_base_image) @ cloud.T_base_camera
        seen = transform_points(T_image_camera, points.astype(np.float64))
        return Seen(stamp, depth_image_of(seen, intrinsics), intrinsics, view.T_base_image)

    def complete(self, seen: Sequence[Seen]) -> list[PosedImage | None]:
        """The posed images, in the order given; None where the colours cannot be decoded."""
        squares: dict[int, NDArray[np.uint8]] = {}
        side = (self._size, self._size)
        for stamp, message in self._colors.messages({s.stamp_ns for s in seen}):
            try:
                squares[stamp] = np.asarray(cv2.resize(color_image(message), side, interpolation=cv2.INTER_AREA))
            except MessageError:
                continue
        return [
            PosedImage(squares[s.stamp_ns], s.depth, s.intrinsics, s.T_base_image) if s.stamp_ns in squares else None
            for s in seen
        ]


def _coarser(depth: NDArray[np.uint16], intrinsics: Intrinsics, size: int) -> tuple[NDArray[np.uint16], Intrinsics]:
    """The depth image with the nearest of each block of pixels, still at least ``size`` pixels high and wide."""
    side = min(depth.shape) // size
    if side < 2:
        return depth, intrinsics
    rows, columns = depth.shape[0] // side, depth.shape[1] // side
    # Zero, which is no depth, becomes the farthest and back.
    blocks = depth[: rows * side, : columns * side].reshape(rows, side, columns, side) - np.uint16(1)
    whole = replace(intrinsics, width=columns * side, height=rows * side)
    return blocks.min(axis=(1, 3)) + np.uint16(1), whole.scaled(columns, rows)
