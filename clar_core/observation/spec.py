"""The frozen definition of an observation. It is stored in every checkpoint; another one at run time is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class ObservationSpec:
    """What an observation is: frame, crop, sampling and normalisation.

    Attributes:
        base_frame: frame that clouds and poses are expressed in.
        crop_min_m, crop_max_m: opposite corners of the crop box in the base frame. Its lower z lies above the support
            plane: with the table in, farthest point sampling spends the points on it.
        depth_min_m, depth_max_m: distances along the optical axis at which the camera is believed.
        max_cloud_points: size that a cropped cloud is thinned out to.
        network_points: points that the network sees, by farthest point sampling.
        min_cloud_points: a cloud with fewer points is refused, never padded in silence.
        edge_threshold: a pixel whose depth differs from a neighbour's by more than this fraction of its own is a
            flying pixel (an average of foreground and background) and is dropped.
        gripper_max_width_m: opening that counts as 1 in the proprioception.
        state_gap_max_s: a robot state farther than this from the capture stamp is not used for interpolation.

    Raises:
        ValueError: a field out of range, named.
    """

    base_frame: str = "fr3_link0"
    crop_min_m: Vector3 = (0.20, -0.45, 0.006)
    crop_max_m: Vector3 = (0.85, 0.45, 0.60)
    depth_min_m: float = 0.3
    depth_max_m: float = 2.0
    max_cloud_points: int = 8192
    network_points: int = 1024
    min_cloud_points: int = 200
    edge_threshold: float = 0.02
    gripper_max_width_m: float = 0.08
    state_gap_max_s: float = 0.020

    def __post_init__(self) -> None:
        for name in ("crop_min_m", "crop_max_m"):
            corner = tuple(float(value) for value in getattr(self, name))
            if len(corner) != 3 or not all(math.isfinite(value) for value in corner):
                raise ValueError(f"{name}: expected 3 finite numbers in metres, got {getattr(self, name)}")
            object.__setattr__(self, name, corner)
        if not all(low < high for low, high in zip(self.crop_min_m, self.crop_max_m, strict=True)):
            raise ValueError(
                f"crop_min_m: expected below crop_max_m on each axis, got {self.crop_min_m} and {self.crop_max_m}"
            )
        if not 0 <= self.depth_min_m < self.depth_max_m < math.inf:
            raise ValueError(f"depth_min_m: expected 0 <= min < max, got {self.depth_min_m} and {self.depth_max_m}")
        for name in ("edge_threshold", "gripper_max_width_m", "state_gap_max_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 1 <= self.min_cloud_points <= self.max_cloud_points:
            raise ValueError(
                f"min_cloud_points: expected 1 to max_cloud_points {self.max_cloud_points}, got {self.min_cloud_points}"
            )
        if not 1 <= self.network_points <= self.max_cloud_points:
            raise ValueError(
                f"network_points: expected 1 to max_cloud_points {self.max_cloud_points}, got {self.network_points}"
            )
        if not self.base_frame:
            raise ValueError("base_frame: expected the name of a frame, got an empty string")

    @property
    def centre_m(self) -> NDArray[np.float32]:
        """Centre of the crop box, (3,) float32: the origin of network units."""
        low, high = np.asarray(self.crop_min_m), np.asarray(self.crop_max_m)
        return np.asarray((low + high) / 2, dtype=np.float32)

    @property
    def scale_m(self) -> float:
        """Metres per network unit: half the longest side of the crop box, which thus becomes [-1, 1]."""
        return max(high - low for low, high in zip(self.crop_min_m, self.crop_max_m, strict=True)) / 2

    def normalise(self, points_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (..., 3) from metres in the base frame to network units, float32."""
        return np.asarray((points_m - self.centre_m) * np.float32(1 / self.scale_m), dtype=np.float32)

    def denormalise(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (..., 3) from network units to metres in the base frame, float32."""
        return np.asarray(points * np.float32(self.scale_m) + self.centre_m, dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON and YAML hold them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ObservationSpec:
        """The spec of :meth:`to_dict`.

        Raises:
            ValueError: an unknown, missing or ill-typed field, named.
        """
        types = {field.name: str(field.type) for field in fields(cls)}
        if unknown := sorted(set(values) - set(types)):
            raise ValueError(f"observation spec: unknown field {unknown[0]!r}; expected {sorted(types)}")
        if missing := sorted(set(types) - set(values)):
            raise ValueError(f"observation spec: field {missing[0]!r} is missing")
        return cls(**{name: _coerce(name, types[name], value) for name, value in values.items()})

    def differences(self, other: ObservationSpec) -> list[str]:
        """One line per field that differs, ``field: mine, theirs``; empty when the two are the same."""
        return [
            f"{field.name}: {getattr(self, field.name)}, {getattr(other, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


def _coerce(name: str, type_name: str, value: Any) -> Any:
    """The value as the field's type, or ValueError naming the field. YAML writes 1 for 1.0 and lists for tuples."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if type_name == "Vector3" and isinstance(value, (list, tuple)):
        if all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value):
            return tuple(value)
    elif type_name == "float" and number:
        return float(value)
    elif type_name == "int" and number and int(value) == value:
        return int(value)
    elif type_name == "str" and isinstance(value, str):
        return value
    raise ValueError(f"observation spec: field {name!r} expected {type_name}, got {value!r}")
