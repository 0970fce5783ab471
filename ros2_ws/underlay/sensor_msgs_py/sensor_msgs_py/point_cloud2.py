"""Reading and writing sensor_msgs/PointCloud2 as NumPy arrays.

Field semantics are upstream's: a field of count n becomes n columns ``name_0`` ... ``name_{n-1}``, an unnamed one
``unnamed_field_<index>``, and ``offset`` and ``point_step`` are honoured. Reads are views of the message's data where
nothing has to be selected, so the cost does not grow with the cloud; writes copy once.
"""

from __future__ import annotations

import array
import sys
from collections import namedtuple
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

__clar_stand_in__ = True

DUMMY_FIELD_PREFIX = "unnamed_field"
_TYPES = {
    PointField.INT8: np.dtype(np.int8),
    PointField.UINT8: np.dtype(np.uint8),
    PointField.INT16: np.dtype(np.int16),
    PointField.UINT16: np.dtype(np.uint16),
    PointField.INT32: np.dtype(np.int32),
    PointField.UINT32: np.dtype(np.uint32),
    PointField.FLOAT32: np.dtype(np.float32),
    PointField.FLOAT64: np.dtype(np.float64),
}
_NATIVE_IS_BIG_ENDIAN = sys.byteorder == "big"


def dtype_from_fields(fields: Iterable[PointField], point_step: int | None = None) -> np.dtype[np.void]:
    """The structured dtype of one point, padded to ``point_step`` bytes where given.

    Raises:
        AssertionError: a count of zero, or two columns of one name.
    """
    names: list[str] = []
    formats: list[str] = []
    offsets: list[int] = []
    for index, field in enumerate(fields):
        assert field.count > 0, f"field {field.name!r}: expected a count of at least 1, got {field.count}"
        name = field.name or f"{DUMMY_FIELD_PREFIX}_{index}"
        dtype = _TYPES[field.datatype]
        for column in range(field.count):
            names.append(name if field.count == 1 else f"{name}_{column}")
            formats.append(dtype.str)
            offsets.append(field.offset + column * dtype.itemsize)
    assert len(set(names)) == len(names), f"expected distinct field names, got {names}"
    layout: dict[str, Any] = {"names": names, "formats": formats, "offsets": offsets}
    if point_step is not None:
        layout["itemsize"] = point_step
    return np.dtype(layout)


def read_points(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | NDArray[Any] | None = None,
    reshape_organized_cloud: bool = False,
) -> NDArray[np.void]:
    """The points as a structured array (n,) with a column for each field.

    Args:
        cloud: the message.
        field_names: the columns to read, all when left out.
        skip_nans: leave out points with a NaN, unless the cloud says that it is dense.
        uvs: indices of the points to read.
        reshape_organized_cloud: (width, height) where the cloud has more than one row.

    Raises:
        AssertionError: ``cloud`` is not a PointCloud2, or a name is not among its fields.
    """
    assert isinstance(cloud, PointCloud2), f"expected a PointCloud2, got {type(cloud).__name__}"
    dtype = dtype_from_fields(cloud.fields, cloud.point_step)
    points: NDArray[np.void] = np.ndarray((cloud.width * cloud.height,), dtype, buffer=cloud.data)
    if field_names is not None:
        missing = [name for name in field_names if name not in (dtype.names or ())]
        assert not missing, f"expected fields among {dtype.names}, got {missing}"
        points = points[list(field_names)]
    if bool(cloud.is_bigendian) != _NATIVE_IS_BIG_ENDIAN:
        # A copy: swapping in place would change the message for its next reader.
        points = points.byteswap()
    if skip_nans and not cloud.is_dense:
        keep = np.ones(len(points), dtype=bool)
        for name in points.dtype.names or ():
            keep &= ~np.isnan(points[name])
        points = points[keep]
    if uvs is not None:
        points = points[uvs if isinstance(uvs, np.ndarray) else np.fromiter(uvs, int)]
    if reshape_organized_cloud and cloud.height > 1:
        points = points.reshape(cloud.width, cloud.height)
    return points


def read_points_numpy(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | NDArray[Any] | None = None,
    reshape_organized_cloud: bool = False,
) -> NDArray[Any]:
    """The points as a plain array (n, columns), of fields that share one type. Arguments as in ``read_points``.

    Raises:
        AssertionError: the fields differ in type.
    """
    assert len({f.datatype for f in cloud.fields if field_names is None or f.name in field_names}) <= 1, (
        "expected fields of one datatype; use read_points() for fields that differ"
    )
    return structured_to_unstructured(read_points(cloud, field_names, skip_nans, uvs, reshape_organized_cloud))


def read_points_list(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | None = None,
) -> list[Any]:
    """The points as a list of named tuples: convenient, and slow for more than a few."""
    points = read_points(cloud, field_names, skip_nans, uvs)
    point = namedtuple("Point", field_names or [field.name for field in cloud.fields])  # type: ignore[misc]
    return [point._make(row) for row in points]


def create_cloud(
    header: Header, fields: Sequence[PointField], points: Iterable[Any], point_step: int | None = None
) -> PointCloud2:
    """A message of points, with ``is_dense`` False.

    Args:
        header: frame and stamp.
        fields: the layout of a point.
        points: a structured array of that layout, a plain array (n, columns) if the fields share one type, or an
            iterable of tuples.
        point_step: bytes from one point to the next; by default what the fields need.

    Raises:
        AssertionError: the array does not match the fields.
    """
    dtype = dtype_from_fields(fields, point_step)
    if not isinstance(points, np.ndarray):
        points = np.array([tuple(point) for point in points], dtype=dtype)
    elif points.dtype.names is not None:
        assert points.dtype == dtype, f"expected points of {dtype}, got {points.dtype}"
    else:
        assert len({field.datatype for field in fields}) == 1, (
            "expected fields of one datatype for a plain array; pass a structured array for fields that differ"
        )
        points = _structured(points, dtype)
    assert points.ndim <= 2, f"expected points in one or two dimensions, got {points.ndim}"
    data = array.array("B")
    data.frombytes(memoryview(np.ascontiguousarray(points)).cast("B"))
    cloud = PointCloud2(
        header=header,
        width=points.shape[0],
        height=points.shape[1] if points.ndim == 2 else 1,
        fields=fields,
        is_bigendian=_NATIVE_IS_BIG_ENDIAN,
        is_dense=False,
        point_step=points.dtype.itemsize,
        row_step=points.dtype.itemsize * points.shape[0],
    )
    # The constructor would check every byte on its own; the property takes the array as it is.
    cloud.data = data
    return cloud


def create_cloud_xyz32(header: Header, points: Iterable[Any]) -> PointCloud2:
    """A message of points (n, 3), stored as float32 fields x, y and z."""
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(("x", "y", "z"))
    ]
    return create_cloud(header, fields, points)


def _structured(points: NDArray[Any], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    columns = dtype.names or ()
    base = dtype[0]
    packed = dtype.itemsize == len(columns) * base.itemsize and all(
        dtype.fields is not None and dtype.fields[name][1] == index * base.itemsize
        for index, name in enumerate(columns)
    )
    if packed and points.ndim == 2 and points.shape[1] == len(columns):
        # The bytes of a packed cloud are those of the plain array: no pass over the columns is needed.
        return np.ascontiguousarray(points, dtype=base).view(dtype)[:, 0]
    return unstructured_to_structured(points, dtype=dtype)
