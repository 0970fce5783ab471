"""The result of a calibration: one small YAML file that says where the camera is, how good that is, and of what.

The file carries a SHA-256 over its own content. Bags, checkpoints and episodes name the calibration in force by that
hash, so that data from two camera poses are never mixed unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from clar_core.geometry.poses import check_pose, inverse

Array = NDArray[np.float64]

FORMAT = 1
EYE_TO_HAND, EYE_IN_HAND = "eye_to_hand", "eye_in_hand"
_HEADER = "# Camera calibration. Written by the calibration tool: do not edit, the hash covers every line.\n"
NEXT_STEP = "calibrate the camera again: ros2 launch clar calibrate.launch.py"


class CalibrationError(ValueError):
    """A calibration is missing, malformed, changed by hand, or too old; the message names the file and the field."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationResult:
    """Pose of a camera in the frame in which it stands still.

    Attributes:
        T_base_optical: (4, 4), maps points of the depth optical frame to the frame ``base_frame``, metres.
        T_link_optical: (4, 4), the driver's own static transform from its root frame to the depth optical frame, as it
            was during the calibration. A driver that later says otherwise is another camera, or another driver.
        base_frame: the frame in which the camera stands still: the robot's base for ``eye_to_hand``, the TCP for
            ``eye_in_hand``.
        link_frame, optical_frame: names of the driver's root frame and of the depth optical frame.
        date: when the calibration was made, in UTC.
        camera_serial: serial number of the camera that was calibrated.
        method: how it was made, e.g. ``eye_to_hand_charuco`` or ``simulated``.
        holdout_translation_mm, holdout_rotation_deg: errors on poses that the solver did not see.
        holdout_samples: how many poses these errors come from.
        software: versions of what it was made with.
        set_up: ``eye_to_hand``, a static camera, or ``eye_in_hand``, one on the hand.
        quality: how good it is, in plain numbers and text (see quality.py); empty when nobody measured it.
        reference: name and SHA-256 of the file that holds the scene at calibration (see reference.py); empty without.
    """

    T_base_optical: Array
    T_link_optical: Array
    base_frame: str
    link_frame: str
    optical_frame: str
    date: datetime
    camera_serial: str
    method: str
    holdout_translation_mm: float
    holdout_rotation_deg: float
    holdout_samples: int
    software: Mapping[str, str] = field(default_factory=dict)
    set_up: str = EYE_TO_HAND
    quality: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("T_base_optical", "T_link_optical"):
            object.__setattr__(self, name, check_pose(getattr(self, name), name))
        if self.date.tzinfo is None:
            raise ValueError(f"date: expected a date with a time zone, got {self.date.isoformat()}")
        if self.set_up not in (EYE_TO_HAND, EYE_IN_HAND):
            raise ValueError(f"set_up: expected {EYE_TO_HAND} or {EYE_IN_HAND}, got {self.set_up!r}")

    @property
    def T_base_link(self) -> Array:
        """(4, 4): where the driver's root frame is, in the base frame."""
        return self.T_base_optical @ inverse(self.T_link_optical)

    @property
    def hash(self) -> str:
        """``sha256:`` and 64 hexadecimal digits over the whole content; equal contents have equal hashes."""
        return _hash(self.to_dict())

    def age(self, now: datetime | None = None) -> timedelta:
        """Time since the calibration was made."""
        return (now or datetime.now(UTC)) - self.date

    def check_age(self, limit_days: float, now: datetime | None = None) -> None:
        """Raise CalibrationError when the calibration is older than ``limit_days``."""
        days = self.age(now) / timedelta(days=1)
        if days > limit_days:
            raise CalibrationError(
                f"calibration of {self.date:%Y-%m-%d %H:%M} UTC is {days:.1f} days old,"
                f" expected at most {limit_days:g}; {NEXT_STEP}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain content of the file, without the hash. What is empty or usual is left out."""
        optional = {
            "set_up": self.set_up if self.set_up != EYE_TO_HAND else None,
            "quality": dict(self.quality),
            "reference": dict(self.reference),
        }
        return {
            "format": FORMAT,
            "method": self.method,
            "date": self.date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "camera_serial": self.camera_serial,
            "frames": {"base": self.base_frame, "link": self.link_frame, "optical": self.optical_frame},
            "T_base_optical": self.T_base_optical.tolist(),
            "T_link_optical": self.T_link_optical.tolist(),
            "holdout": {
                "translation_mm": float(self.holdout_translation_mm),
                "rotation_deg": float(self.holdout_rotation_deg),
                "samples": int(self.holdout_samples),
            },
            "software": dict(self.software),
        } | {key: value for key, value in optional.items() if value}


def save_calibration(result: CalibrationResult, path: str | Path) -> None:
    """Write a calibration file; an existing one is replaced only once the new one is whole."""
    path = Path(path)
    content = {**result.to_dict(), "hash": result.hash}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, suffix=".part", delete=False) as file:
        file.write(_HEADER)
        yaml.safe_dump(content, file, sort_keys=False, default_flow_style=None, width=120)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def replace_calibration(result: CalibrationResult, path: str | Path) -> Path | None:
    """``save_calibration`` that keeps the file that was there beside it; returns where, None when there was none."""
    path = Path(path)
    previous = path.with_name(path.name + ".previous")
    kept = path.exists()
    if kept:
        shutil.copy2(path, previous)
    save_calibration(result, path)
    return previous if kept else None


def load_calibration(path: str | Path) -> CalibrationResult:
    """Read a calibration file and check it.

    Raises:
        CalibrationError: the file is missing, is not YAML, lacks a field or has an unknown one, holds a value that is
            not what the field means, or was changed after it was written.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise CalibrationError(f"{path}: no such calibration file; {NEXT_STEP}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CalibrationError(f"{path}: expected a YAML calibration file, could not read it: {error}") from error
    if not isinstance(content, dict):
        raise CalibrationError(f"{path}: expected a YAML mapping, got {type(content).__name__}; {NEXT_STEP}")
    reader = _Reader(str(path), content)
    if content.get("format") != FORMAT:
        raise CalibrationError(f"{path}: format: expected {FORMAT}, got {content.get('format')!r}; {NEXT_STEP}")
    stored_hash = reader.text("hash")
    result = _from_reader(reader)
    actual = _hash({key: value for key, value in content.items() if key != "hash"})
    if stored_hash != actual:
        raise CalibrationError(
            f"{path}: hash: expected {actual} from the content, got {stored_hash}: the file was changed after it was"
            f" written; restore it, or {NEXT_STEP}"
        )
    return result


class _Reader:
    """Fields of a YAML mapping by dotted path, with errors that name file and field; unknown fields are refused."""

    def __init__(self, path: str, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content
        self._taken: set[str] = {"format"}

    def value(self, field_path: str, kind: type | tuple[type, ...], expected: str) -> Any:
        value: Any = self._content
        walked = ""
        for key in field_path.split("."):
            walked = f"{walked}.{key}" if walked else key
            if not isinstance(value, dict) or key not in value:
                raise CalibrationError(f"{self._path}: {walked}: missing, expected {expected}; {NEXT_STEP}")
            value = value[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise CalibrationError(f"{self._path}: {field_path}: expected {expected}, got {value!r}")
        self._taken.add(field_path)
        return value

    def optional(self, field_path: str, kind: type, expected: str, default: Any) -> Any:
        return self.value(field_path, kind, expected) if field_path in self._content else default

    def text(self, field_path: str) -> str:
        return str(self.value(field_path, str, "text"))

    def choice(self, field_path: str, choices: tuple[str, ...]) -> str:
        """One of some words; the first is what a file that says nothing means."""
        word = str(self.optional(field_path, str, f"one of {', '.join(choices)}", choices[0]))
        if word not in choices:
            raise CalibrationError(f"{self._path}: {field_path}: expected one of {', '.join(choices)}, got {word!r}")
        return word

    def number(self, field_path: str, expected: str) -> float:
        value = float(self.value(field_path, (int, float), expected))
        if not np.isfinite(value) or value < 0:
            raise CalibrationError(f"{self._path}: {field_path}: expected {expected}, got {value!r}")
        return value

    def pose(self, field_path: str) -> Array:
        rows = self.value(field_path, list, "a 4 x 4 matrix, as four rows of four numbers")
        try:
            return check_pose(np.array(rows, dtype=np.float64), field_path)
        except (TypeError, ValueError) as error:
            raise CalibrationError(
                f"{self._path}: {field_path}: expected a rigid transform, got {rows}: {error}"
            ) from error

    def date(self, field_path: str) -> datetime:
        text = self.text(field_path)
        try:
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise CalibrationError(
                f"{self._path}: {field_path}: expected a UTC date like 2026-01-31T12:00:00Z, got {text!r}"
            ) from error

    def refuse_unknown(self) -> None:
        known = {path.split(".")[0] for path in self._taken}
        unknown = sorted(set(self._content) - known)
        if unknown:
            raise CalibrationError(
                f"{self._path}: {unknown[0]}: unknown field, expected only {', '.join(sorted(known))}"
            )


def _from_reader(reader: _Reader) -> CalibrationResult:
    result = CalibrationResult(
        method=reader.text("method"),
        date=reader.date("date"),
        camera_serial=reader.text("camera_serial"),
        base_frame=reader.text("frames.base"),
        link_frame=reader.text("frames.link"),
        optical_frame=reader.text("frames.optical"),
        T_base_optical=reader.pose("T_base_optical"),
        T_link_optical=reader.pose("T_link_optical"),
        holdout_translation_mm=reader.number("holdout.translation_mm", "a length >= 0 in millimetres"),
        holdout_rotation_deg=reader.number("holdout.rotation_deg", "an angle >= 0 in degrees"),
        holdout_samples=int(reader.number("holdout.samples", "a count >= 0")),
        software={str(k): str(v) for k, v in reader.value("software", dict, "a mapping of versions").items()},
        set_up=reader.choice("set_up", (EYE_TO_HAND, EYE_IN_HAND)),
        quality=reader.optional("quality", dict, "a mapping of figures", {}),
        reference=reader.optional("reference", dict, "a mapping with file and sha256", {}),
    )
    reader.refuse_unknown()
    return result


def _hash(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
