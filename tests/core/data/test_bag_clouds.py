"""Clouds out of bags, through the one observation path."""

from collections import Counter

import numpy as np
import pytest

from clar_core.data.bag_clouds import DepthTopics, read_clouds
from clar_core.data.bag_writer import BagWriter, offered_qos
from clar_core.data.bags import BagError, BagReader
from clar_core.geometry.poses import inverse, make_pose, matrix_to_quaternion, rotation_vector_to_matrix
from clar_core.observation.builder import build_cloud
from clar_core.observation.spec import ObservationSpec
from tests.core.data.recorded import MS, STORE, header, image
from tests.core.observation.scene import INTRINSICS, T_BASE_CAMERA, render

SPEC = ObservationSpec()
TOPICS = DepthTopics()
OPTICAL = "camera_depth_optical_frame"
T_LINK_OPTICAL = make_pose(rotation_vector_to_matrix((0.3, -0.2, 0.1)), (0.01, 0.05, 0.0))


def _serialized(kind, message):
    return bytes(STORE.serialize_cdr(message, kind))


def _info(stamp_ns, k=None):
    i = INTRINSICS
    region = STORE.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    message = STORE.types["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_ns, OPTICAL),
        height=i.height,
        width=i.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([i.fx, 0, i.cx, 0, i.fy, i.cy, 0, 0, 1] if k is None else k, dtype=np.float64),
        r=np.eye(3).reshape(-1),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=region,
    )
    return _serialized("sensor_msgs/msg/CameraInfo", message)


def _tf(parent, child, pose, stamp_ns=0):
    types = STORE.types
    stamped = types["geometry_msgs/msg/TransformStamped"](
        header=header(stamp_ns, parent),
        child_frame_id=child,
        transform=types["geometry_msgs/msg/Transform"](
            translation=types["geometry_msgs/msg/Vector3"](*pose[:3, 3]),
            rotation=types["geometry_msgs/msg/Quaternion"](*matrix_to_quaternion(pose[:3, :3])),
        ),
    )
    return _serialized("tf2_msgs/msg/TFMessage", types["tf2_msgs/msg/TFMessage"](transforms=[stamped]))


@pytest.fixture
def writer(tmp_path):
    writer = BagWriter(tmp_path / "episode", STORE)
    for topic, kind in (
        (TOPICS.image, "sensor_msgs/msg/Image"),
        (TOPICS.info, "sensor_msgs/msg/CameraInfo"),
        (TOPICS.tf, "tf2_msgs/msg/TFMessage"),
        (TOPICS.tf_static, "tf2_msgs/msg/TFMessage"),
    ):
        writer.add_topic(topic, kind, [offered_qos()])
    return writer


def _place_camera(writer):
    writer.write(TOPICS.tf_static, 0, _tf("fr3_link0", "camera_link", T_BASE_CAMERA @ inverse(T_LINK_OPTICAL)))
    writer.write(TOPICS.tf_static, 0, _tf("camera_link", OPTICAL, T_LINK_OPTICAL))


def _clouds(writer, **arguments):
    with BagReader(writer.close()) as bag:
        return list(read_clouds(bag, SPEC, **arguments))


def test_clouds_are_the_builders_own_placed_by_the_bags_transforms(writer):
    _place_camera(writer)
    depths = [render(noise_m=0.001, seed=seed) for seed in range(3)]
    for i, depth in enumerate(depths):
        writer.write(TOPICS.info, i * 33 * MS, _info(i * 33 * MS))
        writer.write(TOPICS.image, i * 33 * MS, image(i * 33 * MS, depth))
    clouds = _clouds(writer)
    assert [cloud.stamp_ns for cloud in clouds] == [0, 33 * MS, 66 * MS]
    for cloud, depth in zip(clouds, depths, strict=True):
        expected = build_cloud(depth, INTRINSICS, T_BASE_CAMERA, SPEC)
        assert abs(len(cloud.points) - len(expected)) <= 5
        np.testing.assert_allclose(cloud.points.mean(axis=0), expected.mean(axis=0), atol=1e-4)


def test_a_moving_camera_is_placed_where_it_was_when_it_saw(writer):
    """The transforms around an image may be recorded after it."""
    writer.write(TOPICS.info, 0, _info(0))
    writer.write(TOPICS.image, 1 * MS, image(50 * MS, render()))
    for stamp_ms, shift in ((0, -0.1), (100, 0.1)):
        pose = make_pose(None, (0, shift, 0)) @ T_BASE_CAMERA
        writer.write(TOPICS.tf, 2 * MS, _tf("fr3_link0", OPTICAL, pose, stamp_ms * MS))
    (cloud,) = _clouds(writer)
    expected = build_cloud(render(), INTRINSICS, T_BASE_CAMERA, SPEC)
    np.testing.assert_allclose(cloud.points.mean(axis=0), expected.mean(axis=0), atol=1e-3)


def test_images_that_give_no_cloud_are_counted_by_reason(writer):
    _place_camera(writer)
    writer.write(TOPICS.image, 1 * MS, image(1 * MS, render()))
    writer.write(TOPICS.info, 2 * MS, _info(2 * MS))
    writer.write(TOPICS.image, 3 * MS, image(3 * MS, render()))
    writer.write(TOPICS.image, 4 * MS, image(4 * MS, render(boxes=())))
    skipped = Counter()
    assert [cloud.stamp_ns for cloud in _clouds(writer, skipped=skipped)] == [3 * MS]
    assert skipped == {
        "no camera_info before the image": 1,
        "fewer points in the crop box than the spec asks for": 1,
    }


def test_a_bag_without_transforms_gives_no_clouds_and_says_why(writer):
    writer.write(TOPICS.info, 0, _info(0))
    writer.write(TOPICS.image, 0, image(0, render()))
    skipped = Counter()
    assert _clouds(writer, skipped=skipped) == []
    assert skipped == {"no transform fr3_link0 <- camera at the capture stamp": 1}


def test_intrinsics_that_cannot_be_are_named(writer):
    _place_camera(writer)
    writer.write(TOPICS.info, 0, _info(0, k=[0] * 9))
    skipped = Counter()
    assert _clouds(writer, skipped=skipped) == []
    (reason,) = skipped
    assert TOPICS.info in reason
    assert "positive focal lengths" in reason


def test_a_bag_without_depth_names_the_topic(tmp_path):
    writer = BagWriter(tmp_path / "episode", STORE)
    with BagReader(writer.close()) as bag, pytest.raises(BagError, match=r"no topic /camera/camera/depth"):
        list(read_clouds(bag, SPEC))
