"""cell.yaml: the one file that a site edits. Addresses, limits and places of one robot cell.

``write_template`` writes a commented file, ``load_cell`` reads it back and refuses, by file and field, what is missing,
unknown, of the wrong type or out of bounds.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import yaml
from numpy.typing import NDArray

from clar_core.control.envelope import KeepOut
from clar_core.control.joints import FR3_LOWER_RAD, FR3_UPPER_RAD
from clar_core.geometry.poses import check_pose

Vector3 = tuple[float, float, float]
Vector7 = tuple[float, float, float, float, float, float, float]
Matrix4 = tuple[tuple[float, float, float, float], ...]

FRANKA_HAND: Matrix4 = (
    (0.70710678, 0.70710678, 0.0, 0.0),
    (-0.70710678, 0.70710678, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.1034),
    (0.0, 0.0, 0.0, 1.0),
)
"""Flange to TCP of the Franka hand: 0.1034 m along z, turned by -45 degrees about it."""

_HOME: Vector7 = (0.0, -0.6, 0.0, -2.356, 0.0, 1.75, 0.785)


class CellConfigError(ValueError):
    """The cell file cannot be used; the text names the file, the field, what was expected and what was found."""


def _about(
    comment: str, *, minimum: float | None = None, maximum: float | None = None, choices: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What a field means, for the template and for messages, and its bounds (inclusive)."""
    return {"comment": comment, "minimum": minimum, "maximum": maximum, "choices": choices}


@dataclass(frozen=True, kw_only=True)
class MotionBox:
    """Where the TCP may be, in the base frame."""

    min_m: Vector3 = field(metadata=_about("lowest x, y, z of the TCP [m]", minimum=-1.2, maximum=1.5))
    max_m: Vector3 = field(metadata=_about("highest x, y, z of the TCP [m]", minimum=-1.2, maximum=1.5))


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """The depth camera."""

    serial: str = field(default="", metadata=_about("serial number; empty takes the only camera there is"))
    width: int = field(default=640, metadata=_about("pixels", minimum=320, maximum=1280))
    height: int = field(default=480, metadata=_about("pixels", minimum=240, maximum=800))
    fps: int = field(default=30, metadata=_about("frames per second", minimum=5, maximum=90))
    optical_frame: str = field(default="camera_depth_optical_frame", metadata=_about("TF frame of the depth images"))


@dataclass(frozen=True, kw_only=True)
class LoadConfig:
    """What the hand carries permanently, beyond the hand itself."""

    mass_kg: float = field(default=0.0, metadata=_about("0: nothing", minimum=0.0, maximum=3.0))
    centre_m: Vector3 = field(
        default=(0.0, 0.0, 0.0), metadata=_about("centre of mass in the flange frame", minimum=-0.5, maximum=0.5)
    )
    inertia_kg_m2: Vector3 = field(default=(0.0, 0.0, 0.0), metadata=_about("ixx, iyy, izz", minimum=0.0, maximum=1.0))


@dataclass(frozen=True, kw_only=True)
class GripperConfig:
    """The Franka hand."""

    force_n: float = field(default=40.0, metadata=_about("grasping force", minimum=1.0, maximum=70.0))
    speed_m_s: float = field(default=0.1, metadata=_about("speed of the fingers", minimum=0.005, maximum=0.2))
    max_width_m: float = field(default=0.08, metadata=_about("opening of the homed gripper", minimum=0.01, maximum=0.2))


@dataclass(frozen=True, kw_only=True)
class KeepOutConfig:
    """A box that the TCP may not enter."""

    name: str = field(metadata=_about("named in messages"))
    min_m: Vector3 = field(metadata=_about("lowest corner, base frame", minimum=-2.0, maximum=2.0))
    max_m: Vector3 = field(metadata=_about("highest corner, base frame", minimum=-2.0, maximum=2.0))


@dataclass(frozen=True, kw_only=True)
class CellConfig:
    """One robot cell, as its cell.yaml describes it. Lengths in metres, angles in radians, poses in the base frame."""

    robot_ip: str = field(metadata=_about("address of the robot's control interface"))
    robot_type: str = field(default="fr3", metadata=_about("the arm", choices=("fr3",)))
    motion_box: MotionBox = field(
        metadata=_about("REQUIRED: where the TCP may be. Measure your table; there is no default")
    )
    keep_outs: tuple[KeepOutConfig, ...] = field(
        default=(), metadata=_about("boxes inside it that the TCP may not enter")
    )
    home_joint_positions_rad: Vector7 = field(
        default=_HOME, metadata=_about("where the slow way home ends", minimum=-3.1, maximum=4.6)
    )
    F_T_EE: Matrix4 = field(default=FRANKA_HAND, metadata=_about("flange to TCP, as on the robot's Desk"))
    load: LoadConfig = field(default_factory=LoadConfig, metadata=_about("payload beyond the hand"))
    gripper: GripperConfig = field(default_factory=GripperConfig, metadata=_about("the hand"))
    camera: CameraConfig = field(default_factory=CameraConfig, metadata=_about("the depth camera"))
    calibration: str = field(
        default="calibration.yaml", metadata=_about("hand-eye calibration file, relative to this file")
    )
    path: Path = field(default=Path("cell.yaml"), metadata={"internal": True})

    @property
    def flange_T_tcp(self) -> NDArray[np.float64]:
        """(4, 4) flange to TCP."""
        return np.array(self.F_T_EE, dtype=np.float64)

    @property
    def calibration_path(self) -> Path:
        """The calibration file, resolved against the cell file's folder."""
        return self.path.parent / self.calibration

    @property
    def keep_out_boxes(self) -> tuple[KeepOut, ...]:
        """The keep-outs as the envelope takes them."""
        return tuple(KeepOut(box.name, box.min_m, box.max_m) for box in self.keep_outs)


def load_cell(path: str | Path) -> CellConfig:
    """Read and check a cell file.

    Raises:
        CellConfigError: the file is missing or no YAML, or fields are missing, unknown, of the wrong type or out of
            bounds; all of them are named in one message.
    """
    file = Path(path)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CellConfigError(f"{file}: no such file; write one with `clar cell init {file}` and edit it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CellConfigError(f"{file}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise CellConfigError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
    problems: list[str] = []
    cell = _parse(CellConfig, content, "", problems)
    if cell is not None:
        problems += _cross_checks(cell)
    if problems or cell is None:
        raise CellConfigError(f"{file}:" + "".join(f"\n  {problem}" for problem in problems))
    return dataclasses.replace(cell, path=file)


def write_template(path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a commented cell file to edit. ``load_cell`` refuses it until motion_box is filled in.

    Raises:
        CellConfigError: the file exists already, or cannot be written.
    """
    file = Path(path)
    if file.exists() and not overwrite:
        raise CellConfigError(f"{file}: exists already; edit it, or remove it first")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(template(), encoding="utf-8")
    except OSError as error:
        raise CellConfigError(f"{file}: cannot be written ({error})") from error
    return file


def template() -> str:
    """The text of a commented cell file with all defaults; required values are left empty."""
    lines = ["# One robot cell. Lengths in metres, angles in radians, poses in the base frame fr3_link0."]
    return "\n".join(lines + _template(CellConfig, "")) + "\n"


def _template(kind: type[Any], indent: str) -> list[str]:
    lines = []
    for row in _fields(kind):
        hint = get_type_hints(kind)[row.name]
        comment = f"  # {row.metadata['comment']}{_bounds(row)}"
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            lines.append(f"{indent}{row.name}:{comment}")
            lines += _template(hint, indent + "  ")
        else:
            value = "" if row.default is dataclasses.MISSING else " " + _as_yaml(row.default)
            lines.append(f"{indent}{row.name}:{value}{comment}")
    return lines


def _bounds(row: dataclasses.Field[Any]) -> str:
    if row.metadata.get("choices"):
        return f" ({' | '.join(row.metadata['choices'])})"
    if row.metadata.get("minimum") is None:
        return ""
    return f" ({row.metadata['minimum']:g} to {row.metadata['maximum']:g})"


def _as_yaml(value: Any) -> str:
    plain = [list(row) if isinstance(row, tuple) else row for row in value] if isinstance(value, tuple) else value
    return str(yaml.safe_dump(plain, default_flow_style=True, width=1000)).removesuffix("\n...\n").strip()


def _fields(kind: type[Any]) -> list[dataclasses.Field[Any]]:
    return [row for row in dataclasses.fields(kind) if not row.metadata.get("internal")]


T = TypeVar("T")


def _parse(kind: type[T], content: Any, prefix: str, problems: list[str]) -> T | None:
    """An instance of a settings dataclass from a mapping, or None with every problem listed."""
    if not isinstance(content, dict):
        problems.append(f"{prefix.rstrip('.') or 'the file'}: expected a mapping of fields, got {_shown(content)}")
        return None
    rows = {row.name: row for row in _fields(kind)}
    hints = get_type_hints(kind)
    for name in content:
        if name not in rows:
            near = difflib.get_close_matches(str(name), rows, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(rows)}"
            problems.append(f"{prefix}{name}: unknown field, {hint}")
    values: dict[str, Any] = {}
    before = len(problems)
    for name, row in rows.items():
        given = content.get(name)
        required = row.default is dataclasses.MISSING and row.default_factory is dataclasses.MISSING
        if given is None:
            if required:
                problems.append(f"{prefix}{name}: required. {row.metadata['comment']}")
            continue
        values[name] = _convert(hints[name], given, f"{prefix}{name}", row, problems)
    return kind(**values) if len(problems) == before else None


def _convert(hint: Any, given: Any, name: str, row: dataclasses.Field[Any], problems: list[str]) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _parse(hint, given, f"{name}.", problems)
    if get_origin(hint) is tuple:
        return _convert_list(hint, given, name, row, problems)
    if hint is float and isinstance(given, int) and not isinstance(given, bool):
        given = float(given)
    if hint is str and name == "camera.serial" and isinstance(given, int):
        given = str(given)
    if not isinstance(given, hint) or isinstance(given, bool):
        problems.append(f"{name}: expected {_TYPE_NAMES[hint]}, got {_shown(given)}")
        return given
    if hint in (int, float):
        _check_bounds(given, name, row, problems)
    choices = row.metadata.get("choices")
    if choices and given not in choices:
        problems.append(f"{name}: expected one of {', '.join(choices)}, got {_shown(given)}")
    return given


def _convert_list(hint: Any, given: Any, name: str, row: dataclasses.Field[Any], problems: list[str]) -> Any:
    arguments = get_args(hint)
    count = None if arguments[-1] is Ellipsis else len(arguments)
    if not isinstance(given, list) or (count is not None and len(given) != count):
        what = "a list" if count is None else f"a list of {count} numbers"
        problems.append(f"{name}: expected {what}, got {_shown(given)}")
        return given
    return tuple(_convert(arguments[0], item, f"{name}[{i}]", row, problems) for i, item in enumerate(given))


def _check_bounds(value: float, name: str, row: dataclasses.Field[Any], problems: list[str]) -> None:
    low, high = row.metadata.get("minimum"), row.metadata.get("maximum")
    if not math.isfinite(value):
        problems.append(f"{name}: expected a finite number, got {value}")
    elif (low is not None and value < low) or (high is not None and value > high):
        problems.append(f"{name}: {value:g} is out of bounds, expected {low:g} to {high:g}")


def _cross_checks(cell: CellConfig) -> list[str]:
    """What no single field can tell: boxes the right way round, home within the joints, a rigid end effector."""
    problems = []
    boxes = [("motion_box", cell.motion_box.min_m, cell.motion_box.max_m)]
    boxes += [(f"keep_outs[{i}]", box.min_m, box.max_m) for i, box in enumerate(cell.keep_outs)]
    for name, low, high in boxes:
        problems += [
            f"{name}: expected min_m < max_m in {axis}, got {low[i]:g} and {high[i]:g}"
            for i, axis in enumerate("xyz")
            if not low[i] < high[i]
        ]
    for i, value in enumerate(cell.home_joint_positions_rad):
        if not FR3_LOWER_RAD[i] < value < FR3_UPPER_RAD[i]:
            problems.append(
                f"home_joint_positions_rad[{i}]: {value:g} is out of bounds, expected"
                f" {FR3_LOWER_RAD[i]:g} to {FR3_UPPER_RAD[i]:g}"
            )
    try:
        check_pose(cell.flange_T_tcp, "F_T_EE")
    except ValueError as error:
        problems.append(" ".join(str(error).split()))
    return problems


_TYPE_NAMES = {int: "a whole number", float: "a number", str: "text"}


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{value!r}"
