"""Clouds of a bag: its depth images through the one observation path, placed by its own transforms.

This is the offline counterpart of the live cloud node. For the same images, intrinsics and transforms, both give the
same points, bit for bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clar_core.data.bags import BagReader
from clar_core.data.messages import MessageError, depth_image, intrinsics_of, stamp_ns, transform_of
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.frames import FrameError, FrameTree
from clar_core.geometry.poses import Array, matrix_to_quaternion, pose_from_quaternion
from clar_core.observation.builder import TooFewPointsError, build_cloud
from clar_core.observation.freshness import MAX_REPEAT_S, RepeatDetector
from clar_core.observation.spec import ObservationSpec

# Offline nothing expires: all transforms of a bag are read before its images.
_WHOLE_BAG_NS = 2**62


@dataclass(frozen=True)
class DepthTopics:
    """Where a bag holds native depth, its intrinsics and the transforms. The defaults are realsense-ros's names."""

    image: str = "/camera/camera/depth/image_rect_raw"
    info: str = "/camera/camera/depth/camera_info"
    tf: str = "/tf"
    tf_static: str = "/tf_static"


@dataclass(frozen=True)
class BagCloud:
    """The cloud of one depth image, and what it was made of.

    Attributes:
        stamp_ns: capture stamp.
        points: (n, 3) float32, metres in the spec's base frame.
        depth: (h, w) uint16 in raw units; a view of the message.
        intrinsics: of the depth camera.
        T_base_camera: (4, 4), maps points of the depth optical frame to the base frame.
    """

    stamp_ns: int
    points: NDArray[np.float32]
    depth: NDArray[np.uint16]
    intrinsics: Intrinsics
    T_base_camera: Array


def read_clouds(
    bag: BagReader,
    spec: ObservationSpec,
    topics: DepthTopics = DepthTopics(),  # frozen
    *,
    depth_scale_m: float = 0.001,
    skipped: Counter[str] | None = None,
    stamps_ns: Collection[int] | None = None,
    T_base_camera: ArrayLike | None = None,
    frames: FrameTree | None = None,
) -> Iterator[BagCloud]:
    """The clouds of a bag's depth images in order.

    Args:
        bag: an open bag.
        spec: what a cloud is.
        topics: names in this bag.
        depth_scale_m: metres per unit of depth.
        skipped: counts, by reason, the images that gave no cloud: those that the live node would have held back, too.
        stamps_ns: capture stamps of the images that are wanted; all when None.
        T_base_camera: (4, 4) depth optical frame in the base frame, instead of the bag's transforms.
        frames: the bag's transforms, when they were read already.

    Raises:
        BagError: the bag lacks the depth image or its intrinsics, or is damaged.
    """
    counted = Counter[str]() if skipped is None else skipped
    frames = read_frames(bag, topics) if frames is None else frames
    intrinsics: Intrinsics | None = None
    repeats = RepeatDetector()
    for message in bag.messages([topics.image, topics.info]):
        wanted = True
        try:
            if message.topic == topics.info:
                intrinsics = intrinsics_of(message.message)
                continue
            header = message.message.header
            stamp = stamp_ns(header.stamp)
            wanted = stamps_ns is None or stamp in stamps_ns
            depth = depth_image(message.message)
            frozen = repeats.unchanged_s(depth, stamp) > MAX_REPEAT_S
            if not wanted:
                continue
            if frozen:
                counted[f"{topics.image}: the image has not changed for more than {MAX_REPEAT_S:g} s"] += 1
                continue
            if intrinsics is None:
                counted["no camera_info before the image"] += 1
                continue
            if T_base_camera is None:
                pose = _as_carried_by_a_message(frames.lookup(spec.base_frame, header.frame_id, stamp))
            else:
                pose = np.asarray(T_base_camera, dtype=np.float64)
            points = build_cloud(depth, intrinsics, pose, spec, depth_scale_m=depth_scale_m)
            yield BagCloud(stamp, points, depth, intrinsics, pose)
        except TooFewPointsError:
            counted["fewer points in the crop box than the spec asks for"] += 1
        except FrameError:
            counted[f"no transform {spec.base_frame} <- camera at the capture stamp"] += 1
        except MessageError as error:
            if wanted:
                counted[f"{message.topic}: {error}"] += 1


def read_frames(bag: BagReader, topics: DepthTopics = DepthTopics()) -> FrameTree:  # frozen
    """All transforms of a bag as one tree. Raises BagError for a damaged bag, MessageError for an impossible one."""
    frames = whole_bag_frames()
    for message in bag.messages([name for name in (topics.tf_static, topics.tf) if name in bag.topics]):
        add_transforms(frames, message.message, static=message.topic == topics.tf_static)
    return frames


def add_transforms(frames: FrameTree, message: Any, *, static: bool) -> None:
    """Put the transforms of a ``tf2_msgs/TFMessage`` into a tree. Raises MessageError or ValueError for bad ones."""
    for transform in message.transforms:
        parent, child, pose = transform.header.frame_id, transform.child_frame_id, transform_of(transform.transform)
        if static:
            frames.set_static(parent, child, pose)
        else:
            frames.set_timed(parent, child, pose, stamp_ns(transform.header.stamp))


def whole_bag_frames() -> FrameTree:
    """An empty tree that forgets nothing."""
    return FrameTree(_WHOLE_BAG_NS)


def _as_carried_by_a_message(T: Array) -> Array:
    """The pose after a trip through a quaternion, which tf2 returns: without it the last bits would differ."""
    return pose_from_quaternion(T[:3, 3], matrix_to_quaternion(T[:3, :3]))
