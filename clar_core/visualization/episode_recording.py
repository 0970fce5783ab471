"""A recorded episode as a Rerun recording: images, cloud in the base frame, frames, state and action curves.

Open it with ``rerun FILE.rrd``, or drag it into https://rerun.io/viewer, which reads it in the browser.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clar_core.data.bag_clouds import read_clouds
from clar_core.data.bag_episode import Window, labels_of, windows
from clar_core.data.bag_log import BagLog, read_log
from clar_core.data.bags import BagReader
from clar_core.data.labels import Label
from clar_core.data.mapping import OWN_NAMES, BagMapping
from clar_core.data.messages import MessageError, depth_image, stamp_ns
from clar_core.geometry.frames import FrameError
from clar_core.geometry.poses import Array
from clar_core.observation.spec import ObservationSpec

_TIMELINE = "time"
_STATE_EVERY = 5
_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class ViewCounts:
    """What went into a recording."""

    depth_images: int
    color_images: int
    clouds: int
    states: int
    labels: int


def write_recording(
    bag_path: Path,
    output: Path,
    spec: ObservationSpec,
    mapping: BagMapping = OWN_NAMES,
    *,
    every: int = 1,
    progress: Callable[[], Any] = lambda: None,
) -> ViewCounts:
    """Write ``output`` (.rrd) from a bag.

    Args:
        bag_path: bag.
        output: file to write.
        spec: crop box of the clouds.
        mapping: names in the bag.
        every: take one of so many images and clouds.
        progress: called after each image.

    Raises:
        BagError: the bag is damaged or lacks what is needed.
    """
    import rerun as rr
    import rerun.blueprint as rrb

    output.parent.mkdir(parents=True, exist_ok=True)
    recording = rr.RecordingStream(f"clar {bag_path.name}")
    recording.save(output, default_blueprint=_layout(rrb))
    with BagReader(bag_path) as bag:
        log = read_log(bag, mapping)
        viewer = _Viewer(rr, recording, log)
        viewer.frames(mapping, spec)
        states = viewer.states()
        labels = sum(viewer.labels(label) for w in _windows(bag, log, mapping) for label in _labels(log, w, mapping))
        depths = colors = 0
        topics = [name for name in (mapping.depth_image, mapping.color) if name in bag.topics]
        for i, message in enumerate(bag.messages(topics)):
            progress()
            if message.topic == mapping.depth_image:
                depths += viewer.depth(message.message) if i % every == 0 else 0
            else:
                colors += viewer.color(message.message)
        clouds = 0
        for i, cloud in enumerate(_clouds(bag, log, spec, mapping)):
            if i % every == 0:
                clouds += viewer.cloud(cloud.stamp_ns, cloud.points)
    recording.flush()
    recording.disconnect()
    return ViewCounts(depths, colors, clouds, states, labels)


def _layout(rrb: Any) -> Any:
    """What is seen when the recording is opened: the scene, beside it the images, and the curves below."""
    curves = [
        rrb.TimeSeriesView(
            name="TCP, measured and commanded (m)", contents=["state/x", "state/y", "state/z", "commanded/**"]
        ),
        rrb.TimeSeriesView(name="action: translation (m)", contents=["action/x", "action/y", "action/z"]),
        rrb.TimeSeriesView(name="action: rotation (rad)", contents=["action/rx", "action/ry", "action/rz"]),
        rrb.TimeSeriesView(name="gripper: opening (m)", contents=["state/gripper_width"]),
        rrb.TimeSeriesView(name="action: gripper (0 closed, 1 open)", contents=["action/gripper"]),
        rrb.TextLogView(name="who commanded", contents=["source"]),
    ]
    images = rrb.Vertical(
        rrb.Spatial2DView(name="depth", origin="base/camera/depth"), rrb.Spatial2DView(name="colour", origin="color")
    )
    scene = rrb.Spatial3DView(name="base frame", origin="base")
    return rrb.Blueprint(
        rrb.Vertical(
            rrb.Horizontal(scene, images, column_shares=[2, 1]), rrb.Grid(*curves, grid_columns=3), row_shares=[3, 2]
        ),
        rrb.SelectionPanel(state="collapsed"),
        rrb.BlueprintPanel(state="collapsed"),
    )


def _windows(bag: BagReader, log: BagLog, mapping: BagMapping) -> list[Window]:
    return windows(bag, log, mapping) if log.marks or mapping.task or bag.notes.get("task") else []


def _labels(log: BagLog, window: Window, mapping: BagMapping) -> list[Label]:
    return labels_of(log, window, mapping, Counter())[0]


def _clouds(bag: BagReader, log: BagLog, spec: ObservationSpec, mapping: BagMapping) -> Any:
    return read_clouds(
        bag,
        spec,
        mapping.depth_topics,
        depth_scale_m=mapping.depth_scale_m,
        T_base_camera=mapping.T_base_camera,
        frames=log.frames,
    )


class _Viewer:
    """Writes one kind of thing at a time into a recording; each method returns how many things it wrote."""

    def __init__(self, rr: Any, recording: Any, log: BagLog) -> None:
        self._rr, self._recording, self._log = rr, recording, log

    def _at(self, stamp: int) -> None:
        self._recording.set_time(_TIMELINE, timestamp=stamp * 1e-9)

    def frames(self, mapping: BagMapping, spec: ObservationSpec) -> None:
        """The base, the crop box and, where the transforms tell, the camera."""
        rr = self._rr
        low, high = np.array(spec.crop_min_m), np.array(spec.crop_max_m)
        self._recording.log("base", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        self._recording.log(
            "base/crop",
            rr.Boxes3D(centers=[(low + high) / 2], half_sizes=[(high - low) / 2], fill_mode="MajorWireframe"),
            static=True,
        )
        T = self._T_base_camera(mapping)
        if T is None or not self._log.intrinsics:
            return
        i = self._log.intrinsics[0]
        self._recording.log("base/camera", rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]), static=True)
        pinhole = rr.Pinhole(focal_length=(i.fx, i.fy), principal_point=(i.cx, i.cy), width=i.width, height=i.height)
        self._recording.log("base/camera/depth", pinhole, static=True)

    def _T_base_camera(self, mapping: BagMapping) -> Array | None:
        if mapping.T_base_camera is not None:
            return np.array(mapping.T_base_camera)
        frame = next((f for f in self._log.frames.frames() if f.endswith("depth_optical_frame")), "")
        try:
            return self._log.frames.lookup(mapping.base_frame, frame)
        except FrameError:
            return None

    def depth(self, message: Any) -> int:
        try:
            pixels = depth_image(message)
        except MessageError:
            return 0
        self._at(stamp_ns(message.header.stamp))
        self._recording.log("base/camera/depth", self._rr.DepthImage(pixels, meter=1000.0))
        return 1

    def color(self, message: Any) -> int:
        self._at(stamp_ns(message.header.stamp))
        image = self._rr.EncodedImage(contents=bytes(message.data), media_type="image/jpeg")
        self._recording.log("color", image)
        return 1

    def cloud(self, stamp: int, points: Any) -> int:
        self._at(stamp)
        heights = points[:, 2]
        shade = np.clip((heights - heights.min()) / max(float(np.ptp(heights)), 1e-6), 0, 1)
        colors = np.stack([255 * shade, 140 + 60 * shade, 255 * (1 - shade)], axis=1).astype(np.uint8)
        self._recording.log("base/cloud", self._rr.Points3D(points, colors=colors, radii=0.002))
        return 1

    def states(self) -> int:
        """TCP, width and, where there are any, commanded poses."""
        rr, states = self._rr, self._log.states
        for i in range(0, len(states), _STATE_EVERY):
            self._at(int(states.stamps_ns[i]))
            T = states.T_measured[i]
            self._recording.log("base/tcp", rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
            self._recording.log(
                "base/tcp", rr.Arrows3D(vectors=0.06 * np.eye(3), colors=255 * np.eye(3, dtype=np.uint8))
            )
            for axis, name in enumerate(_AXES):
                self._recording.log(f"state/{name}", rr.Scalars([T[axis, 3]]))
            self._recording.log("state/gripper_width", rr.Scalars([states.width_m[i]]))
            if states.T_commanded is not None:
                for axis, name in enumerate(_AXES):
                    self._recording.log(f"commanded/{name}", rr.Scalars([states.T_commanded[i, axis, 3]]))
        return len(range(0, len(states), _STATE_EVERY))

    def labels(self, label: Label) -> int:
        """One action, at the observation that it answers."""
        rr = self._rr
        self._at(label.observation_ns)
        for axis, name in enumerate((*_AXES, "rx", "ry", "rz")):
            self._recording.log(f"action/{name}", rr.Scalars([label.action[axis]]))
        self._recording.log("action/gripper", rr.Scalars([label.action[6]]))
        self._recording.log("source", rr.TextLog(label.source))
        return 1
