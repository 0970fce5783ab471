"""sensor_msgs_py.point_cloud2: layouts and selections that nodes and bags rely on."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("sensor_msgs")
point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2")

from sensor_msgs.msg import PointCloud2, PointField  # noqa: E402
from std_msgs.msg import Header  # noqa: E402


def field(name: str, offset: int, datatype: int = PointField.FLOAT32, count: int = 1) -> PointField:
    return PointField(name=name, offset=offset, datatype=datatype, count=count)


XYZ = [field("x", 0), field("y", 4), field("z", 8)]
# As depth cameras send it: padding after z, then a packed colour.
XYZ_PADDED_RGB = [*XYZ, field("rgb", 16, PointField.UINT32)]


def cloud_with_nans(is_dense: bool) -> PointCloud2:
    points = np.array([[0, 1, 2], [np.nan, 4, 5], [6, 7, 8]], dtype=np.float32)
    message = point_cloud2.create_cloud_xyz32(Header(), points)
    message.is_dense = is_dense
    return message


def test_xyz32_has_three_packed_float_fields() -> None:
    points = np.arange(12, dtype=np.float64).reshape(4, 3)
    message = point_cloud2.create_cloud_xyz32(Header(frame_id="base"), points)
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        ("x", 0, PointField.FLOAT32, 1),
        ("y", 4, PointField.FLOAT32, 1),
        ("z", 8, PointField.FLOAT32, 1),
    ]
    assert (message.width, message.height, message.point_step, message.row_step) == (4, 1, 12, 48)
    assert not message.is_bigendian
    assert not message.is_dense
    assert message.header.frame_id == "base"
    assert bytes(message.data) == points.astype(np.float32).tobytes()


def test_plain_arrays_round_trip() -> None:
    points = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    message = point_cloud2.create_cloud_xyz32(Header(), points)
    read = point_cloud2.read_points_numpy(message, field_names=("x", "y", "z"))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, points)


def test_non_contiguous_arrays_are_written_in_order() -> None:
    points = np.arange(60, dtype=np.float32).reshape(10, 6)[:, ::2]
    read = point_cloud2.read_points_numpy(point_cloud2.create_cloud_xyz32(Header(), points))
    np.testing.assert_array_equal(read, points)


def test_an_iterable_of_points_is_written_as_well() -> None:
    message = point_cloud2.create_cloud_xyz32(Header(), [(1, 2, 3), [4, 5, 6]])
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(message), [[1, 2, 3], [4, 5, 6]])


def test_an_empty_cloud_is_a_cloud() -> None:
    message = point_cloud2.create_cloud_xyz32(Header(), np.zeros((0, 3), dtype=np.float32))
    assert (message.width, len(message.data)) == (0, 0)
    assert point_cloud2.read_points(message).shape == (0,)


def test_structured_points_keep_types_and_offsets() -> None:
    dtype = point_cloud2.dtype_from_fields(XYZ_PADDED_RGB, point_step=32)
    assert dtype.itemsize == 32
    points = np.zeros(2, dtype=dtype)
    points["z"], points["rgb"] = (1.5, 2.5), (0x00FF8040, 7)
    message = point_cloud2.create_cloud(Header(), XYZ_PADDED_RGB, points, point_step=32)
    assert (message.point_step, message.row_step) == (32, 64)
    read = point_cloud2.read_points(message)
    assert read.dtype.names == ("x", "y", "z", "rgb")
    assert read["rgb"].tolist() == [0x00FF8040, 7]
    np.testing.assert_array_equal(
        point_cloud2.read_points(message, field_names=["z"])["z"], np.array([1.5, 2.5], dtype=np.float32)
    )


def test_plain_arrays_fill_padded_layouts() -> None:
    points = np.arange(6, dtype=np.float32).reshape(2, 3)
    message = point_cloud2.create_cloud(Header(), XYZ, points, point_step=16)
    assert message.point_step == 16
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(message), points)


def test_fields_with_a_count_become_numbered_columns() -> None:
    fields = [field("normal", 0, count=3), field("", 12, PointField.UINT8)]
    dtype = point_cloud2.dtype_from_fields(fields)
    assert dtype.names == ("normal_0", "normal_1", "normal_2", "unnamed_field_1")


@pytest.mark.parametrize(("is_dense", "left"), [(False, 2), (True, 3)])
def test_nans_are_skipped_where_the_cloud_may_have_them(is_dense: bool, left: int) -> None:
    message = cloud_with_nans(is_dense)
    assert len(point_cloud2.read_points(message)) == 3
    assert len(point_cloud2.read_points(message, skip_nans=True)) == left
    assert point_cloud2.read_points_numpy(message, skip_nans=True).shape == (left, 3)


def test_nans_of_fields_that_are_not_read_do_not_matter() -> None:
    assert len(point_cloud2.read_points(cloud_with_nans(False), field_names=("y", "z"), skip_nans=True)) == 3


@pytest.mark.parametrize("indices", [[2, 0], np.array([2, 0])])
def test_single_points_are_read_by_index(indices: list[int]) -> None:
    message = point_cloud2.create_cloud_xyz32(Header(), np.arange(9, dtype=np.float32).reshape(3, 3))
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(message, uvs=indices), [[6, 7, 8], [0, 1, 2]])


def test_points_are_also_read_as_named_tuples() -> None:
    message = point_cloud2.create_cloud_xyz32(Header(), [(1, 2, 3)])
    (point,) = point_cloud2.read_points_list(message)
    assert (point.x, point.y, point.z) == (1.0, 2.0, 3.0)


def test_big_endian_clouds_are_read_in_native_order() -> None:
    message = point_cloud2.create_cloud_xyz32(Header(), np.zeros((2, 3), dtype=np.float32))
    message.is_bigendian = True
    message.data = np.arange(6, dtype=">f4").tobytes()
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(message).ravel(), np.arange(6))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(AssertionError):
        point_cloud2.read_points("not a cloud")
    with pytest.raises(AssertionError):
        point_cloud2.read_points(cloud_with_nans(False), field_names=("intensity",))
    mixed = point_cloud2.create_cloud(
        Header(),
        XYZ_PADDED_RGB,
        np.zeros(1, dtype=point_cloud2.dtype_from_fields(XYZ_PADDED_RGB)),
    )
    with pytest.raises(AssertionError):
        point_cloud2.read_points_numpy(mixed)
    with pytest.raises(AssertionError):
        point_cloud2.create_cloud(Header(), XYZ, np.zeros(1, dtype=[("x", "<f8")]))


def test_reading_shares_the_memory_of_the_message() -> None:
    message = point_cloud2.create_cloud_xyz32(Header(), np.zeros((10, 3), dtype=np.float32))
    view = point_cloud2.read_points(message)
    view["x"] = 1.0
    assert point_cloud2.read_points_numpy(message)[:, 0].tolist() == [1.0] * 10


def test_a_full_cloud_is_written_and_read_within_a_tick() -> None:
    points = np.random.default_rng(0).normal(size=(8192, 3)).astype(np.float32)

    def round_trip() -> float:
        start = time.process_time()
        point_cloud2.read_points_numpy(point_cloud2.create_cloud_xyz32(Header(), points))
        return time.process_time() - start

    # Element-wise access would take hundreds of milliseconds of processor time.
    assert min(round_trip() for _ in range(10)) < 0.02
