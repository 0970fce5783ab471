"""RLBench demonstrations as episodes. https://github.com/stepjam/RLBench

    <task>/variation0/variation_descriptions.pkl
    <task>/variation0/episodes/episode0/{low_dim_obs.pkl, front_depth/0.png, front_rgb/0.png, ...}

RLBench itself is not needed: its pickles are read with stand-ins for its classes. Observations come at 20 Hz, steps at
10. Labels are differences of measured gripper poses, and provenance says so; keyframes are named in ``info``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_core.data.episode import Episode, Step
from clar_core.data.labels import MEASURED
from clar_core.data.safe_pickle import load_pickle
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import Array, delta_between, orthonormalize, pose_from_quaternion
from clar_core.observation.builder import TooFewPointsError, build_cloud, proprioception
from clar_core.observation.spec import ObservationSpec

STRIDE = 2
"""Observations of 20 Hz to a step of 10 Hz."""
GRIPPER_MAX_WIDTH_M = 0.08

_CLASSES = {"rlbench.demo": ("Demo",), "rlbench.backend.observation": ("Observation",)}
_TURNED = np.diag([-1.0, -1.0, 1.0, 1.0])
_STILL_RAD_S = 0.1
_BUFFER = 4
_FULL_SCALE = 2**24 - 1
_MILLIMETRES = 1000.0


class DemonstrationError(ValueError):
    """A demonstration cannot be read; the message names the file and the field."""


def read_episodes(
    task_folder: Path,
    spec: ObservationSpec,
    *,
    camera: str = "front",
    T_base_world: Array | None = None,
    skipped: Counter[str] | None = None,
) -> Iterator[Episode]:
    """All demonstrations of one task.

    Args:
        task_folder: ``<task>``, with ``variation*`` inside.
        spec: what an observation is.
        camera: front, left_shoulder, right_shoulder, overhead or wrist.
        T_base_world: (4, 4) maps world points to the spec's base frame; None takes the world as base.
        skipped: counts demonstrations that cannot be read, by reason.
    """
    counted = Counter[str]() if skipped is None else skipped
    for variation in sorted(task_folder.glob("variation*"), key=_number):
        for folder in sorted((variation / "episodes").glob("episode*"), key=_number):
            try:
                yield read_episode(folder, spec, camera=camera, T_base_world=T_base_world)
            except (DemonstrationError, ValueError, OSError) as error:
                counted[str(error)] += 1


def read_episode(
    folder: Path, spec: ObservationSpec, *, camera: str = "front", T_base_world: Array | None = None
) -> Episode:
    """One demonstration.

    Raises:
        DemonstrationError: a file or a field is missing or malformed.
        UnsafePickleError: a pickle names more than data.
    """
    demo = load_pickle(_existing(folder / "low_dim_obs.pkl"), _CLASSES)
    observations: Sequence[Any] = getattr(demo, "_observations", demo)
    if not isinstance(observations, (list, tuple)) or len(observations) < STRIDE + 1:
        raise DemonstrationError(f"{folder / 'low_dim_obs.pkl'}: expected a list of observations")
    base = np.eye(4) if T_base_world is None else np.asarray(T_base_world, np.float64)
    poses = [base @ _pose(observation, folder) for observation in observations]
    is_open = [float(_field(observation, "gripper_open", folder)) > 0.5 for observation in observations]
    steps: list[Step] = []
    few = 0
    for now in range(0, len(observations) - STRIDE, STRIDE):
        depth, intrinsics, T_world_camera = read_depth(folder, camera, now, observations[now])
        try:
            cloud = build_cloud(depth, intrinsics, base @ T_world_camera, spec)
        except TooFewPointsError:
            few += 1
            continue
        translation, rotation = delta_between(poses[now], poses[now + STRIDE])
        action = np.concatenate([translation, rotation, [float(is_open[now + STRIDE])]])
        width = GRIPPER_MAX_WIDTH_M if is_open[now] else 0.0
        steps.append(Step(cloud, proprioception(poses[now], width, spec), action.astype(np.float32)))
    if not steps:
        raise DemonstrationError(f"{folder}: no step with enough points in the crop box ({few} had too few)")
    variation = folder.parent.parent
    info = {
        "source": "rlbench", "labels": MEASURED, "bag": f"{variation.name}/{folder.name}", "camera": camera, "seed": -1,
        "keyframes": [k // STRIDE for k in keyframes(observations, is_open, folder)],
    }  # fmt: skip
    return Episode(variation.parent.name, _sentence(variation), steps, True, info)


def read_depth(
    folder: Path, camera: str, number: int, observation: Any
) -> tuple[NDArray[np.uint16], Intrinsics, Array]:
    """Depth (h, w) in millimetres, intrinsics and ``T_world_camera`` (4, 4) of one image.

    The PNG holds 24 bits of depth between the near and the far plane, so it must never be resized. RLBench's intrinsics
    have negative focal lengths, which is a camera turned by half about its axis.
    """
    file = _existing(folder / f"{camera}_depth" / f"{number}.png")
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise DemonstrationError(f"{file}: not a PNG with three channels")
    blue, green, red = (image[..., channel].astype(np.float64) for channel in range(3))
    fraction = (red * 65536 + green * 256 + blue) / _FULL_SCALE
    misc = _field(observation, "misc", folder)
    values: dict[str, Array] = {}
    for name in ("near", "far", "intrinsics", "extrinsics"):
        key = f"{camera}_camera_{name}"
        if key not in misc:
            raise DemonstrationError(f"{folder / 'low_dim_obs.pkl'}: misc: expected {key}")
        values[name] = np.asarray(misc[key], dtype=np.float64)
    near, far = float(values["near"]), float(values["far"])
    depth_m = near + fraction * (far - near)
    K, T = values["intrinsics"], values["extrinsics"].reshape(-1, 4)[:3]
    T_world_camera = np.eye(4)
    T_world_camera[:3] = T
    T_world_camera[:3, :3] = orthonormalize(T[:, :3])
    fx, fy = float(K[0, 0]), float(K[1, 1])
    if fx < 0 and fy < 0:
        fx, fy, T_world_camera = -fx, -fy, T_world_camera @ _TURNED
    height, width = depth_m.shape
    intrinsics = Intrinsics(width=width, height=height, fx=fx, fy=fy, cx=float(K[0, 2]), cy=float(K[1, 2]))
    millimetres = np.round(depth_m * _MILLIMETRES)
    return np.where(millimetres < 65536, millimetres, 0).astype(np.uint16), intrinsics, T_world_camera


def keyframes(observations: Sequence[Any], is_open: Sequence[bool], folder: Path = Path()) -> list[int]:
    """Indices at which the gripper changes, the arm stops, or the demonstration ends, as PerAct and RVT take them."""
    found: list[int] = []
    buffer = 0
    last = len(observations) - 1
    for i in range(1, len(observations)):
        stopped = buffer <= 0 and _stopped(observations, is_open, i, folder)
        buffer = _BUFFER if stopped else buffer - 1
        if is_open[i] != is_open[i - 1] or i == last or stopped:
            found.append(i)
    if len(found) > 1 and found[-1] - 1 == found[-2]:
        found.pop(-2)
    return found


def _stopped(observations: Sequence[Any], is_open: Sequence[bool], i: int, folder: Path) -> bool:
    if i >= len(observations) - 2 or i < 2:
        return False
    velocities = np.asarray(_field(observations[i], "joint_velocities", folder), dtype=np.float64)
    unchanged = is_open[i] == is_open[i + 1] == is_open[i - 1] == is_open[i - 2]
    return bool((np.abs(velocities) < _STILL_RAD_S).all()) and unchanged


def _pose(observation: Any, folder: Path) -> Array:
    values = np.asarray(_field(observation, "gripper_pose", folder), dtype=np.float64).reshape(-1)
    if len(values) != 7:
        raise DemonstrationError(f"{folder}: gripper_pose: expected 7 numbers, got {len(values)}")
    return pose_from_quaternion(values[:3], values[3:])


def _field(observation: Any, name: str, folder: Path) -> Any:
    value = getattr(observation, name, None)
    if value is None:
        raise DemonstrationError(f"{folder / 'low_dim_obs.pkl'}: an observation has no {name}")
    return value


def _sentence(variation: Path) -> str:
    file = variation / "variation_descriptions.pkl"
    if not file.exists():
        return ""
    sentences = load_pickle(file)
    return str(sentences[0]) if isinstance(sentences, list) and sentences else ""


def _existing(file: Path) -> Path:
    if not file.exists():
        raise DemonstrationError(f"{file}: is missing")
    return file


def _number(path: Path) -> int:
    match = re.search(r"(\d+)$", path.name)
    return int(match[1]) if match else -1
