"""RH20T scenes as episodes: depth video, calibration, measured poses. https://rh20t.github.io

    RH20T_cfgN/calib/<time>/{intrinsics,extrinsics,tcp}.npy
    RH20T_cfgN/task_0001_user_0001_scene_0001_cfg_0001/
        metadata.json
        cam_<serial>/{depth.mp4, color.mp4, timestamps.npy}
        transformed/{tcp_base,gripper}.npy

Labels are differences of measured poses at 10 Hz, and provenance says so. Scenes and cameras that cannot be used are
counted by reason and left out, since missing calibrations, serials and files are common in this data set.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.data.bag_log import StateLog
from clar_core.data.episode import Episode, Step
from clar_core.data.labels import MEASURED, measured_labels
from clar_core.data.rh20t_layout import (
    CALIBRATED_WIDTH,
    CONFIGURATIONS,
    RobotConfiguration,
    calibration_tcp,
    is_l515,
    pose_of,
)
from clar_core.data.safe_pickle import load_object_array
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import Array, inverse
from clar_core.observation.builder import TooFewPointsError, build_cloud, proprioception
from clar_core.observation.spec import ObservationSpec

_MS = 1_000_000
_NAME = re.compile(r"task_(\d{4})_user_(\d{4})_scene_(\d{4})_cfg_(\d{4})(_human)?$")
_FIRST_NC_SCENE = 6
_NEAREST_MS = 60


class SceneError(ValueError):
    """A scene, or a camera of it, cannot be used; the message is the reason that is counted."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene's files, read but for its videos.

    Attributes:
        folder: of the scene.
        task, scene, config: numbers in its name.
        rating: 0 and 1 failed, 2 to 9 succeeded.
        states: measured poses in the aligned base frame and widths, at all cameras' stamps.
        T_camera_base: (4, 4) by serial, maps points of the aligned base frame to the camera.
        intrinsics: (3, 3) by serial, for 1280 pixels of width.
        in_hand: serials of the cameras on the hand, which move.
        instruction: sentence of the task, if the data set's description is given.
    """

    folder: Path
    task: int
    scene: int
    config: int
    rating: int
    states: StateLog
    T_camera_base: dict[str, Array]
    intrinsics: dict[str, Array]
    in_hand: tuple[str, ...]
    instruction: str = ""

    @property
    def licence(self) -> str:
        """Licence of this scene's data."""
        return "CC BY-SA 4.0" if self.scene < _FIRST_NC_SCENE else "CC BY-NC 4.0"


def read_episodes(
    root: Path,
    spec: ObservationSpec,
    *,
    serials: tuple[str, ...] = (),
    descriptions: Path | None = None,
    skipped: Counter[str] | None = None,
) -> Iterator[Episode]:
    """One episode for each usable scene and fixed camera below ``RH20T_cfgN`` (or a folder of several).

    Args:
        root: folder.
        spec: what an observation is; its crop box is in the data set's aligned base frame.
        serials: only these cameras; all fixed ones when empty.
        descriptions: ``task_description.json`` of the data set.
        skipped: counts what was left out, by reason.
    """
    counted = Counter[str]() if skipped is None else skipped
    sentences = {} if descriptions is None else json.loads(descriptions.read_text("utf-8"))
    for folder in sorted(p for p in root.rglob("task_*") if p.is_dir() and _NAME.match(p.name)):
        try:
            scene = read_scene(folder, sentences)
        except SceneError as error:
            counted[str(error)] += 1
            continue
        for camera in sorted(p for p in folder.glob("cam_*") if p.is_dir()):
            serial = camera.name.removeprefix("cam_")
            if serials and serial not in serials:
                continue
            try:
                yield read_camera(scene, serial, spec)
            except SceneError as error:
                counted[str(error)] += 1


def read_scene(folder: Path, sentences: dict[str, Any] | None = None) -> Scene:
    """Everything of a scene but its videos. Raises SceneError with the reason why it cannot be used."""
    match = _NAME.match(folder.name)
    if match is None:
        raise SceneError("not a scene's name")
    task, _, scene, config = (int(number) for number in match.groups()[:4])
    if match[5]:
        raise SceneError("a human's demonstration, without a robot")
    if config not in CONFIGURATIONS:
        raise SceneError(f"unknown configuration {config}")
    metadata = _json(folder / "metadata.json")
    if int(metadata.get("calib_quality", 1)) == 0:
        raise SceneError("calibration quality 0: some cameras are not calibrated")
    if metadata.get("calib", -1) in (-1, None):
        raise SceneError("names no calibration")
    robot = CONFIGURATIONS[config]
    extrinsics, intrinsics = _calibration(folder.parent / "calib" / str(metadata["calib"]), robot)
    text = (sentences or {}).get(f"task_{task:04d}", {})
    instruction = text.get("task_description_english", "") if isinstance(text, dict) else str(text)
    return Scene(
        folder,
        task,
        scene,
        config,
        int(metadata.get("rating", 0)),
        _states(folder / "transformed"),
        extrinsics,
        intrinsics,
        robot.in_hand,
        instruction,
    )


def read_camera(scene: Scene, serial: str, spec: ObservationSpec) -> Episode:
    """The episode as one fixed camera saw it. Raises SceneError with the reason why it cannot be used."""
    if serial in scene.in_hand:
        raise SceneError("a camera on the hand: it moves, and fixed ones see the same")
    if serial not in scene.T_camera_base or serial not in scene.intrinsics:
        raise SceneError("a camera without calibration")
    folder = scene.folder / f"cam_{serial}"
    stamps_ms = _depth_stamps(folder)
    skipped: Counter[str] = Counter()
    labels = {
        label.observation_ns // _MS: label
        for label in measured_labels(scene.states, np.asarray(stamps_ms, np.int64) * _MS, skipped)
    }
    T_base_camera = inverse(scene.T_camera_base[serial])
    robot = CONFIGURATIONS[scene.config]
    own = replace(spec, gripper_max_width_m=robot.gripper_max_width_m)
    steps: list[Step] = []
    for stamp_ms, depth in zip(stamps_ms, _depth_frames(folder / "depth.mp4", serial), strict=False):
        label = labels.get(stamp_ms)
        if label is None:
            continue
        camera = _intrinsics(scene.intrinsics[serial], depth.shape[1], depth.shape[0])
        nearest = int(np.argmin(np.abs(scene.states.stamps_ns - stamp_ms * _MS)))
        try:
            cloud = build_cloud(depth, camera, T_base_camera, own)
        except TooFewPointsError:
            continue
        state = proprioception(scene.states.T_measured[nearest], float(scene.states.width_m[nearest]), own)
        steps.append(Step(cloud, state, label.action.astype(np.float32)))
    if not steps:
        raise SceneError("no step with enough points in the crop box")
    info = {
        "source": "rh20t", "labels": MEASURED, "bag": f"{scene.folder.name}/{serial}", "camera": serial,
        "robot": robot.robot, "rating": scene.rating, "licence": scene.licence, "seed": -1,
    }  # fmt: skip
    return Episode(f"rh20t_task_{scene.task:04d}", scene.instruction, steps, scene.rating >= 2, info)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SceneError(f"{path.name} is missing or not JSON") from error
    return dict(content)


def _load(path: Path) -> Any:
    if not path.exists():
        raise SceneError(f"{path.name} is missing")
    try:
        return load_object_array(path)
    except ValueError as error:
        raise SceneError(f"{path.name} cannot be read: {error}") from error


def _calibration(folder: Path, robot: RobotConfiguration) -> tuple[dict[str, Array], dict[str, Array]]:
    """Base to camera (4, 4) and intrinsics (3, 3), by serial: E_k inv(E_hand) tc_mat inv(T_tcp) align_mat_base."""
    if not folder.is_dir():
        raise SceneError("its calibration is missing")
    extrinsics = {str(k): np.asarray(v, np.float64)[0] for k, v in _load(folder / "extrinsics.npy").items()}
    intrinsics = {str(k): np.asarray(v, np.float64)[:3, :3] for k, v in _load(folder / "intrinsics.npy").items()}
    if robot.in_hand[0] not in extrinsics:
        raise SceneError("the calibration lacks the camera on the hand, which ties it to the robot")
    try:
        T_base_tcp = calibration_tcp(np.asarray(_load(folder / "tcp.npy"), np.float64), robot.robot)
    except ValueError as error:
        raise SceneError(str(error)) from error
    T_marker_base = (
        np.linalg.inv(extrinsics[robot.in_hand[0]]) @ robot.tc_mat @ inverse(T_base_tcp) @ robot.align_mat_base
    )
    return {serial: E @ T_marker_base for serial, E in extrinsics.items()}, intrinsics


def _states(folder: Path) -> StateLog:
    """Measured poses of all cameras' stamps, in order, with the width of the gripper."""
    poses: dict[int, Array] = {}
    for entries in _load(folder / "tcp_base.npy").values():
        for entry in entries:
            try:
                poses[int(entry["timestamp"])] = pose_of(entry["tcp"])
            except (KeyError, TypeError, ValueError):
                continue
    widths: dict[int, float] = {}
    for by_time in _load(folder / "gripper.npy").values():
        for stamp, entry in by_time.items():
            values = entry.get("gripper_info", entry.get("gripper_command")) if isinstance(entry, dict) else entry
            widths[int(stamp)] = float(np.asarray(values, np.float64).reshape(-1)[0]) * 1e-3
    if len(poses) < 2 or not widths:
        raise SceneError("no measured poses or no width of the gripper")
    stamps = np.array(sorted(poses), np.int64)
    known = np.array(sorted(widths), np.int64)
    width = np.interp(stamps, known, [widths[int(t)] for t in known])
    return StateLog(stamps * _MS, np.array([poses[int(t)] for t in stamps]), width)


def _depth_stamps(folder: Path) -> list[int]:
    stamps = _load(folder / "timestamps.npy")
    if not isinstance(stamps, dict) or "depth" not in stamps:
        raise SceneError("timestamps.npy has no depth")
    return [int(t) for t in stamps["depth"]]


def _depth_frames(path: Path, serial: str) -> Iterator[NDArray[np.uint16]]:
    """Depth images (h, w) in millimetres: the video's frames are 2h tall, the low byte above the high one."""
    if not path.exists():
        raise SceneError("depth.mp4 is missing")
    import av

    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                gray = frame.to_ndarray(format="gray")
                height = gray.shape[0] // 2
                depth = gray[height:].astype(np.uint16) * 256 + gray[:height]
                yield np.asarray(depth // 4 if is_l515(serial) else depth, dtype=np.uint16)
    except av.FFmpegError as error:
        raise SceneError(f"depth.mp4 cannot be decoded: {error}") from error


def _intrinsics(matrix: Array, width: int, height: int) -> Intrinsics:
    """Intrinsics of a resized image: half at 640 pixels of width, a quarter at 320."""
    scale = width / CALIBRATED_WIDTH
    fx, fy, cx, cy = (float(matrix[i, j]) * scale for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Intrinsics(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)
