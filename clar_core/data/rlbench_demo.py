"""RLBench demonstrations on disk. https://github.com/stepjam/RLBench

    <task>/variation0/variation_descriptions.pkl
    <task>/variation0/episodes/episode0/{low_dim_obs.pkl, front_depth/0.png, front_rgb/0.png, ...}

RLBench itself is not needed: its pickles are read with stand-ins for its classes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_core.data.rlbench_scene import camera_of, millimetres, observe
from clar_core.data.safe_pickle import load_pickle
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import Array, pose_from_quaternion
from clar_core.observation.spec import ObservationSpec

_CLASSES = {"rlbench.demo": ("Demo",), "rlbench.backend.observation": ("Observation",)}
_STILL_RAD_S = 0.1
_BUFFER = 4
_FULL_SCALE = 2**24 - 1
_LEAST = 3
_DIGEST_CHARACTERS = 16


class DemonstrationError(ValueError):
    """A demonstration cannot be read; the message names the file and the field."""


@dataclass(frozen=True, eq=False)
class Demonstration:
    """One demonstration: 20 observations a second, images left on the disk.

    Attributes:
        folder: ``episode<n>``.
        observations: RLBench's, as stand-ins that keep the attributes.
        poses: ``T_base_tip`` (4, 4) at each.
        is_open: whether the gripper is, at each.
        T_base_world: (4, 4), maps world points to the base frame.
        digest: of the file of observations, which tells demonstrations apart wherever they lie.
    """

    folder: Path
    observations: Sequence[Any]
    poses: Sequence[Array]
    is_open: Sequence[bool]
    T_base_world: Array
    digest: str

    @property
    def variation(self) -> Path:
        """Its folder ``variation<n>``."""
        return self.folder.parent.parent

    @property
    def task(self) -> str:
        """Name of its task."""
        return self.variation.parent.name

    @property
    def name(self) -> str:
        """``variation<n>/episode<n>``."""
        return f"{self.variation.name}/{self.folder.name}"

    @property
    def sentence(self) -> str:
        """The first of its variation's descriptions, empty without any."""
        file = self.variation / "variation_descriptions.pkl"
        if not file.exists():
            return ""
        sentences = load_pickle(file)
        return str(sentences[0]) if isinstance(sentences, list) and sentences else ""

    def keyframes(self) -> list[int]:
        """See :func:`keyframes`."""
        return keyframes(self.observations, self.is_open, self.folder)

    def observe(
        self, number: int, spec: ObservationSpec, camera: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cloud (n, 3) and proprioception (10,) at an observation.

        Raises:
            DemonstrationError: its image or its camera is missing or malformed.
            TooFewPointsError: the crop box is all but empty.
        """
        depth, intrinsics, T_world_camera = read_depth(self.folder, camera, number, self.observations[number])
        T_base_camera = self.T_base_world @ T_world_camera
        return observe(depth, intrinsics, T_base_camera, self.poses[number], self.is_open[number], spec)


def load_demonstration(folder: Path, T_base_world: Array | None = None) -> Demonstration:
    """The demonstration of a folder ``episode<n>``.

    Args:
        folder: with ``low_dim_obs.pkl`` and images.
        T_base_world: (4, 4) maps world points to the base frame; None takes the world as base.

    Raises:
        DemonstrationError: a file or a field is missing or malformed.
        UnsafePickleError: a pickle names more than data.
    """
    file = _existing(folder / "low_dim_obs.pkl")
    demo = load_pickle(file, _CLASSES)
    observations: Sequence[Any] = getattr(demo, "_observations", demo)
    if not isinstance(observations, (list, tuple)) or len(observations) < _LEAST:
        raise DemonstrationError(f"{file}: expected a list of observations")
    base = np.eye(4) if T_base_world is None else np.asarray(T_base_world, np.float64)
    return Demonstration(
        folder,
        observations,
        [base @ _pose(observation, folder) for observation in observations],
        [float(_field(observation, "gripper_open", folder)) > 0.5 for observation in observations],
        base,
        hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGEST_CHARACTERS],
    )


def check_task_folder(folder: Path) -> None:
    """Raise DemonstrationError, with what there is instead, where a folder is not that of one task."""
    tasks = task_folders(folder)
    if tasks != [folder]:
        names = ", ".join(task.name for task in tasks)
        raise DemonstrationError(f"{folder}: expected the folder of one task, this one holds several: {names}")


def demonstration_folders(task_folder: Path) -> list[Path]:
    """Folders of a task's demonstrations, in the order of their numbers."""
    return [
        folder
        for variation in sorted(task_folder.glob("variation*"), key=_number)
        for folder in sorted((variation / "episodes").glob("episode*"), key=_number)
    ]


def task_folders(folder: Path) -> list[Path]:
    """The tasks below a folder, or the folder itself where it is one. Raises DemonstrationError where there is none."""
    if next(folder.glob("variation*/episodes"), None):
        return [folder]
    found = sorted(p for p in folder.glob("*") if next(p.glob("variation*/episodes"), None))
    if not found:
        raise DemonstrationError(f"{folder}: expected <task>/variation0/episodes/episode0 as RLBench writes them")
    return found


def read_depth(
    folder: Path, camera: str, number: int, observation: Any
) -> tuple[NDArray[np.uint16], Intrinsics, Array]:
    """Depth (h, w) in millimetres, intrinsics and ``T_world_camera`` (4, 4) of one image.

    The PNG holds 24 bits of depth between the near and the far plane, so it must never be resized.
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
    height, width = fraction.shape
    intrinsics, T_world_camera = camera_of(values["intrinsics"], values["extrinsics"], width, height)
    return millimetres(near + fraction * (far - near)), intrinsics, T_world_camera


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


def _existing(file: Path) -> Path:
    if not file.exists():
        raise DemonstrationError(f"{file}: is missing")
    return file


def _number(path: Path) -> int:
    match = re.search(r"(\d+)$", path.name)
    return int(match[1]) if match else -1
