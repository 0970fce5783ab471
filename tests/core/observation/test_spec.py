"""The observation's definition: normalisation, round trips, refusals."""

import json

import numpy as np
import pytest

from clar_core.observation.spec import ObservationSpec


def test_longest_side_of_the_crop_box_becomes_the_unit_interval():
    spec = ObservationSpec()
    corners = np.array([spec.crop_min_m, spec.crop_max_m], dtype=np.float32)
    units = spec.normalise(corners)
    np.testing.assert_allclose(units[:, 1], (-1, 1), atol=1e-6)
    assert (np.abs(units) <= 1 + 1e-6).all()
    np.testing.assert_allclose(spec.denormalise(units), corners, atol=1e-6)
    assert units.dtype == np.float32


def test_normalisation_keeps_proportions():
    """One affine for all axes: a cube stays a cube, wherever it stands."""
    spec = ObservationSpec()
    cube = np.array([[0.5, 0.0, 0.02], [0.55, 0.05, 0.07]], dtype=np.float32)
    np.testing.assert_allclose(np.diff(spec.normalise(cube), axis=0), [[0.05 / spec.scale_m] * 3], rtol=1e-5)


def test_a_spec_survives_json():
    spec = ObservationSpec(crop_min_m=(0.1, -0.2, 0.0), network_points=512, base_frame="base")
    assert ObservationSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert hash(ObservationSpec.from_dict(spec.to_dict())) == hash(spec)


def test_whole_numbers_serve_as_floats():
    values = {**ObservationSpec().to_dict(), "depth_max_m": 2, "crop_max_m": [1, 1, 1]}
    assert ObservationSpec.from_dict(values).crop_max_m == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_box": [0, 1]}, "unknown field 'crop_box'"),
        ({"network_points": None}, "'network_points'"),
        ({"network_points": 10.5}, "'network_points'"),
        ({"network_points": True}, "'network_points'"),
        ({"crop_min_m": [0, 0]}, "crop_min_m"),
        ({"crop_min_m": ["a", 0, 0]}, "crop_min_m"),
        ({"depth_min_m": "near"}, "'depth_min_m'"),
        ({"base_frame": 3}, "'base_frame'"),
    ],
)
def test_a_field_that_is_wrong_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        ObservationSpec.from_dict({**ObservationSpec().to_dict(), **change})


def test_a_field_that_is_missing_is_named():
    values = ObservationSpec().to_dict()
    del values["edge_threshold"]
    with pytest.raises(ValueError, match="'edge_threshold' is missing"):
        ObservationSpec.from_dict(values)


@pytest.mark.parametrize(
    "change",
    [
        {"crop_min_m": (0.9, 0.0, 0.0)},
        {"crop_min_m": (0.0, 0.0, float("nan"))},
        {"depth_min_m": 3.0},
        {"edge_threshold": 0.0},
        {"gripper_max_width_m": -0.08},
        {"state_gap_max_s": float("inf")},
        {"min_cloud_points": 0},
        {"network_points": 9000},
        {"base_frame": ""},
    ],
)
def test_impossible_values_are_refused_by_field(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        ObservationSpec(**change)


def test_differences_name_each_field_with_both_values():
    mine, theirs = ObservationSpec(), ObservationSpec(crop_max_m=(0.9, 0.45, 0.6), network_points=512)
    assert mine.differences(mine) == []
    assert mine.differences(theirs) == [
        "crop_max_m: (0.85, 0.45, 0.6), (0.9, 0.45, 0.6)",
        "network_points: 1024, 512",
    ]
