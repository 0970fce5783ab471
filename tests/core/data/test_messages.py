"""ROS messages as arrays."""

from types import SimpleNamespace

import numpy as np
import pytest

from clar_core.data.messages import MessageError, color_image, depth_image, intrinsics_of, stamp_ns, transform_of

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def _image(pixels=PIXELS, **changes):
    fields = {
        "encoding": "16UC1",
        "height": 3,
        "width": 4,
        "step": 8,
        "is_bigendian": 0,
        "data": pixels.astype("<u2").tobytes(),
    }
    return SimpleNamespace(**{**fields, **changes})


def test_depth_is_read_whatever_the_padding_and_byte_order():
    np.testing.assert_array_equal(depth_image(_image()), PIXELS)
    padded = np.zeros((3, 6), "<u2")
    padded[:, :4] = PIXELS
    np.testing.assert_array_equal(depth_image(_image(step=12, data=padded.tobytes())), PIXELS)
    swapped = depth_image(_image(is_bigendian=1, data=PIXELS.astype(">u2").tobytes()))
    np.testing.assert_array_equal(swapped, PIXELS)
    assert swapped.dtype == np.uint16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "32FC1"}, "Image.encoding: expected 16UC1 or mono16.*'32FC1'"),
        ({"step": 6}, "Image.data: expected 3 rows of at least 8 bytes"),
        ({"data": b"12"}, "got step 8 and 2 bytes"),
        ({"height": 0}, "Image.data"),
    ],
)
def test_images_that_are_no_depth_are_named(change, message):
    with pytest.raises(MessageError, match=message):
        depth_image(_image(**change))


def test_stamps_are_whole_nanoseconds():
    assert stamp_ns(SimpleNamespace(sec=1_700_000_000, nanosec=123_456_789)) == 1_700_000_000_123_456_789


def test_impossible_intrinsics_and_rotations_are_named():
    info = SimpleNamespace(width=4, height=3, distortion_model="plumb_bob", d=[], k=[0.0] * 9)
    with pytest.raises(MessageError, match=r"CameraInfo: .*focal lengths"):
        intrinsics_of(info)
    zero = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=0.0)
    with pytest.raises(MessageError, match=r"Transform\.rotation"):
        transform_of(SimpleNamespace(translation=zero, rotation=zero))


@pytest.mark.parametrize(("inverse", "model"), [(True, "inverse_brown_conrady"), (False, "brown_conrady")])
def test_the_direction_of_a_lens_is_for_the_caller_to_say(inverse, model):
    info = SimpleNamespace(
        width=640, height=480, distortion_model="plumb_bob", d=[0.1, 0, 0, 0, 0], k=[400, 0, 320, 0, 400, 240, 0, 0, 1]
    )
    assert intrinsics_of(info, inverse=inverse).model == model


def test_raw_and_compressed_colour_are_read_as_rgb_and_others_refused():
    rows = np.arange(2 * 12, dtype=np.uint8).reshape(2, 12)
    message = SimpleNamespace(encoding="bgr8", height=2, width=3, step=12, data=rows.reshape(-1))
    np.testing.assert_array_equal(color_image(message)[1, 2], rows[1, 6:9][::-1])
    message.encoding = "rgb8"
    np.testing.assert_array_equal(color_image(message)[1, 2], rows[1, 6:9])
    message.encoding = "yuv422"
    with pytest.raises(MessageError, match="expected rgb8 or bgr8, got 'yuv422'"):
        color_image(message)
    with pytest.raises(MessageError, match="no JPEG or PNG in 5 bytes"):
        color_image(SimpleNamespace(format="jpeg", data=np.zeros(5, np.uint8)))
