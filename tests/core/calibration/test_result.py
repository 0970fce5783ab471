"""A calibration file keeps what it says, notices changes, and every error names file and field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from clar_calibration import CalibrationError, CalibrationResult, load_calibration, save_calibration
from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix


def make_result(**changes: object) -> CalibrationResult:
    fields: dict[str, object] = {
        "T_base_optical": make_pose(rotation_vector_to_matrix((2.0, 0.3, -0.4)), (0.5, -0.8, 0.6)),
        "T_link_optical": make_pose(rotation_vector_to_matrix((-1.2, 1.2, -1.2)), (0.0, 0.0475, 0.0)),
        "base_frame": "fr3_link0",
        "link_frame": "camera_link",
        "optical_frame": "camera_depth_optical_frame",
        "date": datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC),
        "camera_serial": "123456",
        "method": "eye_to_hand_charuco",
        "holdout_translation_mm": 0.8,
        "holdout_rotation_deg": 0.06,
        "holdout_samples": 5,
        "software": {"opencv": "4.11.0"},
    }
    return CalibrationResult(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_saved_calibration_loads_with_the_same_content_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "cell" / "calibration.yaml"
    result = make_result()
    save_calibration(result, path)
    loaded = load_calibration(path)
    assert loaded.hash == result.hash
    np.testing.assert_array_equal(loaded.T_base_optical, result.T_base_optical)
    np.testing.assert_array_equal(loaded.T_base_link, result.T_base_link)
    assert (loaded.camera_serial, loaded.date, loaded.software) == (result.camera_serial, result.date, result.software)


def test_the_base_to_link_transform_undoes_the_drivers_own() -> None:
    result = make_result()
    np.testing.assert_allclose(result.T_base_link @ result.T_link_optical, result.T_base_optical, atol=1e-12)


def test_every_field_changes_the_hash() -> None:
    hashes = {
        make_result().hash,
        make_result(camera_serial="7").hash,
        make_result(date=datetime(2026, 2, 1, tzinfo=UTC)).hash,
        make_result(T_base_optical=make_pose(None, (0.5, 0.0, 0.6))).hash,
        make_result(holdout_samples=6).hash,
    }
    assert len(hashes) == 5


def test_a_file_edited_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    save_calibration(make_result(), path)
    path.write_text(path.read_text().replace("123456", "123457"))
    with pytest.raises(CalibrationError, match=r"calibration\.yaml: hash: .*changed after it was written"):
        load_calibration(path)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"absent\.yaml: no such calibration file; .*calibrate\.launch\.py"):
        load_calibration(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera_serial": 5}, "camera_serial: expected text, got 5"),
        ({"frames": {"base": "fr3_link0"}}, "frames.link: missing"),
        ({"date": "yesterday"}, "date: expected a UTC date"),
        ({"T_base_optical": [[1, 0], [0, 1]]}, "T_base_optical: expected a rigid transform"),
        ({"T_base_optical": np.diag([2.0, 1, 1, 1]).tolist()}, "T_base_optical: expected a rigid transform"),
        ({"holdout": {"translation_mm": -1.0, "rotation_deg": 0.1, "samples": 5}}, "holdout.translation_mm"),
        ({"format": 99}, "format: expected 1, got 99"),
        ({"surplus": 1}, "surplus: unknown field"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "calibration.yaml"
    save_calibration(make_result(), path)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(CalibrationError, match=message) as caught:
        load_calibration(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "a: [1, 2", "\x00"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=r"calibration\.yaml: expected a YAML"):
        load_calibration(path)


def test_an_old_calibration_is_refused_with_its_age() -> None:
    result = make_result()
    result.check_age(30, now=result.date + timedelta(days=29))
    with pytest.raises(CalibrationError, match=r"31\.0 days old, expected at most 30"):
        result.check_age(30, now=result.date + timedelta(days=31))


def test_a_pose_that_is_no_rotation_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="T_link_optical"):
        make_result(T_link_optical=np.diag([1.0, 1.0, -1.0, 1.0]))
