"""Deprojection and projection, against OpenCV and against the definitions in librealsense's documentation."""

import cv2
import numpy as np
import pytest

from clar_core.geometry.camera import Intrinsics, deproject, pixel_rays, project

COEFFICIENTS = (-0.055, 0.062, -0.0004, 0.0011, -0.021)
CAMERA = {"width": 640, "height": 480, "fx": 385.2, "fy": 384.7, "cx": 321.3, "cy": 238.6}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def _points_in_view(rng, n=500):
    z = rng.uniform(0.3, 2.0, n)
    return np.stack([rng.uniform(-0.7, 0.7, n) * z, rng.uniform(-0.55, 0.55, n) * z, z], axis=1)


def test_projection_agrees_with_opencv(rng):
    points = _points_in_view(rng)
    for model, coefficients in (("none", (0.0,) * 5), ("brown_conrady", COEFFICIENTS)):
        intrinsics = Intrinsics(**CAMERA, model=model, coefficients=coefficients)
        expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), intrinsics.matrix, np.array(coefficients))
        np.testing.assert_allclose(project(points, intrinsics), expected[:, 0], atol=1e-8)


def test_rays_of_brown_conrady_agree_with_opencv():
    intrinsics = Intrinsics(**CAMERA, model="brown_conrady", coefficients=COEFFICIENTS)
    u, v = np.meshgrid(np.arange(0, 640, 13), np.arange(0, 480, 11))
    pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float64)
    expected = cv2.undistortPoints(pixels[:, None], intrinsics.matrix, np.array(COEFFICIENTS))[:, 0]
    np.testing.assert_allclose(pixel_rays(intrinsics)[v.ravel(), u.ravel(), :2], expected, atol=2e-6)


def test_rays_of_inverse_brown_conrady_follow_its_definition():
    """librealsense: the polynomial takes the pixel's own coordinates to the ideal ones, in closed form."""
    intrinsics = Intrinsics(**CAMERA, model="inverse_brown_conrady", coefficients=COEFFICIENTS)
    k1, k2, p1, p2, k3 = COEFFICIENTS
    for u, v in ((0, 0), (639, 0), (100, 400), (321, 239)):
        x, y = (u - CAMERA["cx"]) / CAMERA["fx"], (v - CAMERA["cy"]) / CAMERA["fy"]
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        expected = (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
        )
        np.testing.assert_allclose(pixel_rays(intrinsics)[v, u, :2], expected, atol=1e-6)


def test_the_two_directions_of_the_model_differ_by_what_a_wrong_label_costs():
    """Centimetres at arm's length, not rounding: a swapped direction must show."""
    forward = pixel_rays(Intrinsics(**CAMERA, model="brown_conrady", coefficients=COEFFICIENTS))
    inverse = pixel_rays(Intrinsics(**CAMERA, model="inverse_brown_conrady", coefficients=COEFFICIENTS))
    assert np.abs(forward - inverse)[0, 0].max() * 0.8 > 0.005


@pytest.mark.parametrize("model", ["none", "brown_conrady", "inverse_brown_conrady"])
def test_projecting_deprojected_pixels_returns_them(model):
    coefficients = (0.0,) * 5 if model == "none" else COEFFICIENTS
    intrinsics = Intrinsics(**CAMERA, model=model, coefficients=coefficients)
    depth = np.full((480, 640), 900, dtype=np.uint16)
    points = deproject(depth, intrinsics, depth_min_m=0.3, depth_max_m=2.0)
    pixels = project(points, intrinsics).reshape(480, 640, 2)
    u, v = np.meshgrid(np.arange(640), np.arange(480))
    np.testing.assert_allclose(pixels[..., 0], u, atol=1e-3)
    np.testing.assert_allclose(pixels[..., 1], v, atol=1e-3)
    assert points.dtype == np.float32


def test_pixel_centres_lie_at_integer_coordinates():
    intrinsics = Intrinsics(5, 3, 10.0, 10.0, 2.0, 1.0)
    np.testing.assert_array_equal(pixel_rays(intrinsics)[1, 2], (0, 0, 1))
    np.testing.assert_allclose(pixel_rays(intrinsics)[0, 0], (-0.2, -0.1, 1))


def test_deprojection_keeps_only_readings_inside_the_limits():
    intrinsics = Intrinsics(4, 1, 100.0, 100.0, 1.5, 0.0)
    depth = np.array([[0, 299, 300, 2000]], dtype=np.uint16)
    points = deproject(depth, intrinsics, depth_min_m=0.3, depth_max_m=2.0)
    np.testing.assert_allclose(points[:, 2], (0.3, 2.0))
    assert len(deproject(depth, intrinsics, depth_min_m=0.0, depth_max_m=2.0)) == 3


def test_depth_scale_is_applied():
    intrinsics = Intrinsics(1, 1, 100.0, 100.0, 0.0, 0.0)
    depth = np.array([[4000]], dtype=np.uint16)
    np.testing.assert_allclose(
        deproject(depth, intrinsics, depth_scale_m=0.00025, depth_min_m=0.3, depth_max_m=2), [[0, 0, 1]]
    )


def test_points_behind_the_camera_have_no_pixel():
    pixels = project(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), Intrinsics(**CAMERA))
    assert np.isnan(pixels[:2]).all()
    np.testing.assert_allclose(pixels[2], (CAMERA["cx"], CAMERA["cy"]))


def test_scaled_intrinsics_see_the_same_view():
    full, half = Intrinsics(**CAMERA), Intrinsics(**CAMERA).scaled(320, 240)
    point = np.array([[0.2, -0.1, 0.8]])
    np.testing.assert_allclose((project(point, full) + 0.5) / 2, project(point, half) + 0.5)


def test_camera_info_fields_become_intrinsics():
    k = (385.0, 0.0, 320.0, 0.0, 384.0, 240.0, 0.0, 0.0, 1.0)
    depth = Intrinsics.from_camera_info(640, 480, "plumb_bob", [0.0] * 5, k)
    assert (depth.model, depth.fx, depth.fy, depth.cx, depth.cy) == ("none", 385.0, 384.0, 320.0, 240.0)
    assert Intrinsics.from_camera_info(640, 480, "", [], k).model == "none"
    assert Intrinsics.from_camera_info(640, 480, "plumb_bob", COEFFICIENTS, k).model == "brown_conrady"
    color = Intrinsics.from_camera_info(640, 480, "plumb_bob", COEFFICIENTS, k, inverse=True)
    assert (color.model, color.coefficients) == ("inverse_brown_conrady", COEFFICIENTS)
    with pytest.raises(ValueError, match="equidistant"):
        Intrinsics.from_camera_info(640, 480, "equidistant", [0.1] * 4, k)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "positive image size"),
        ({"fx": 0.0}, "positive focal lengths"),
        ({"cy": float("nan")}, "finite"),
        ({"model": "kannala"}, "unknown model 'kannala'"),
        ({"coefficients": (0.1, 0.2)}, "5 coefficients"),
        ({"coefficients": COEFFICIENTS}, "without a model"),
    ],
)
def test_impossible_intrinsics_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        Intrinsics(**{**CAMERA, **change})


def test_a_distortion_without_inverse_is_refused():
    intrinsics = Intrinsics(**CAMERA, model="brown_conrady", coefficients=(-2.0, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="cannot be undone"):
        pixel_rays(intrinsics)


def test_wrong_depth_images_are_refused_with_what_was_expected():
    intrinsics = Intrinsics(**CAMERA)
    limits = {"depth_min_m": 0.3, "depth_max_m": 2.0}
    with pytest.raises(ValueError, match=r"expected uint16.*got float32"):
        deproject(np.ones((480, 640), np.float32), intrinsics, **limits)
    with pytest.raises(ValueError, match=r"\(480, 640\).*got \(720, 1280\)"):
        deproject(np.ones((720, 1280), np.uint16), intrinsics, **limits)
    with pytest.raises(ValueError, match="depth_scale_m"):
        deproject(np.ones((480, 640), np.uint16), intrinsics, depth_scale_m=1.0, depth_min_m=0.3, depth_max_m=0.9)
    with pytest.raises(ValueError, match="depth limits"):
        deproject(np.ones((480, 640), np.uint16), intrinsics, depth_min_m=2.0, depth_max_m=0.3)
