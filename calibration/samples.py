"""What a calibration is made from: images with the robot's pose at each, as a folder that survives a crash.

    session.json        board, set-up, camera, frames, and one entry a sample
    color_000.png       what the colour camera saw
    depth_000.png       16 bit, millimetres, where there was depth

The pictures are the data; corners are found again whenever the session is solved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_calibration.board import Board
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import check_pose

Array = NDArray[np.float64]
SetUp = Literal["eye_to_hand", "eye_in_hand"]

SESSION = "session.json"
_FORMAT = 1


class SessionError(ValueError):
    """A folder of samples that cannot be used; the text names the file and the field."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rig:
    """What stays the same over a session.

    Attributes:
        set_up: ``eye_to_hand``, a static camera and the board on the hand; or ``eye_in_hand``, the other way round.
        board: the board, with its measured size.
        color: intrinsics of the colour images.
        depth: intrinsics of the depth images, None where there are none.
        T_depth_color: (4, 4), the driver's: colour optical frame in the depth optical frame.
        T_link_depth: (4, 4), the driver's: depth optical frame in the driver's root frame.
        camera_serial: of the camera.
        frames: names of the frames ``base``, ``tcp``, ``link``, ``depth``, ``color``.
    """

    set_up: SetUp
    board: Board
    color: Intrinsics
    depth: Intrinsics | None
    T_depth_color: Array
    T_link_depth: Array
    camera_serial: str = ""
    frames: Mapping[str, str] = field(
        default_factory=lambda: {
            "base": "fr3_link0",
            "tcp": "fr3_hand_tcp",
            "link": "camera_link",
            "depth": "camera_depth_optical_frame",
            "color": "camera_color_optical_frame",
        }
    )

    def __post_init__(self) -> None:
        if self.set_up not in get_args(SetUp):
            raise SessionError(f"set_up: expected one of {', '.join(get_args(SetUp))}, got {self.set_up!r}")

    @property
    def parent_frame(self) -> str:
        """The frame in which the camera stands still: the base's, or the TCP's."""
        return self.frames["base" if self.set_up == "eye_to_hand" else "tcp"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One view of the board with the robot at rest.

    Attributes:
        T_base_tcp: (4, 4) measured.
        color: (h, w, 3) uint8 RGB.
        depth: (h, w) uint16 in millimetres, or None.
        joints_rad: (7,) measured, or None where they are not known.
    """

    T_base_tcp: Array
    color: NDArray[np.uint8]
    depth: NDArray[np.uint16] | None = None
    joints_rad: Array | None = None


class Session:
    """A folder of samples, written as they come. Opening a folder that has some goes on after the last one.

    Raises:
        SessionError: the folder holds a session of another rig, or one that cannot be read.
    """

    def __init__(self, folder: Path, rig: Rig | None = None) -> None:
        self.folder = Path(folder)
        file = self.folder / SESSION
        self._entries: list[dict[str, Any]] = []
        if file.exists():
            stored, self._entries = _read(file)
            if rig is not None and _rig_to_dict(rig) != _rig_to_dict(stored):
                raise SessionError(
                    f"{file}: holds samples of another board, camera or set-up; choose another folder, or remove it"
                )
            self.rig = stored
        elif rig is None:
            raise SessionError(f"{file}: no such file; record samples with `clar calibrate collect`")
        else:
            self.rig = rig

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, sample: Sample) -> int:
        """Write one sample; returns its number. What was there before is never touched."""
        number = len(self._entries)
        self.folder.mkdir(parents=True, exist_ok=True)
        entry: dict[str, Any] = {"T_base_tcp": sample.T_base_tcp.tolist(), "color": f"color_{number:03d}.png"}
        _write_image(self.folder / entry["color"], cv2.cvtColor(sample.color, cv2.COLOR_RGB2BGR))
        if sample.depth is not None:
            entry["depth"] = f"depth_{number:03d}.png"
            _write_image(self.folder / entry["depth"], sample.depth)
        if sample.joints_rad is not None:
            entry["joints_rad"] = np.asarray(sample.joints_rad).tolist()
        self._entries.append(entry)
        self._write()
        return number

    def load(self, number: int) -> Sample:
        """Read one sample. Raises SessionError naming the file that is missing or broken."""
        entry, where = self._entries[number], f"{self.folder / SESSION}: samples[{number}]"
        try:
            T = check_pose(np.array(entry["T_base_tcp"], dtype=np.float64), "T_base_tcp")
        except (KeyError, TypeError, ValueError) as error:
            raise SessionError(f"{where}: T_base_tcp: expected a rigid 4 x 4 transform: {error}") from error
        color = _read_image(self.folder / str(entry.get("color", "")), cv2.IMREAD_COLOR)
        depth = entry.get("depth")
        joints = entry.get("joints_rad")
        return Sample(
            T_base_tcp=T,
            color=np.asarray(cv2.cvtColor(color, cv2.COLOR_BGR2RGB), dtype=np.uint8),
            depth=None if depth is None else _read_image(self.folder / str(depth), cv2.IMREAD_UNCHANGED),
            joints_rad=None if joints is None else np.array(joints, dtype=np.float64),
        )

    def samples(self) -> list[Sample]:
        """All samples, in order."""
        return [self.load(number) for number in range(len(self))]

    def with_board(self, board: Board) -> Session:
        """The same samples taken as views of another board, for instance of its measured size."""
        session = Session(self.folder)
        session.rig = replace(session.rig, board=board)
        return session

    def with_set_up(self, set_up: SetUp) -> Session:
        """The same samples taken as of another set-up."""
        session = Session(self.folder)
        session.rig = replace(session.rig, set_up=set_up)
        return session

    def _write(self) -> None:
        content = {"format": _FORMAT, **_rig_to_dict(self.rig), "samples": self._entries}
        part = self.folder / (SESSION + ".part")
        part.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(part, self.folder / SESSION)


def _rig_to_dict(rig: Rig) -> dict[str, Any]:
    return {
        "set_up": rig.set_up,
        "board": rig.board.to_dict(),
        "color": _intrinsics_to_dict(rig.color),
        "depth": None if rig.depth is None else _intrinsics_to_dict(rig.depth),
        "T_depth_color": np.round(rig.T_depth_color, 12).tolist(),
        "T_link_depth": np.round(rig.T_link_depth, 12).tolist(),
        "camera_serial": rig.camera_serial,
        "frames": dict(rig.frames),
    }


def _intrinsics_to_dict(intrinsics: Intrinsics) -> dict[str, Any]:
    return asdict(intrinsics) | {"coefficients": list(intrinsics.coefficients)}


def _intrinsics_of(content: Any, name: str) -> Intrinsics:
    if not isinstance(content, dict) or set(content) != {row.name for row in fields(Intrinsics)}:
        raise SessionError(f"{name}: expected intrinsics, got {content!r}")
    return Intrinsics(**content)


def _read(file: Path) -> tuple[Rig, list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise SessionError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise SessionError(f"{file}: format: expected {_FORMAT}; is this a folder of `clar calibrate collect`?")
    try:
        rig = Rig(
            set_up=content["set_up"],
            board=Board.from_dict(content["board"]),
            color=_intrinsics_of(content["color"], "color"),
            depth=None if content["depth"] is None else _intrinsics_of(content["depth"], "depth"),
            T_depth_color=check_pose(np.array(content["T_depth_color"], dtype=np.float64), "T_depth_color"),
            T_link_depth=check_pose(np.array(content["T_link_depth"], dtype=np.float64), "T_link_depth"),
            camera_serial=str(content["camera_serial"]),
            frames=dict(content["frames"]),
        )
        return rig, list(content["samples"])
    except KeyError as error:
        raise SessionError(f"{file}: {error.args[0]}: missing") from error
    except (TypeError, ValueError) as error:
        raise SessionError(f"{file}: {error}") from error


def _write_image(path: Path, image: NDArray[Any]) -> None:
    encoded, data = cv2.imencode(".png", image)
    if not encoded:
        raise SessionError(f"{path}: OpenCV could not encode the picture")
    part = path.with_name(path.name + ".part")
    part.write_bytes(data.tobytes())
    os.replace(part, path)


def _read_image(path: Path, flags: int) -> Any:
    image = cv2.imread(str(path), flags) if path.is_file() else None
    if image is None:
        raise SessionError(f"{path}: missing or no picture; restore it, or record the samples again")
    return image
